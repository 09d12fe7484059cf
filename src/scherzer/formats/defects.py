"""Lists and maps of pixels that do not work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scherzer.formats.content import file_length
from scherzer.formats.errors import BadInput
from scherzer.formats.movies import MRC_SUFFIXES, TIFF_SUFFIXES
from scherzer.formats.mrc import read_mrc
from scherzer.formats.tiff import read_tiff_header, tiff_pages

# A list of a million rectangles has left its purpose.
LONGEST_LIST_BYTES = 2**24
# Words of the lists that SerialEM keeps for itself (as RELION tells them).
SERIALEM_WORDS = ("CameraSize", "RotationAndFlip", "K2Type", "Bad")
LIST_FORM = "each line must be 'x y width height' in pixels from 0"


def read_defects(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read which pixels of the camera do not work.

    Parameters
    ----------
    path : Path
        MotionCor2's list, a line ``x y width height`` for each rectangle, x along the row and y counting rows, both
        from 0; or an MRC or TIFF map, not 0 where a pixel is bad.
    shape : tuple of int
        ``(h, w)`` of the movie's frames.

    Returns
    -------
    ndarray of bool
        ``(h, w)``, true for bad pixels.

    Raises
    ------
    BadInput
        If the file cannot be read, is of another kind or does not fit the movie.
    """
    suffix = path.suffix.lower()
    bad = _map(path, shape) if suffix in MRC_SUFFIXES + TIFF_SUFFIXES else _list(path, shape)
    if bad.all():
        raise BadInput(path, "calls every pixel bad", "give a map with 1 for bad pixels and 0 for the others")
    return bad


def _map(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if path.suffix.lower() in TIFF_SUFFIXES:
        read_tiff_header(path)
        values = next(tiff_pages(path))
    else:
        values = read_mrc(path).data
    values = values.reshape(values.shape[-2:]) if values.size == np.prod(values.shape[-2:]) else values
    if values.shape != shape:
        found = " x ".join(str(side) for side in values.shape)
        problem = f"the defect map is {found} (rows x columns), the movies are {shape[0]} x {shape[1]}"
        raise BadInput(path, problem, "give the map of this camera mode")
    return np.asarray(values != 0)


def _list(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if file_length(path) > LONGEST_LIST_BYTES:
        raise BadInput(path, "is too long for a list of defects", LIST_FORM)
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError):
        raise BadInput(path, "is not a text file", "give MotionCor2's list, or a map in MRC or TIFF") from None
    if any(word in text for word in SERIALEM_WORDS):
        remedy = "convert it: clip defect -D defects.txt -f tif movie.mrc map.tif (IMOD)"
        raise BadInput(path, "is a list in SerialEM's own form", remedy)
    bad = np.zeros(shape, bool)
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.split("#")[0].split()
        if content:
            x, y, width, height = _rectangle(path, number, content)
            if x >= shape[1] or y >= shape[0]:
                problem = f"line {number}: {x}, {y} lies outside the movie's {shape[1]} x {shape[0]} pixels"
                raise BadInput(path, problem, "give the list of this camera mode")
            bad[y : y + height, x : x + width] = True
    return bad


def _rectangle(path: Path, number: int, content: list[str]) -> tuple[int, int, int, int]:
    try:
        x, y, width, height = (int(word) for word in content)
    except ValueError:
        raise BadInput(path, f"line {number} is not a rectangle: {' '.join(content)[:60]}", LIST_FORM) from None
    if min(x, y) < 0 or min(width, height) < 1:
        raise BadInput(path, f"line {number} has a negative corner or no size", LIST_FORM)
    return x, y, width, height
