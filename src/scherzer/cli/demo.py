"""``scherzer demo``."""

from __future__ import annotations

from pathlib import Path

from scherzer.cli import options
from scherzer.cli.screen import Screen, plain_errors


def demo(out: options.Out = Path("demo"), workers: options.Workers = None) -> None:
    """Simulate a small session and go to its verdict: a few minutes.

    Example: scherzer demo --out demo
    """
    with plain_errors():
        from scherzer.cli.whole import run_whole
        from scherzer.session.demo import prepare_demo

        screen = Screen()
        with screen.bar("simulate") as progress:
            session, settings = prepare_demo(out, workers, progress)
        run_whole(session, settings, workers, screen)
