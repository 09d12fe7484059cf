"""One table of several benchmarks, part by part."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

Rows = Iterable[tuple[str, str]]


def in_folder(rows: Callable[[Path], Rows]) -> Iterator[tuple[str, str]]:
    """Measure in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield from rows(Path(folder))


def print_parts(parts: Mapping[str, Callable[[], Rows]]) -> None:
    """Print what is measured and its value, a table for each part."""
    console = Console(width=150)
    for title, rows in parts.items():
        table = Table("measured", "", title=title, title_justify="left")
        for row in rows():
            table.add_row(*row)
        console.print(table)
