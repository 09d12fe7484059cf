"""Movies of electron counts to disk, frame by frame: MRC, TIFF and EER."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from mrcfile.dtypes import HEADER_DTYPE
from numpy.typing import NDArray

from scherzer.formats.atomic import atomic_path
from scherzer.formats.eer_writing import write_eer
from scherzer.formats.errors import BadInput
from scherzer.formats.movies import EER_SUFFIXES, MRC_SUFFIXES, TIFF_SUFFIXES
from scherzer.formats.mrc_layout import HEADER_BYTES

Counts = NDArray[np.integer[Any]]
Write = Callable[[Path, Iterator[NDArray[Any]], np.dtype[Any]], int]

# Tried in turn. RELION 3.1 reads MRC mode 6 (uint16) as signed, so it is not among them.
MRC_TYPES = (np.dtype("<i1"), np.dtype("<i2"), np.dtype("<f4"))
MRC_MODES = (0, 1, 2)
TIFF_TYPES = (np.dtype("<u1"), np.dtype("<i2"), np.dtype("<u2"))
# Above this a classic TIFF may not hold the movie; LZW makes noise larger by up to a half.
CLASSIC_TIFF_BYTES = 2**32 / 1.6


def write_movie(
    path: Path,
    frames: Iterable[Counts],
    pixel_size_A: float,
    frame_count: int,
    raw_frames_per_frame: int = 1,
    seed: int = 0,
) -> None:
    """Write a movie atomically, one frame in memory at a time, in the format that the ending names.

    Parameters
    ----------
    path : Path
        Target: ``.mrc`` or ``.mrcs`` (mode 0, or 1 from the first frame with a count above 127), ``.tif`` or ``.tiff``
        (LZW, a page a frame, 8 bits or 16 from the first count above 255) or ``.eer``.
    frames : iterable of ndarray of integer
        ``(h, w)`` each, counts from 0.
    pixel_size_A : float
        Goes into the header.
    frame_count : int
        How many frames there are.
    raw_frames_per_frame : int
        EER only: raw frames over which each frame is spread; counts above this number are cut.
    seed : int
        EER only: of the raw frame and the place in its pixel that each electron gets.

    Raises
    ------
    BadInput
        If the ending is not one of those.
    ValueError
        If there are more or fewer frames than said, or they are not of one shape or not counts.
    """
    suffix = path.suffix.lower()
    if suffix not in MRC_SUFFIXES + TIFF_SUFFIXES + EER_SUFFIXES:
        raise BadInput(path, f"movies ending in {suffix or 'nothing'} are not written", "use .mrc, .tif or .eer")
    checked = _checked(frames)
    with atomic_path(path) as temporary:
        if suffix in EER_SUFFIXES:
            written = write_eer(temporary, checked, pixel_size_A, raw_frames_per_frame, seed)
        elif suffix in MRC_SUFFIXES:
            written = _write_narrowest(temporary, checked, MRC_TYPES, partial(_write_mrc, pixel_size_A), _mrc_frames)
        else:
            big = partial(_write_tiff, pixel_size_A, frame_count)
            written = _write_narrowest(temporary, checked, TIFF_TYPES, big, _tiff_frames)
        if written != frame_count:
            raise ValueError(f"{written} frames came where {frame_count} were announced")


def _checked(frames: Iterable[Counts]) -> Iterator[Counts]:
    shape: tuple[int, ...] | None = None
    for frame in frames:
        shape = shape or frame.shape
        if frame.ndim != 2 or frame.shape != shape or frame.dtype.kind not in "iu" or frame.min() < 0:
            raise ValueError(f"a frame must hold counts and be {shape}, this is {frame.dtype} and {frame.shape}")
        yield frame


def _write_narrowest(
    path: Path,
    frames: Iterator[Counts],
    types: tuple[np.dtype[Any], ...],
    write: Write,
    reread: Callable[[Path], Iterator[NDArray[Any]]],
) -> int:
    """Write with the first type; at a frame that does not fit, widen what is there and go on with the next type."""
    narrower = path.with_name(f"{path.stem}-narrower{path.suffix}")
    coming = frames
    try:
        for dtype in types:
            fitting = _Fitting(coming, dtype)
            count = write(path, iter(fitting), dtype)
            if fitting.misfit is None:
                return count
            if count:
                path.replace(narrower)
            coming = chain(reread(narrower) if count else (), [fitting.misfit], frames)
    finally:
        narrower.unlink(missing_ok=True)
    raise ValueError(f"counts do not fit {types[-1].name}")


class _Fitting:
    """Frames in one type, up to the first that does not fit it."""

    def __init__(self, frames: Iterator[Counts], dtype: np.dtype[Any]) -> None:
        self.frames = frames
        self.dtype = dtype
        self.misfit: Counts | None = None

    def __iter__(self) -> Iterator[NDArray[Any]]:
        limit = np.iinfo(self.dtype).max if self.dtype.kind in "iu" else 2**24
        for frame in self.frames:
            if frame.max() > limit:
                self.misfit = frame
                return
            yield frame.astype(self.dtype)


def _write_mrc(pixel_size_A: float, path: Path, frames: Iterator[NDArray[Any]], dtype: np.dtype[Any]) -> int:
    """Write the frames behind a header that is filled in at the end."""
    count, shape = 0, (0, 0)
    low, high, total, squares = np.inf, -np.inf, 0.0, 0.0
    with path.open("wb") as handle:
        handle.write(bytes(HEADER_BYTES))
        for frame in frames:
            count, shape = count + 1, (frame.shape[0], frame.shape[1])
            handle.write(frame.tobytes())
            low, high = min(low, float(frame.min())), max(high, float(frame.max()))
            total += float(frame.sum(dtype=np.float64))
            squares += float(np.square(frame, dtype=np.float64).sum())
        if count:
            handle.seek(0)
            mean = total / (count * shape[0] * shape[1])
            rms = np.sqrt(max(squares / (count * shape[0] * shape[1]) - mean**2, 0))
            mode = MRC_MODES[MRC_TYPES.index(dtype)]
            handle.write(_mrc_header((count, *shape), mode, pixel_size_A, (low, high, mean, float(rms))))
    return count


def _mrc_header(
    shape: tuple[int, int, int], mode: int, pixel_size_A: float, statistics: tuple[float, float, float, float]
) -> bytes:
    """Return the header of a stack of images (Cheng et al. 2015, J Struct Biol 192, 146)."""
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    header["nz"], header["ny"], header["nx"] = shape
    header["mz"], header["my"], header["mx"] = shape
    header["mode"] = mode
    for axis, size in zip("zyx", shape, strict=True):
        header["cella"][axis] = size * pixel_size_A
    for angle in ("alpha", "beta", "gamma"):
        header["cellb"][angle] = 90
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["dmin"], header["dmax"], header["dmean"], header["rms"] = statistics
    header["nversion"] = 20140
    header["map"] = b"MAP "
    header["machst"] = (0x44, 0x44, 0, 0)
    header["nlabl"] = 1
    header["label"][0] = b"scherzer"
    return header.tobytes()


def _mrc_frames(path: Path) -> Iterator[NDArray[Any]]:
    header = np.fromfile(path, "<i4", 4)
    nx, ny, nz, mode = (int(number) for number in header)
    yield from np.memmap(path, MRC_TYPES[MRC_MODES.index(mode)], "r", HEADER_BYTES, (nz, ny, nx))


def _write_tiff(
    pixel_size_A: float, frame_count: int, path: Path, frames: Iterator[NDArray[Any]], dtype: np.dtype[Any]
) -> int:
    """Write a page a frame; TIFF has the top row first where MRC has the bottom row (see `movies`)."""
    count = 0
    per_cm = 1e8 / pixel_size_A
    writer: tifffile.TiffWriter | None = None
    try:
        for frame in frames:
            count += 1
            if writer is None:
                writer = tifffile.TiffWriter(path, bigtiff=frame_count * frame.nbytes > CLASSIC_TIFF_BYTES)
            writer.write(
                np.ascontiguousarray(frame[::-1]),
                photometric="minisblack",
                compression="lzw",
                contiguous=False,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                metadata=None,
            )
    finally:
        if writer is not None:
            writer.close()
    return count


def _tiff_frames(path: Path) -> Iterator[NDArray[Any]]:
    with tifffile.TiffFile(path) as handle:
        for page in handle.pages:
            yield page.asarray()[::-1]
