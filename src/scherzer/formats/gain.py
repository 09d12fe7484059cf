"""Gain references: what the counts of each pixel are multiplied by, 0 for a defect."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scherzer.formats.errors import BadInput
from scherzer.formats.movies import MRC_SUFFIXES, TIFF_SUFFIXES
from scherzer.formats.mrc import Float32Array, read_mrc
from scherzer.formats.tiff import read_tiff_header, tiff_pages

GAIN_SUFFIX = ".gain"
FITTING_GAIN = "give the gain recorded for this camera mode, turned as the movies are"


def load_gain(path: Path, electron_events: bool = False) -> Float32Array:
    """Read a gain reference as it lies on disk.

    Parameters
    ----------
    path : Path
        MRC or TIFF of one image, or the ``.gain`` file (a TIFF) of a Falcon camera.
    electron_events : bool
        For an EER movie. Then a reference in MRC or TIFF is the camera's response, by which counts are divided; one in
        ``.gain`` is multiplied, as all are of other movies (RELION's renderEER.h).

    Returns
    -------
    ndarray of float32
        ``(h, w)``, to multiply by, rows as in the movie; 0 marks defects.

    Raises
    ------
    BadInput
        If it cannot be read or holds nothing usable.
    """
    suffix = path.suffix.lower()
    if suffix in MRC_SUFFIXES:
        stored = read_mrc(path).data
        images, gain = stored.size // (stored.shape[-1] * stored.shape[-2]), stored.reshape(-1, *stored.shape[-2:])[0]
    elif suffix in (*TIFF_SUFFIXES, GAIN_SUFFIX):
        images, gain = read_tiff_header(path).shape[0], next(tiff_pages(path)).astype(np.float32)
    else:
        problem = f"gain references ending in {suffix or 'nothing'} are not read"
        raise BadInput(path, problem, "give .mrc, .tif or .gain (IMOD's dm2mrc converts .dm4)")
    if suffix == GAIN_SUFFIX:
        # The camera's own file: its first page, rows in the order of its EER movies, which are not turned over either.
        gain = np.ascontiguousarray(gain[::-1])
    elif images != 1:
        raise BadInput(path, f"holds {images} images", "give a gain reference of one image")
    if not np.isfinite(gain).all() or not (gain > 0).any():
        raise BadInput(path, "the gain reference holds no usable values", "export it again")
    gain = np.maximum(gain, 0)
    return _inverse(gain) if electron_events and suffix != GAIN_SUFFIX else gain


def read_gain(path: Path, shape: tuple[int, int], electron_events: bool = False) -> Float32Array:
    """Read a gain reference, by which every frame is to be multiplied.

    Parameters
    ----------
    path : Path
        As for `load_gain`.
    shape : tuple of int
        ``(h, w)`` of the movie's frames.
    electron_events : bool
        For an EER movie. Then its pixels may also be 2 or 4 times smaller or larger than those of the frames.

    Returns
    -------
    ndarray of float32
        ``(h, w)``; zeros mark defects.

    Raises
    ------
    BadInput
        If it cannot be read, is of another shape, or is zero everywhere.
    """
    gain = load_gain(path, electron_events)
    fitted = fitted_gain(gain, shape) if electron_events else gain
    if fitted.shape != shape:
        found = " x ".join(str(side) for side in gain.shape)
        problem = f"the gain reference is {found} (rows x columns), the movies are {shape[0]} x {shape[1]}"
        raise BadInput(path, problem, FITTING_GAIN)
    return fitted


def fitted_gain(gain: Float32Array, shape: tuple[int, int]) -> Float32Array:
    """Bring a gain to the pixels of an EER movie; it stays as it is where no factor of 2 or 4 does.

    The response of a large pixel is the mean of those of the small ones in it, of which those that are defects give
    nothing.

    Parameters
    ----------
    gain : ndarray of float32
        To multiply by.
    shape : tuple of int
        ``(h, w)`` wanted.
    """
    for factor in (2, 4):
        if shape == (factor * gain.shape[0], factor * gain.shape[1]):
            return gain.repeat(factor, axis=0).repeat(factor, axis=1)
        if gain.shape == (factor * shape[0], factor * shape[1]):
            response = _inverse(gain).reshape(shape[0], factor, shape[1], factor).mean(axis=(1, 3))
            return _inverse(response)
    return gain


def _inverse(gain: Float32Array) -> Float32Array:
    """Return one over the gain relative to its mean; defects stay 0."""
    works = gain > 0
    inverse = np.zeros_like(gain)
    np.divide(gain[works].mean(dtype=np.float64), gain, out=inverse, where=works)
    return inverse
