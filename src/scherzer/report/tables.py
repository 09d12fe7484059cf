"""STAR files that are not tables of items: CTF profiles, class models, FSC curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import starfile
from numpy.typing import NDArray


@dataclass(frozen=True)
class Missing:
    """Why something cannot be shown, in words that follow "not known:"."""

    reason: str


def read_blocks(path: Path) -> dict[str, pd.DataFrame] | Missing:
    """Read every block of a STAR file as a table; a simple block becomes one row."""
    try:
        blocks = starfile.read(path, always_dict=True)
    except FileNotFoundError:
        return Missing(f"there is no {path.parent.name}/{path.name}")
    except Exception as error:
        return Missing(f"{path.parent.name}/{path.name} is not a readable STAR file ({error})")
    return {
        str(name): block if isinstance(block, pd.DataFrame) else pd.DataFrame([block]) for name, block in blocks.items()
    }


def block_with(blocks: Mapping[str, pd.DataFrame], column: str) -> pd.DataFrame | None:
    """Return the first block that has a column."""
    return next((block for block in blocks.values() if column in block), None)


def numbers(frame: pd.DataFrame, names: Sequence[str]) -> NDArray[np.float64] | None:
    """Return the first of the named columns that is there, as float64; None where there is none."""
    for name in names:
        if name in frame:
            return np.asarray(pd.to_numeric(frame[name], errors="coerce"), dtype=np.float64)
    return None
