"""RELION 3.1+ STAR tables: an optics block and a block of micrographs, movies or particles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

import pandas as pd
import starfile

from scherzer.formats.atomic import atomic_path
from scherzer.formats.errors import BadInput

TableKind = Literal["movies", "micrographs", "particles"]


@dataclass(frozen=True)
class StarTable:
    """One RELION table with its optics groups.

    Attributes
    ----------
    kind : {"movies", "micrographs", "particles"}
        Name of the data block.
    optics : pandas.DataFrame
        One row per optics group, RELION labels and units.
    rows : pandas.DataFrame
        One row per item, RELION labels and units; labels that only scherzer knows begin with ``scz``.
    """

    kind: TableKind
    optics: pd.DataFrame
    rows: pd.DataFrame

    def __len__(self) -> int:
        return len(self.rows)

    def with_rows(self, rows: pd.DataFrame) -> StarTable:
        """Return the same optics with other rows, numbered from zero."""
        return replace(self, rows=rows.reset_index(drop=True))

    def accepted(self) -> StarTable:
        """Return only the rows whose ``sczState`` is ``accepted`` (all of them where there is no state)."""
        if "sczState" not in self.rows:
            return self
        return self.with_rows(self.rows[self.rows["sczState"] == "accepted"])


def write_star(table: StarTable, path: Path) -> None:
    """Write a table atomically, optics block first, as RELION does."""
    blocks = {"optics": table.optics, table.kind: table.rows}
    with atomic_path(path) as temporary:
        starfile.write(blocks, temporary, overwrite=True)


def read_star(path: Path) -> StarTable:
    """Read a table with its optics block.

    Raises
    ------
    BadInput
        If the file is missing, is not STAR, or has no optics block or no block of items.
    """
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=["rlnOpticsGroupName", "sczReason"])
    except FileNotFoundError:
        raise BadInput(path, "no such file", "check the name") from None
    except Exception as error:
        raise BadInput(path, f"not a readable STAR file ({error})", "give a RELION 3.1 or later STAR file") from error
    kinds = [kind for kind in get_args(TableKind) if kind in blocks]
    if "optics" not in blocks or not kinds:
        raise BadInput(path, "no optics block or no table of items", "convert it with RELION 3.1 or later")
    kind = cast(TableKind, kinds[0])
    return StarTable(kind, _frame(blocks["optics"]), _frame(blocks[kind]))


def _frame(block: object) -> pd.DataFrame:
    """Return a block as a table; starfile gives a single-row simple block as a dictionary."""
    return block if isinstance(block, pd.DataFrame) else pd.DataFrame([block])
