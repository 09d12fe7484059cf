"""Motion, CTF and condition of micrographs beside the truth, published values and RELION, in one table.

Run from the project's root: ``python benchmarks/micrographs.py``; it takes about half an hour on two cores. Each part
can be run alone: ``micrographs_motion.py``, ``micrographs_ctf.py``, ``micrographs_condition.py``. What is asked for
stands in brackets.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import micrographs_condition
import micrographs_ctf
import micrographs_motion
from rich.console import Console
from rich.table import Table


def motion_rows() -> Iterator[tuple[str, str]]:
    """Measure motion correction on movies in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield from micrographs_motion.rows(Path(folder))


PARTS = {
    "Motion": motion_rows,
    "CTF": micrographs_ctf.rows,
    "Condition and ice": micrographs_condition.rows,
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
