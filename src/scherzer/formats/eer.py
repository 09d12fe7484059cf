"""Electron-event movies (EER): where electrons fell in hundreds of raw frames, summed into frames while reading.

The layout of the codes is described in `eer_writing`. Rows are in the order of the camera and are not turned over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from scherzer.formats.content import COPY_AGAIN, file_length, one_line, require_believable_size, wrong_ending
from scherzer.formats.errors import BadInput
from scherzer.formats.tiff_directories import require_whole_directories

# Bits of the run, of x and of y; 65002 has them in tags. Of 65000 the layout of the maker's library is read, in which
# the longest run has no sub-pixel bits; prototypes of 2019 wrote them.
BITS = {65000: (8, 2, 2), 65001: (7, 2, 2)}
VARIABLE_BITS = 65002
BITS_TAGS = (65007, 65008, 65009)
# Where nothing is asked for, as many frames as cryoSPARC and WarpTools make.
USUAL_FRAMES = 40
UPSAMPLINGS = (1, 2)


@dataclass(frozen=True)
class EerSettings:
    """How raw frames become frames. At most one of the first two is given; without, there are about 40 frames.

    Attributes
    ----------
    raw_frames_per_frame : int or None
        How many raw frames are summed.
    dose_per_frame_e_per_A2 : float or None
        Or for what exposure.
    total_dose_e_per_A2 : float or None
        Exposure of the whole movie, for the latter; what the file records when None.
    pixel_size_A : float or None
        Of the camera's pixels, to turn what the file records into e/A2; what the file says when None.
    upsampling : int
        1 for the camera's pixels, 2 for pixels of half their size.
    """

    raw_frames_per_frame: int | None = None
    dose_per_frame_e_per_A2: float | None = None
    total_dose_e_per_A2: float | None = None
    pixel_size_A: float | None = None
    upsampling: int = 1


@dataclass(frozen=True)
class EerHeader:
    """What an electron-event movie says about itself.

    Attributes
    ----------
    raw_frames : int
        How many there are.
    shape : tuple of int
        ``(h, w)`` of the camera.
    pixel_size_A : float or None
        Of the camera's pixels, as recorded; None where it is not.
    dose_e_per_px : float or None
        Electrons per pixel of the camera in the whole movie, as recorded; None where it is not.
    """

    raw_frames: int
    shape: tuple[int, int]
    pixel_size_A: float | None
    dose_e_per_px: float | None


def read_eer_header(path: Path) -> EerHeader:
    """Read the directories of all raw frames; their streams must lie inside the file.

    Raises
    ------
    BadInput
        If the file is missing, truncated or not an electron-event movie.
    """
    length = file_length(path)
    if error := wrong_ending(path, "TIFF"):
        raise error
    try:
        require_whole_directories(path)
        with tifffile.TiffFile(path) as handle:
            pages = _raw_frames(handle)
            shapes = {page.shape for page in pages}
            ends = [page.dataoffsets[-1] + page.databytecounts[-1] for page in pages]
            stored = sum(sum(page.databytecounts) for page in pages)
            facts = handle.pages.first.eer_tags or {}
            if not all(_can_be_whole(page) for page in pages):
                raise ValueError("a raw frame ends early")
    except Exception as error:
        raise BadInput(path, f"is not a readable EER movie ({one_line(error)})", COPY_AGAIN) from error
    if not pages:
        raise BadInput(path, "is a TIFF without electron events", "rename it to .tif if it holds images")
    if max(ends) > length or stored > length:
        raise BadInput(path, f"is truncated ({length} bytes, its frames ask for more)", COPY_AGAIN)
    if len(shapes) != 1 or len(pages[0].shape) != 2:
        raise BadInput(path, "its raw frames are not of one size", COPY_AGAIN)
    height, width = pages[0].shape
    require_believable_size(path, len(pages), height * width, 1)
    return EerHeader(len(pages), (height, width), _pixel_size_A(facts), _dose_e_per_px(facts))


def raw_frames_per_frame(path: Path, header: EerHeader, settings: EerSettings) -> int:
    """Return how many raw frames go into one frame.

    Raises
    ------
    BadInput
        If the settings contradict each other or the movie, or the exposure is not known.
    """
    if settings.upsampling not in UPSAMPLINGS:
        raise BadInput("upsampling", f"{settings.upsampling} is not possible for EER movies", "give 1 or 2")
    group, dose = settings.raw_frames_per_frame, settings.dose_per_frame_e_per_A2
    if group is not None and dose is not None:
        raise BadInput("EER frames", "both raw frames and e/A2 per frame are given", "give one of them")
    if dose is not None:
        if not 0 < dose < math.inf:
            raise BadInput("EER dose per frame", f"{dose:g} e/A2 is not possible", "give a positive number of e/A2")
        group = max(1, round(dose * header.raw_frames / _total_dose_e_per_A2(path, header, settings)))
    elif group is None:
        group = max(1, header.raw_frames // USUAL_FRAMES)
    if not 1 <= group <= header.raw_frames:
        problem = f"has {header.raw_frames} raw frames, {group} are to go into each frame"
        raise BadInput(path, problem, "give fewer raw frames, or fewer e/A2, per frame")
    return group


def eer_frames(path: Path, group: int, upsampling: int) -> Iterator[NDArray[np.uint16]]:
    """Sum raw frames into frames, one after the other; an incomplete group at the end is left out.

    Parameters
    ----------
    path : Path
        The movie.
    group : int
        Raw frames per frame.
    upsampling : int
        1 or 2.

    Yields
    ------
    ndarray of uint16
        ``(h, w)`` times the upsampling, counts; valid until the next is asked for.

    Raises
    ------
    BadInput
        If a raw frame cannot be decoded.
    """
    try:
        with tifffile.TiffFile(path) as handle:
            pages = _raw_frames(handle)
            height, width = (upsampling * side for side in pages[0].shape)
            frame = np.empty((height, width), np.uint16)
            for start in range(0, len(pages) - group + 1, group):
                frame.fill(0)
                for page in pages[start : start + group]:
                    _add_raw_frame(handle, page, upsampling, frame)
                yield frame
    except Exception as error:
        raise BadInput(path, f"cannot be decoded ({one_line(error)})", COPY_AGAIN) from error


def _raw_frames(handle: tifffile.TiffFile) -> list[Any]:
    """Return the pages of electron events; some programs put a sum before them."""
    pages = [
        page for page in (page.aspage() for page in handle.pages) if int(page.compression) in (*BITS, VARIABLE_BITS)
    ]
    if any(not page.databytecounts or min(page.databytecounts) <= 0 for page in pages):
        raise ValueError("a frame without data")
    return pages


def _code_bits(page: Any) -> tuple[int, int, int]:
    """Return the bits of run, x and y."""
    compression = int(page.compression)
    if compression != VARIABLE_BITS:
        return BITS[compression]
    run, horizontal, vertical = (page.tags.valueof(tag) for tag in BITS_TAGS)
    # Prototypes lack the last.
    return int(run), int(horizontal), int(horizontal if vertical is None else vertical)


def _can_be_whole(page: Any) -> bool:
    """Return whether a raw frame's stream is at least as long as if it held no electron."""
    run_bits = _code_bits(page)[0]
    most_pixels = 8 * sum(page.databytecounts) // run_bits * (2**run_bits - 1)
    return bool(page.shape[0] * page.shape[1] <= most_pixels)


def _add_raw_frame(handle: tifffile.TiffFile, page: Any, upsampling: int, frame: NDArray[np.uint16]) -> None:
    stream = bytearray()
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        handle.filehandle.seek(offset)
        stream += handle.filehandle.read(size)
    stream += bytes(len(stream) % 2)  # the decoder wants an even length
    imagecodecs.eer_decode(bytes(stream), frame.shape, *_code_bits(page), superres=upsampling - 1, out=frame)


def _total_dose_e_per_A2(path: Path, header: EerHeader, settings: EerSettings) -> float:
    if settings.total_dose_e_per_A2 is not None:
        if not 0 < settings.total_dose_e_per_A2 < math.inf:
            problem = f"{settings.total_dose_e_per_A2:g} e/A2 is not possible"
            raise BadInput("EER total dose", problem, "give a positive number of e/A2")
        return settings.total_dose_e_per_A2
    pixel_size_A = settings.pixel_size_A or header.pixel_size_A
    if header.dose_e_per_px is None or pixel_size_A is None:
        raise BadInput(path, "does not record its dose in e/A2", "give the total dose, or raw frames per frame")
    return header.dose_e_per_px / pixel_size_A**2


def _pixel_size_A(facts: dict[str, Any]) -> float | None:
    if facts.get("sensorPixelSize.width.unit", "m") != "m":
        return None
    size_m = _positive(facts, "sensorPixelSize.width")
    return None if size_m is None else round(1e10 * size_m, 6)


def _dose_e_per_px(facts: dict[str, Any]) -> float | None:
    total = _positive(facts, "totalDose")
    rate, exposure_s = _positive(facts, "meanDoseRate"), _positive(facts, "exposureTime")
    if total is None and rate is not None and exposure_s is not None:
        return rate * exposure_s
    return total


def _positive(facts: dict[str, Any], name: str) -> float | None:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) and 0 < value < math.inf else None
