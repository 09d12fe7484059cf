"""How a gain reference lies on the frames of a camera, found from the frames themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float32Array = NDArray[np.float32]
Finding = Literal["found", "not in the frames", "not told"]

# Our own choices, tested on simulated cameras.
WINDOW_PX = 9  # what is smoother than this is specimen and illumination, not pixels
BLOCKS_PER_SIDE = 16  # whose scatter gives the standard errors
LEAST_BLOCK_PX = 8
CLIP_SIGMA = 5.0  # a hot pixel shall not decide
FOUND_SIGMA = 6.0  # by which the best orientation must lead the second
LEAST_SHARE = 0.2  # of the reference's pattern that must be there: cameras change with time
ABSENT_SHARE = 0.5  # a pattern that is surely weaker than this was taken out before
OWN_SIGMA = 4.0  # by which the frames' own fixed pattern must exceed its error
BRIGHTEST = 4.0  # times the mean; more is a defect


@dataclass(frozen=True)
class GainOrientation:
    """How a gain reference has to be turned to fit the frames.

    Attributes
    ----------
    finding : {"found", "not in the frames", "not told"}
        Whether the orientation was found; "not in the frames": they were corrected before, or the reference is of
        another camera.
    rotation : int
        Quarter turns as RELION's ``--gain_rot`` counts them; 0 where nothing was found.
    flip : int
        After the rotation, as RELION's ``--gain_flip``: 0, or 1 for upside down (Y). Its 2, left and right, is a flip 1
        with two more quarter turns.
    inverse : bool
        The frames follow the reference instead of one over it: it must be divided by.
    lead_sigma : float
        By how many standard errors the best orientation leads the second.
    share, share_error : float
        Slope of the frames' pattern against the best orientation's, 1 for a true reference, and its standard error.
    reference_pattern, own_pattern : float
        Relative standard deviation of the reference's pixels about their neighbours, and of what both sums have in
        common; 0 where nothing is seen above the noise.
    """

    finding: Finding
    rotation: int
    flip: int
    inverse: bool
    lead_sigma: float
    share: float
    share_error: float
    reference_pattern: float
    own_pattern: float


def turned(gain: Float32Array, rotation: int, flip: int) -> Float32Array:
    """Turn a gain reference as RELION's ``--gain_rot`` and ``--gain_flip`` do (measured with version 3.1.3).

    Parameters
    ----------
    gain : ndarray
        ``(h, w)``, the bottom row first.
    rotation : int
        Quarter turns: rows become columns for 1 and 3.
    flip : int
        After that: 0 none, 1 the rows upside down, 2 the columns.
    """
    rotated = np.rot90(gain, -rotation)
    return rotated[::-1] if flip == 1 else rotated[:, ::-1] if flip == 2 else rotated


def find_gain_orientation(sums: tuple[Float32Array, Float32Array], gain: Float32Array) -> GainOrientation:
    """Find the orientation in which a gain reference explains the pixels of uncorrected frames.

    Parameters
    ----------
    sums : tuple of ndarray of float32
        Two ``(h, w)`` sums of frames that are neither corrected nor aligned; where there are several movies, of
        different ones.
    gain : ndarray of float32
        ``(h, w)`` or ``(w, h)``, by which frames are to be multiplied; 0 at defects.

    Returns
    -------
    GainOrientation
        Of the orientations that the shape admits.

    Raises
    ------
    ValueError
        If the shape admits none.

    Notes
    -----
    A pixel of gain g counts 1 / g of the electrons, so relative to its neighbourhood it deviates as 1 / g does. The
    slope of the one deviation against the other is about 1 in the right orientation and 0 in all others. Its error, and
    that of the difference between the two best slopes, come from the scatter between blocks of the image, so nothing is
    assumed of the noise.
    """
    if sorted(gain.shape) != sorted(sums[0].shape):
        raise ValueError(f"a gain reference of {gain.shape} fits frames of {sums[0].shape} in no orientation")
    deviations = (deviation(sums[0]), deviation(sums[1]))
    own = _own_pattern(*deviations)
    frame = _weighted(sums, deviations)
    response = np.zeros_like(gain)
    np.divide(1.0, gain, out=response, where=gain > 0)
    pattern = deviation(response)
    strength = float(np.square(pattern, dtype=np.float64).mean())
    if strength == 0:
        return GainOrientation("not told", 0, 0, False, 0.0, 0.0, 1.0, 0.0, own)
    orientations = [(rotation, flip) for flip in (0, 1) for rotation in range(4)]
    slopes = {
        (rotation, flip): _block_means(frame * turned(pattern, rotation, flip)) / strength
        for rotation, flip in orientations
        if turned(pattern, rotation, flip).shape == frame.shape
    }
    by_share = sorted(slopes, key=lambda key: -abs(float(slopes[key].mean())))
    best, second = slopes[by_share[0]], slopes[by_share[1]]
    sign = 1.0 if best.mean() >= 0 else -1.0
    share, share_error = abs(float(best.mean())), _standard_error(best)
    difference = sign * best - (second if second.mean() >= 0 else -second)
    lead = float(difference.mean()) / max(_standard_error(difference), 1e-12)
    finding: Finding = "not told"
    if lead >= FOUND_SIGMA and share >= LEAST_SHARE:
        finding = "found"
    elif share + FOUND_SIGMA * share_error < ABSENT_SHARE:
        finding = "not in the frames"
    rotation, flip = by_share[0] if finding == "found" else (0, 0)
    inverse = finding == "found" and sign < 0
    return GainOrientation(finding, rotation, flip, inverse, lead, share, share_error, math.sqrt(strength), own)


def fixed_pattern(sums: tuple[Float32Array, Float32Array]) -> float:
    """Return the relative standard deviation of what two sums of frames of different movies have in common.

    Frames that were corrected share nothing but noise: 0, also where chance may have done it.
    """
    return _own_pattern(deviation(sums[0]), deviation(sums[1]))


def deviation(values: Float32Array) -> Float32Array:
    """Return by how much each pixel deviates from its neighbourhood, relative to it; outliers are drawn in.

    Parameters
    ----------
    values : ndarray of float32
        ``(h, w)``, not negative; 0 at most pixels that are no use.
    """
    mean = float(values.mean(dtype=np.float64))
    if mean <= 0:
        return np.zeros_like(values)
    # Counts scatter by their root however few they are.
    reach = mean + max((BRIGHTEST - 1) * mean, 12 * math.sqrt(mean))
    drawn_in = np.clip(values, 0, reach)
    around = ndimage.uniform_filter(drawn_in, WINDOW_PX)
    relative = np.zeros_like(drawn_in)
    np.divide(drawn_in, around, out=relative, where=around > 0)
    relative[around > 0] -= 1
    limit = CLIP_SIGMA * robust_sigma(relative)
    return np.clip(relative, -limit, limit, out=relative)


def robust_sigma(values: Float32Array) -> float:
    """Return the standard deviation of the bulk of the values about 0, from their quartiles; never 0 if they differ."""
    sample = np.abs(values.ravel()[:: max(1, values.size // 2**20)])
    sigma = float(np.median(sample)) / 0.6745
    return sigma if sigma > 0 else float(sample.std() or values.std())


def _own_pattern(first: Float32Array, second: Float32Array) -> float:
    """Return how strongly pixels deviate alike in both sums, from their covariance; 0 where it may be chance."""
    covariances = _block_means(first * second)
    covariance = float(covariances.mean())
    return math.sqrt(covariance) if covariance > OWN_SIGMA * _standard_error(covariances) else 0.0


def _weighted(sums: tuple[Float32Array, Float32Array], deviations: tuple[Float32Array, Float32Array]) -> Float32Array:
    """Return the deviation of both sums together: the mean of the two, by their electrons."""
    totals = [float(values.sum(dtype=np.float64)) for values in sums]
    share = totals[0] / sum(totals) if sum(totals) > 0 else 0.5
    return np.float32(share) * deviations[0] + np.float32(1 - share) * deviations[1]


def _block_means(values: Float32Array) -> NDArray[np.float64]:
    height, width = (max(LEAST_BLOCK_PX, side // BLOCKS_PER_SIDE) for side in values.shape)
    down, across = values.shape[0] // height, values.shape[1] // width
    blocks = values[: down * height, : across * width].reshape(down, height, across, width)
    return blocks.mean(axis=(1, 3), dtype=np.float64).ravel()


def _standard_error(means: NDArray[np.float64]) -> float:
    return float(means.std(ddof=1) / math.sqrt(len(means)))
