"""RELION 3.1+ STAR tables: an optics block and a block of micrographs, movies or particles."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import gemmi
import numpy as np
import pandas as pd

from scherzer.formats.atomic import write_text
from scherzer.formats.errors import BadInput

TableKind = Literal["movies", "micrographs", "particles"]

_PLAIN = re.compile(r"(?![_#$'\"\[\];])[!-~]+")
_RESERVED = re.compile(r"(data_|loop_|save_|stop_|global_)|[.?]$", re.IGNORECASE)
# Text even where it looks like a number, as are all labels that end in "Name".
TEXT_LABELS = frozenset({"sczReason", "sczState"})


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
    text = "# version 30001\n\n" + _block_text("optics", table.optics) + _block_text(table.kind, table.rows)
    write_text(path, text)


def read_star(path: Path) -> StarTable:
    """Read a table with its optics block.

    Raises
    ------
    BadInput
        If the file is missing, is not STAR, or has no optics block or no block of items.
    """
    if not path.is_file():
        raise BadInput(path, "no such file", "check the name")
    try:
        blocks = {block.name: _frame(block) for block in gemmi.cif.read_string(path.read_text("utf-8"))}
    except (ValueError, RuntimeError, OSError) as error:
        problem = " ".join(str(error).split())
        raise BadInput(path, f"not a readable STAR file ({problem})", "give a RELION 3.1 or later STAR file") from error
    kinds = [kind for kind in get_args(TableKind) if kind in blocks]
    if "optics" not in blocks or not kinds:
        raise BadInput(
            path, "no optics block or no table of items", "convert it with relion_convert_star (RELION 3.1 or later)"
        )
    kind = cast(TableKind, kinds[0])
    return StarTable(kind, blocks["optics"], blocks[kind])


def _frame(block: gemmi.cif.Block) -> pd.DataFrame:
    """Return a block's loop, or its pairs as a table of one row."""
    columns: dict[str, list[str]] = {}
    for item in block:
        if item.loop is not None:
            tags, values = item.loop.tags, [gemmi.cif.as_string(value) for value in item.loop.values]
            columns.update({tag: values[number :: len(tags)] for number, tag in enumerate(tags)})
        elif item.pair is not None:
            columns[item.pair[0]] = [gemmi.cif.as_string(item.pair[1])]
    names = {tag: tag.removeprefix("_") for tag in columns}
    return pd.DataFrame({names[tag]: _column(names[tag], values) for tag, values in columns.items()})


def _column(label: str, values: list[str]) -> pd.Series[Any]:
    """Return numbers where every value is one; text otherwise."""
    if label not in TEXT_LABELS and not label.endswith("Name") and values:
        for kind in (np.int64, np.float64):
            try:
                return pd.Series(np.array(values).astype(kind))
            except ValueError:
                continue
    return pd.Series(values, dtype=object)


def _block_text(name: str, rows: pd.DataFrame) -> str:
    labels = [f"_{label} #{number}" for number, label in enumerate(rows.columns, start=1)]
    columns = [[_value_text(value) for value in rows[label].tolist()] for label in rows.columns]
    lines = [" ".join(values) for values in zip(*columns, strict=True)]
    return "\n".join([f"data_{name}", "", "loop_", *labels, *lines, "", ""]) + "\n"


def _value_text(value: object) -> str:
    """Format one value; text is quoted where STAR would not take it for one word."""
    if isinstance(value, float):
        # Six decimals as RELION has them, but small numbers keep their digits.
        return f"{value:.6f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.6e}"
    text = " ".join(str(value).splitlines())
    if text and _PLAIN.fullmatch(text) and not _RESERVED.match(text):
        return text
    # A quote inside ends the string for some readers; one of the two kinds is nearly always free.
    if '"' not in text:
        return f'"{text}"'
    return f"'{text}'" if "'" not in text else '"' + text.replace('"', "”") + '"'
