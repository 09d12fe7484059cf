"""What a person sees while scherzer works, and how it ends when it cannot."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from scherzer.formats.errors import BadInput

if TYPE_CHECKING:
    from scherzer.session.stages.context import StageOutcome

UNFORESEEN = 1
BAD_INPUT = 2
INTERRUPTED = 130


@contextmanager
def plain_errors() -> Iterator[None]:
    """End with one line and exit code 2 for what a user can mend; say after Ctrl-C that nothing is lost."""
    try:
        yield
    except BadInput as error:
        print(f"scherzer: {error}", file=sys.stderr)
        raise typer.Exit(BAD_INPUT) from None
    except typer.Exit:
        raise
    except Exception as error:
        problem = " ".join(str(error).split())[:200]
        print(f"scherzer: unforeseen {type(error).__name__}: {problem}; details are in scherzer.log", file=sys.stderr)
        raise typer.Exit(UNFORESEEN) from None
    except KeyboardInterrupt:
        print("\nscherzer: interrupted; run the same command again to continue where it stopped", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


class Screen:
    """A bar a stage on standard error, a line a finished stage on standard output."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        bars = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}"),
            console=bars,
            transient=True,
            disable=not bars.is_terminal,
        )
        self._task: TaskID | None = None

    @contextmanager
    def bar(self, name: str) -> Iterator[Callable[[float, str], None]]:
        """Show a bar for work outside the chain."""
        progress = self.begin(name)
        try:
            yield progress
        finally:
            self._stop()

    def begin(self, stage: str) -> Callable[[float, str], None]:
        """Show a bar for a stage."""
        task = self._bars.add_task(stage, total=1.0, message="")
        self._task = task
        self._bars.start()

        def advance(fraction: float, message: str) -> None:
            self._bars.update(task, completed=fraction, message=message[:50])

        return advance

    def end(self, stage: str, outcome: StageOutcome) -> None:
        """Replace the bar by what came of the stage."""
        self._stop()
        self.console.print(f"{stage:<9} {outcome.summary}{'' if outcome.computed else ' (as before)'}", soft_wrap=True)
        for line in outcome.notes:
            self.console.print(f"{'':<9} {line}", soft_wrap=True, markup=False)
        for line in outcome.lost:
            self.console.print(f"{'':<9} {line}", soft_wrap=True, style="dim")

    def _stop(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        self._bars.stop()
