"""Where the stacks of a table lie, and whether its images can all be in them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_mrc_header
from scherzer.formats.star import StarTable


def find_stacks(path: Path, table: StarTable) -> dict[str, Path]:
    """Find the stacks that a table names, and hold its image numbers and image size against their headers.

    Parameters
    ----------
    path : Path
        The STAR file: a relative name is looked for in its folder and in those above, which is where RELION's project
        is, then in the folder from which scherzer was started.
    table : StarTable
        Its particles.

    Returns
    -------
    dict of str to Path
        Stack as named in the table -> file.

    Raises
    ------
    BadInput
        If a stack is missing, too short, or of another image size.
    """
    names = table.rows["rlnImageName"].astype(str)
    parts = names.str.extract(r"^(\d+)@(.+)$")
    wrong = parts[0].isna()
    if wrong.any():
        raise BadInput(path, f"rlnImageName {names[wrong].iloc[0]!r} names no image", "write it as 000001@stack.mrcs")
    numbers = parts[0].astype(int)
    side = int(table.optics["rlnImageSize"].iloc[0])
    if side < 16 or side % 2:
        raise BadInput(path, f"images of {side} px cannot be used", "extract them in an even box of at least 16 px")
    found = {}
    for name, group in numbers.groupby(parts[1], sort=False):
        stack = _find(path, str(name))
        _check(stack, path, group, side)
        found[str(name)] = stack
    return found


def _find(path: Path, name: str) -> Path:
    here = path.absolute()
    folders = [*here.parents, *here.resolve().parents, Path.cwd()]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    remedy = "keep the STAR file inside its RELION project, or start scherzer there"
    raise BadInput(path, f"the stack {name} is neither in its folder nor in one above", remedy)


def _check(stack: Path, path: Path, numbers: pd.Series[int], side: int) -> None:
    count, height, width = read_mrc_header(stack).shape
    if (height, width) != (side, side):
        remedy = "give the table and the stacks of one extraction"
        raise BadInput(stack, f"its images are {width} x {height} px, {path.name} says {side}", remedy)
    low, high = int(numbers.min()), int(numbers.max())
    if low < 1 or high > count:
        asked = low if low < 1 else high
        raise BadInput(stack, f"holds {count} images, {path.name} asks for image {asked}", "copy the stack again")


def stack_names(table: StarTable) -> pd.Series[str]:
    """Return the stack of every particle of a table, ``(n,)``."""
    return table.rows["rlnImageName"].str.split("@", n=1).str[1]
