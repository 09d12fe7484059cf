"""Exposures: movies and single micrographs in MRC and TIFF."""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from scherzer.formats.atomic import atomic_path
from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import COPY_AGAIN, Float32Array, read_mrc, read_mrc_header

# tifffile reports damage to the log as well; what the user is told comes from here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

MRC_SUFFIXES = (".mrc", ".mrcs")
TIFF_SUFFIXES = (".tif", ".tiff")
EER_SUFFIXES = (".eer",)
EXPOSURE_SUFFIXES = MRC_SUFFIXES + TIFF_SUFFIXES
RECORD_AGAIN = "leave this exposure out or copy it again"
# A detector's frame is at least this wide; narrower pages are thumbnails or not micrographs.
MIN_SIDE_PX = 64


@dataclass(frozen=True)
class Movie:
    """An exposure on disk; one frame means a micrograph that was summed before.

    Attributes
    ----------
    path : Path
        The file.
    frame_count : int
        Number of frames.
    shape : tuple of int
        ``(h, w)`` of every frame.
    pixel_size_A : float or None
        As the header has it, unchecked; None where it says nothing.
    """

    path: Path
    frame_count: int
    shape: tuple[int, int]
    pixel_size_A: float | None

    def read(self) -> Float32Array:
        """Read all frames.

        Returns
        -------
        ndarray of float32
            ``(n, h, w)``, also for one frame.

        Raises
        ------
        BadInput
            If the exposure holds no picture: all zero, one value everywhere, or values that are not numbers.
        """
        frames = _read_tiff(self.path) if _is_tiff(self.path) else read_mrc(self.path).data
        frames = frames.reshape(self.frame_count, *self.shape)
        _require_picture(self.path, frames)
        return frames


def open_exposure(path: Path) -> Movie:
    """Read the header of a movie or micrograph: MRC (``nz`` above 1 is a movie) or TIFF.

    Raises
    ------
    BadInput
        If the file is missing, truncated, of a kind that is not read here, or not an image.
    """
    if _is_tiff(path):
        return _open_tiff(path)
    if path.suffix.lower() in MRC_SUFFIXES:
        header = read_mrc_header(path)
        return _movie(path, header.shape[0], header.shape[1:], header.pixel_size_A)
    raise BadInput(path, f"files ending in {path.suffix or 'nothing'} are not read", "give .mrc, .mrcs, .tif or .tiff")


def read_gain(path: Path, shape: tuple[int, int]) -> Float32Array:
    """Read a gain reference, by which every frame is to be multiplied.

    Parameters
    ----------
    path : Path
        MRC or TIFF of one image.
    shape : tuple of int
        ``(h, w)`` of the movie's frames.

    Returns
    -------
    ndarray of float32
        ``(h, w)``; zeros mark defects.

    Raises
    ------
    BadInput
        If it cannot be read, is of another shape, or is zero everywhere.
    """
    header = open_exposure(path)
    if header.frame_count != 1 or header.shape != shape:
        found = " x ".join(str(side) for side in (header.frame_count, *header.shape))
        raise BadInput(
            path,
            f"the gain reference is {found} (frames x rows x columns), the movies are {shape[0]} x {shape[1]}",
            "give the gain recorded for this camera mode, turned as the movies are",
        )
    gain = (_read_tiff(path) if _is_tiff(path) else read_mrc(path).data).reshape(shape)
    if not np.isfinite(gain).all() or not gain.any():
        raise BadInput(path, "the gain reference holds no usable values", "export it again")
    return gain


def write_tiff_movie(
    path: Path, frames: NDArray[Any], pixel_size_A: float, compression: Literal["lzw", "none"] = "lzw"
) -> None:
    """Write a movie as a TIFF of one page a frame, atomically.

    Parameters
    ----------
    path : Path
        Target.
    frames : ndarray
        ``(n, h, w)``; the type is kept (uint8 or int16 for electron counts).
    pixel_size_A : float
        Written as the resolution, in pixels per centimetre.
    compression : {"lzw", "none"}
        LZW is what acquisition programs use.
    """
    per_cm = 1e8 / pixel_size_A
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            frames[..., ::-1, :],
            photometric="minisblack",
            compression=None if compression == "none" else compression,
            resolution=(per_cm, per_cm),
            resolutionunit="CENTIMETER",
            metadata=None,
        )


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in TIFF_SUFFIXES


def _movie(path: Path, frame_count: int, shape: tuple[int, ...], pixel_size_A: float | None) -> Movie:
    height, width = shape
    if min(height, width) < MIN_SIDE_PX:
        raise BadInput(path, f"is only {width} x {height} px", "give micrographs or movies")
    return Movie(path, frame_count, (height, width), pixel_size_A)


def _open_tiff(path: Path) -> Movie:
    """Read the pages' headers; the strips they point to must lie inside the file."""
    length = _length(path)
    try:
        with tifffile.TiffFile(path) as handle:
            pages = _frame_pages(handle)
            first = pages[0]
            shapes = {page.shape for page in pages}
            end = max(
                offset + size
                for page in (first, pages[-1])
                for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True)
            )
            complete = _page_list_ends(handle)
            pixel_size_A = _tiff_pixel_size(first)
    except Exception as error:
        raise BadInput(path, f"is not a readable TIFF ({_one_line(error)})", COPY_AGAIN) from error
    if end > length or not complete:
        raise BadInput(path, f"is truncated ({length} bytes, its pages ask for more)", COPY_AGAIN)
    if len(shapes) != 1 or len(first.shape) != 2:
        raise BadInput(path, "its pages are not grey images of one size", "give a movie or micrograph")
    return _movie(path, len(pages), first.shape, pixel_size_A)


def _read_tiff(path: Path) -> Float32Array:
    try:
        with tifffile.TiffFile(path) as handle:
            # MRC has the bottom row first, TIFF the top row; all programs of the field turn TIFF over.
            frames = np.stack([page.asarray()[::-1] for page in _frame_pages(handle)])
    except Exception as error:
        raise BadInput(path, f"cannot be decoded ({_one_line(error)})", COPY_AGAIN) from error
    return frames.astype(np.float32, copy=False)


def _frame_pages(handle: tifffile.TiffFile) -> list[Any]:
    """Return the pages that are frames; some cameras add a reduced preview, marked as such."""
    pages = [page for page in (page.aspage() for page in handle.pages) if not page.is_reduced]
    if not pages:
        raise ValueError("no pages")
    return pages


def _page_list_ends(handle: tifffile.TiffFile) -> bool:
    """Return whether the last page says that it is the last; a cut file would otherwise pass as a shorter movie."""
    handle.filehandle.seek(handle.pages.next_page_offset or 0)
    form = handle.tiff.offsetformat
    return bool(struct.unpack(form, handle.filehandle.read(struct.calcsize(form)))[0] == 0)


def _tiff_pixel_size(page: Any) -> float | None:
    """Return the pixel size where the resolution is given in pixels per centimetre and is an electron microscope's."""
    tags = page.tags
    if "XResolution" not in tags or "ResolutionUnit" not in tags or int(tags["ResolutionUnit"].value) != 3:
        return None
    numerator, denominator = tags["XResolution"].value
    if not numerator or not denominator:
        return None
    pixel_size_A = 1e8 * denominator / numerator
    return round(pixel_size_A, 4) if 0.05 < pixel_size_A < 50 else None


def _require_picture(path: Path, frames: Float32Array) -> None:
    lowest, highest = float(frames.min()), float(frames.max())
    if not np.isfinite([lowest, highest]).all():
        raise BadInput(path, "holds values that are not numbers (NaN or infinite)", RECORD_AGAIN)
    if lowest == highest:
        what = "is zero everywhere" if lowest == 0 else f"has the value {lowest:g} everywhere"
        raise BadInput(path, what, RECORD_AGAIN)


def _length(path: Path) -> int:
    try:
        length = path.stat().st_size
    except FileNotFoundError:
        raise BadInput(path, "no such file", "check the name") from None
    if length == 0:
        raise BadInput(path, "is empty", COPY_AGAIN)
    return length


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
