"""Which particles share a micrograph, and the half-set of each: as the table says, or made here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from scherzer.formats.errors import BadInput
from scherzer.formats.star import StarTable
from scherzer.particles.half_sets import assign_half_sets
from scherzer.session.standalone.stacks import stack_names

# Rows taken for one micrograph where nothing tells: neighbours in a table are mostly neighbours on the grid, and so
# fall into one half; a parametric choice, about what a micrograph holds.
ROWS_A_MICROGRAPH = 50


@dataclass(frozen=True)
class Grouping:
    """Of n particles.

    Attributes
    ----------
    micrograph : Series
        ``(n,)`` a name that particles of one micrograph share.
    half : Series
        ``(n,)`` 1 or 2.
    notes : tuple of str
        What a person should know of it.
    """

    micrograph: pd.Series[Any]
    half: pd.Series[int]
    notes: tuple[str, ...]


def grouping_of(path: Path, table: StarTable) -> Grouping:
    """Take or make micrographs and half-sets.

    Raises
    ------
    BadInput
        If the table's half-sets are not two.
    """
    micrograph, notes = _micrographs(table)
    if "rlnRandomSubset" in table.rows:
        half = table.rows["rlnRandomSubset"]
        if set(half) != {1, 2}:
            raise BadInput(
                path, "its rlnRandomSubset is not 1 for some and 2 for others", "take the column out to have it made"
            )
        cut = int((half.groupby(micrograph).nunique() > 1).sum())
        if cut:
            of = micrograph.nunique()
            notes.append(f"half-sets as in the table; they cut through {cut} of {of} micrographs, which share noise")
        return Grouping(micrograph, half.astype(int), tuple(notes))
    index = torch.from_numpy(pd.factorize(micrograph)[0].astype(np.int64))
    half = pd.Series(assign_half_sets(index).numpy(), index=table.rows.index)
    return Grouping(micrograph, half, (*notes, f"half-sets made here, of {micrograph.nunique()} micrographs"))


def _micrographs(table: StarTable) -> tuple[pd.Series[Any], list[str]]:
    if "rlnMicrographName" in table.rows and table.rows["rlnMicrographName"].nunique() > 1:
        return table.rows["rlnMicrographName"], []
    stacks = stack_names(table)
    if stacks.nunique() > 1:
        return stacks, ["no rlnMicrographName: each stack is taken for a micrograph"]
    size = min(ROWS_A_MICROGRAPH, max(1, len(table) // 2))
    blocks = pd.Series(np.arange(len(table)) // size, index=table.rows.index)
    return blocks, [f"one micrograph or none is named: every {size} rows are taken for one, which may share noise"]
