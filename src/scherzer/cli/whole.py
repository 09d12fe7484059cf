"""A whole run and its last words, the same for ``run`` and ``demo``."""

from __future__ import annotations

import json

from scherzer.cli.screen import Screen
from scherzer.report.page import build_report
from scherzer.session.chain import REPORT_FILE, run_all
from scherzer.session.folder import Session
from scherzer.session.settings import SessionSettings


def run_whole(session: Session, settings: SessionSettings, workers: int | None, screen: Screen) -> None:
    """Run every stage and tell the verdict."""
    computed = run_all(session, settings, workers, screen, build_report)
    if not computed:
        screen.console.print("\nThis session is finished: nothing had to be done.")
    verdict = json.loads((session.root / "results.json").read_text(encoding="utf-8"))["verdict"]
    screen.console.print(f"\n[bold]{verdict['sentence']}[/bold]", soft_wrap=True)
    for reason in verdict["reasons"]:
        screen.console.print(f"  - {reason}", soft_wrap=True, markup=False)
    screen.console.print(f"\nReport: {session.root / REPORT_FILE}", soft_wrap=True, markup=False)
