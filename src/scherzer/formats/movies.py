"""Exposures: movies and single micrographs in MRC, TIFF and EER."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scherzer.formats.content import empty_frames
from scherzer.formats.eer import EerSettings, eer_frames, raw_frames_per_frame, read_eer_header
from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import Float32Array, mrc_sections, read_mrc_header
from scherzer.formats.tiff import read_tiff_header, tiff_pages

MRC_SUFFIXES = (".mrc", ".mrcs")
COMPRESSED_MRC_SUFFIXES = (".mrc.gz", ".mrcs.gz", ".mrcgz", ".mrc.bz2", ".mrcs.bz2", ".mrcbz2")
TIFF_SUFFIXES = (".tif", ".tiff")
EER_SUFFIXES = (".eer",)
EXPOSURE_SUFFIXES = MRC_SUFFIXES + COMPRESSED_MRC_SUFFIXES + TIFF_SUFFIXES + EER_SUFFIXES
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
        Number of frames; of an electron-event movie, as grouped.
    shape : tuple of int
        ``(h, w)`` of every frame, upsampled where that was asked for.
    pixel_size_A : float or None
        Of these frames, as the header has it, unchecked; None where it says nothing.
    raw_frames_per_frame : int or None
        Only of electron-event movies: how many raw frames are summed into each frame.
    upsampling : int
        Only of electron-event movies: pixels of a frame along one side of a pixel of the camera.
    dose_per_frame_e_per_px : float or None
        Electrons in one pixel of the camera in one frame, as the file records it; None where it does not.
    """

    path: Path
    frame_count: int
    shape: tuple[int, int]
    pixel_size_A: float | None
    raw_frames_per_frame: int | None = None
    upsampling: int = 1
    dose_per_frame_e_per_px: float | None = None

    @property
    def holds_electron_events(self) -> bool:
        """Whether this is an EER movie, whose gain reference is divided by (see `gain`)."""
        return self.raw_frames_per_frame is not None

    def frames(self) -> Iterator[Float32Array]:
        """Read one frame after the other, so that only one is in memory: as `counts`, in float32."""
        for stored in self.counts():
            yield stored.astype(np.float32, copy=False)

    def counts(self) -> Iterator[NDArray[Any]]:
        """Read one frame after the other as it is stored: a byte a pixel is read faster than a float32.

        Yields
        ------
        ndarray
            ``(h, w)``, the bottom row first.

        Raises
        ------
        BadInput
            If a frame cannot be read, or the exposure holds no picture: values that are not numbers or, which is
            known only behind the last frame, one value everywhere.
        """
        count, lowest, highest = 0, np.inf, -np.inf
        for stored in self._stored_frames():
            low, high = float(stored.min()), float(stored.max())
            if not np.isfinite([low, high]).all():
                raise BadInput(self.path, "holds values that are not numbers (NaN or infinite)", RECORD_AGAIN)
            count, lowest, highest = count + 1, min(lowest, low), max(highest, high)
            if count > self.frame_count or stored.shape != self.shape:
                break
            yield stored
        if count != self.frame_count:
            raise BadInput(self.path, "changed while it was read", "run again when it is complete")
        if lowest == highest:
            what = "is zero everywhere" if lowest == 0 else f"has the value {lowest:g} everywhere"
            raise BadInput(self.path, what, RECORD_AGAIN)

    def read(self) -> Float32Array:
        """Read all frames.

        Returns
        -------
        ndarray of float32
            ``(n, h, w)``, also for one frame.

        Raises
        ------
        BadInput
            As `frames`, and if there is not the memory.
        """
        frames = empty_frames(self.path, (self.frame_count, *self.shape))
        for number, frame in enumerate(self.frames()):
            frames[number] = frame
        return frames

    def _stored_frames(self) -> Iterator[NDArray[Any]]:
        if self.raw_frames_per_frame is not None:
            return eer_frames(self.path, self.raw_frames_per_frame, self.upsampling)
        if _ends_in(self.path, TIFF_SUFFIXES):
            return tiff_pages(self.path)
        return mrc_sections(self.path)


def open_exposure(path: Path, eer: EerSettings | None = None) -> Movie:
    """Read the header of a movie or micrograph.

    Parameters
    ----------
    path : Path
        MRC (``nz`` above 1 is a movie), also compressed by gzip or bzip2, TIFF (a page a frame) or EER.
    eer : EerSettings, optional
        How the raw frames of an electron-event movie become frames; of no effect on others.

    Raises
    ------
    BadInput
        If the file is missing, truncated, of a kind that is not read here, or not an image.
    """
    if _ends_in(path, EER_SUFFIXES):
        return _open_eer(path, eer or EerSettings())
    if _ends_in(path, TIFF_SUFFIXES):
        tiff = read_tiff_header(path)
        movie = Movie(path, tiff.shape[0], tiff.shape[1:], tiff.pixel_size_A)
    elif _ends_in(path, MRC_SUFFIXES + COMPRESSED_MRC_SUFFIXES):
        mrc = read_mrc_header(path)
        movie = Movie(path, mrc.shape[0], mrc.shape[1:], mrc.pixel_size_A)
    else:
        problem = f"files ending in {path.suffix or 'nothing'} are not read"
        raise BadInput(path, problem, "give .mrc, .mrcs, .tif, .tiff or .eer")
    if min(movie.shape) < MIN_SIDE_PX:
        raise BadInput(path, f"is only {movie.shape[1]} x {movie.shape[0]} px", "give micrographs or movies")
    return movie


def is_exposure(path: Path) -> bool:
    """Return whether the name is that of a movie or micrograph."""
    return _ends_in(path, EXPOSURE_SUFFIXES)


def exposure_stem(path: Path) -> str:
    """Return the file's name without its ending, of which a compressed file has two."""
    ends = [suffix for suffix in EXPOSURE_SUFFIXES if _ends_in(path, (suffix,))]
    return path.name[: -len(max(ends, key=len))] if ends else path.stem


def _ends_in(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(suffixes)


def _open_eer(path: Path, settings: EerSettings) -> Movie:
    header = read_eer_header(path)
    group = raw_frames_per_frame(path, header, settings)
    dose_e_per_px = header.dose_e_per_px
    height, width = header.shape
    if min(height, width) < MIN_SIDE_PX:
        raise BadInput(path, f"is only {width} x {height} px", "give micrographs or movies")
    return Movie(
        path,
        header.raw_frames // group,
        (settings.upsampling * height, settings.upsampling * width),
        None if header.pixel_size_A is None else header.pixel_size_A / settings.upsampling,
        group,
        settings.upsampling,
        None if dose_e_per_px is None else dose_e_per_px * group / header.raw_frames,
    )
