"""Movies and images in TIFF: a page a frame, rows turned over.

MRC has the bottom row first and TIFF the top row. SerialEM, IMOD, MotionCor2, EMAN2 and RELION turn every TIFF over
when they read or write one, so that its gain, coordinates and the hand of its maps agree with those from MRC; so do we.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from scherzer.formats.content import (
    COPY_AGAIN,
    file_length,
    one_line,
    require_believable_size,
    unpacked_pairs,
    wrong_ending,
)
from scherzer.formats.errors import BadInput
from scherzer.formats.tiff_directories import require_whole_directories

# tifffile reports damage to the log as well; what the user is told comes from here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# Resolutions outside are those of screens and printers.
SMALLEST_PIXEL_A, LARGEST_PIXEL_A = 0.05, 50.0
# SerialEM saves 4-bit numbers as bytes, two in each. Only the size tells (IMOD's sizeCanBe4BitK2SuperRes, as RELION):
# super-resolution frames of K3 and K2 that are half as wide or half as high as they should be.
PACKED_SHAPES = frozenset(
    shape
    for height, width in ((8184, 5760), (4092, 11520), (7676, 3710), (3838, 7420))
    for shape in ((height, width), (width, height))
)
EVENT_COMPRESSIONS = (65000, 65001, 65002)
A_PER_UNIT = {2: 2.54e8, 3: 1e8}  # inch, centimetre


@dataclass(frozen=True)
class TiffHeader:
    """What the pages of a TIFF say.

    Attributes
    ----------
    shape : tuple of int
        ``(n, h, w)``.
    pixel_size_A : float or None
        None where the resolution is not given or cannot be a microscope's.
    """

    shape: tuple[int, int, int]
    pixel_size_A: float | None


def read_tiff_header(path: Path) -> TiffHeader:
    """Read the pages' headers; the strips they point to must lie inside the file.

    Raises
    ------
    BadInput
        If the file is missing, truncated, no TIFF, not grey images of one size, or asks for more than it can hold.
    """
    length = file_length(path)
    if error := wrong_ending(path, "TIFF"):
        raise error
    try:
        require_whole_directories(path)
        with tifffile.TiffFile(path) as handle:
            pages = _frame_pages(handle)
            first = pages[0]
            kinds = {(page.shape, str(page.dtype), tuple(page.chunks)) for page in pages}
            end = max(max(_strip_ends(page)) for page in pages)
            pixel_size_A = _pixel_size(first)
            segment_pixels = int(np.prod(first.chunks, dtype=object))
    except Exception as error:
        raise BadInput(path, f"is not a readable TIFF ({one_line(error)})", COPY_AGAIN) from error
    if int(first.compression) in EVENT_COMPRESSIONS:
        raise BadInput(path, "holds electron events", "give it the ending .eer")
    if end > length:
        raise BadInput(path, f"is truncated ({length} bytes, its pages ask for more)", COPY_AGAIN)
    if (
        len(kinds) != 1
        or len(first.shape) != 2
        or 0 in first.shape
        or first.dtype is None
        or first.dtype.kind not in "iuf"
    ):
        raise BadInput(path, "its pages are not grey images of one size", "give a movie or micrograph")
    height, width = first.shape
    # Tiles may be larger than the image, but not by much.
    pixels = max(height * width, segment_pixels // 4)
    require_believable_size(path, len(pages), pixels, first.dtype.itemsize)
    if _is_packed(first):
        width *= 2
    return TiffHeader((len(pages), height, width), pixel_size_A)


def tiff_pages(path: Path) -> Iterator[NDArray[Any]]:
    """Read one page after the other.

    Yields
    ------
    ndarray
        ``(h, w)``, in the stored type, the bottom row first.

    Raises
    ------
    BadInput
        If a page cannot be decoded.
    """
    try:
        with tifffile.TiffFile(path) as handle:
            for page in _frame_pages(handle):
                yield _turned_over(page)
    except Exception as error:
        raise BadInput(path, f"cannot be decoded ({one_line(error)})", COPY_AGAIN) from error


def _turned_over(page: Any) -> NDArray[Any]:
    # One thread: sessions have a process for each core.
    pixels: NDArray[Any] = page.asarray(maxworkers=1)
    if page.bitspersample == 4:
        # tifffile follows the standard, by which the first of two numbers is in the upper half of its byte.
        whole = pixels.shape[1] // 2 * 2
        pixels[:, :whole] = pixels[:, :whole].reshape(len(pixels), -1, 2)[:, :, ::-1].reshape(len(pixels), -1)
    elif _is_packed(page):
        pixels = unpacked_pairs(pixels)
    return pixels[::-1]


def _is_packed(page: Any) -> bool:
    return page.bitspersample == 8 and page.shape in PACKED_SHAPES


def _frame_pages(handle: tifffile.TiffFile) -> list[Any]:
    """Return the pages that are frames; some cameras add a reduced preview, marked as such."""
    pages = [page for page in (page.aspage() for page in handle.pages) if not page.is_reduced]
    if not pages:
        raise ValueError("no pages")
    return pages


def _strip_ends(page: Any) -> list[int]:
    if not page.databytecounts or len(page.dataoffsets) != len(page.databytecounts) or min(page.databytecounts) <= 0:
        raise ValueError("a page without data")
    return [offset + size for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True)]


def _pixel_size(page: Any) -> float | None:
    """Return the pixel size where the resolution can be an electron microscope's."""
    tags = page.tags
    if "XResolution" not in tags or "ResolutionUnit" not in tags:
        return None
    numerator, denominator = tags["XResolution"].value
    unit_A = A_PER_UNIT.get(int(tags["ResolutionUnit"].value))
    if unit_A is None or not numerator or not denominator:
        return None
    pixel_size_A = unit_A * denominator / numerator
    return round(pixel_size_A, 4) if SMALLEST_PIXEL_A < pixel_size_A < LARGEST_PIXEL_A else None
