"""``scherzer report``."""

from __future__ import annotations

from scherzer.cli import options
from scherzer.cli.screen import plain_errors


def report(session: options.SessionFolder) -> None:
    """Write the report of a session, whatever of it has been run: one HTML file that needs no network.

    Example: scherzer report apo
    """
    with plain_errors():
        from scherzer.report.page import build_report
        from scherzer.session.folder import open_session

        print(build_report(open_session(session).root))
