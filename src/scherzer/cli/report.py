"""``scherzer report``."""

from __future__ import annotations

from scherzer.cli import options
from scherzer.cli.screen import plain_errors


def report(session: options.SessionFolder) -> None:
    """Write report.html of whatever has been run; it needs no network.

    Example: scherzer report apo
    """
    with plain_errors():
        from scherzer.report.page import build_report
        from scherzer.session.folder import open_session

        print(build_report(open_session(session).root))
