"""Picking, extraction, 2D classification and the choice of classes, in one table; what is asked for stands in brackets.

    python benchmarks/particles.py

Each part can be run alone: ``particles_picking.py``, ``particles_class2d.py``, ``particles_fairness.py`` and
``class2d_relion.py``, which runs RELION where it is installed and takes some five minutes of one core.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import class2d_relion
import particles_class2d
import particles_fairness
import particles_picking
from rich.console import Console
from rich.table import Table


def fairness_rows() -> Iterator[tuple[str, str]]:
    """Measure fairness on a session in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield from particles_fairness.rows(Path(folder))


PARTS = {
    "Picking": particles_picking.rows,
    "2D classification and the choice of classes": particles_class2d.rows,
    "From picks to kept particles": fairness_rows,
    "2D beside RELION": class2d_relion.rows,
}


def main() -> None:
    """Print the table, part by part."""
    console = Console(width=150)
    for title, rows in PARTS.items():
        table = Table("measured", "", title=title, title_justify="left")
        for row in rows():
            table.add_row(*row)
        console.print(table)


if __name__ == "__main__":
    main()
