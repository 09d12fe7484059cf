"""Pixels of a camera that count too much or too little, and what stands in for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from scherzer.micrographs.gain_orientation import Float32Array, robust_sigma

# Our own choices, tested on simulated cameras.
WINDOW_PX = 9  # the neighbourhood a pixel is held against
OUTLIER_SIGMA = 7.0  # beyond it in all movies together
HALF_SIGMA = 3.0  # and beyond it in either half of them, on the same side: a speck of one movie is no defect
MOST_DEFECTS = 0.01  # of all pixels; where more are outliers, the frames are something else than counts
ROWS_SEEN = 512  # of a frame, where its usual value and scatter are measured
REACH_PX = 6  # within which a stand-in is looked for
STAND_INS = 4  # that take turns from frame to frame


def find_defects(sums: tuple[Float32Array, Float32Array], gain: Float32Array | None = None) -> NDArray[np.bool_]:
    """Find pixels that are far too bright or too dark in two sums of frames.

    Parameters
    ----------
    sums : tuple of ndarray of float32
        Two ``(h, w)`` sums of frames, not aligned; of different movies where there are several.
    gain : ndarray of float32, optional
        ``(h, w)``, by which frames are to be multiplied; its zeros are defects too.

    Returns
    -------
    ndarray of bool
        ``(h, w)``, true for defects. Where too many pixels are outliers to be defects, only those of the gain.

    Notes
    -----
    The root of a count has nearly the same scatter however large the count, so one robust standard deviation serves the
    whole frame and the upper tail is no longer than the lower.
    """
    known = np.zeros(sums[0].shape, bool) if gain is None else gain == 0
    corrected = [values if gain is None else values * gain for values in sums]
    total = corrected[0] + corrected[1]
    roots = _roots(total)
    usual = float(np.median(roots[:: max(1, len(roots) // ROWS_SEEN)]))
    roots[known] = usual
    spread = robust_sigma(roots - np.float32(usual))
    drawn_in = np.clip(roots, usual - 4 * spread, usual + 4 * spread)
    around = ndimage.uniform_filter(drawn_in, WINDOW_PX)
    excess = roots - around
    sigma = robust_sigma(excess)
    places = np.nonzero(np.abs(excess) > OUTLIER_SIGMA * max(sigma, 1e-6))
    if len(places[0]) > MOST_DEFECTS * roots.size:
        return known
    outlying = np.ones(len(places[0]), bool)
    for values in corrected:
        # Of the neighbourhood's mean a half has its share; its scatter is seen in some rows.
        scale = math.sqrt(float(values.mean(dtype=np.float64)) / max(float(total.mean(dtype=np.float64)), 1e-12))
        seen = slice(None, None, max(1, len(roots) // ROWS_SEEN))
        sigma_half = robust_sigma(_roots(values[seen]) - np.float32(scale) * around[seen])
        beyond = (_roots(values[places]) - scale * around[places]) * np.sign(excess[places])
        outlying &= beyond > HALF_SIGMA * sigma_half
    defects = known.copy()
    defects[places] |= outlying
    return defects


def _roots(values: Float32Array) -> Float32Array:
    return np.sqrt(np.maximum(values, 0) + np.float32(0.375))


@dataclass(frozen=True)
class StandIns:
    """What takes the place of defects.

    Attributes
    ----------
    defects : Tensor
        ``(m,)`` int64, flat indices of the defects that have good neighbours.
    sources : Tensor
        ``(m, STAND_INS)`` int64, flat indices of their nearest good pixels, the nearest first.
    lost : Tensor
        ``(k,)`` int64, flat indices of defects that have none.
    """

    defects: Tensor
    sources: Tensor
    lost: Tensor

    def fill(self, frame: Tensor, number: int) -> None:
        """Replace the defects of one frame in place.

        Good neighbours take turns, so that noise keeps its strength and its independence from frame to frame, which a
        mean of neighbours or always the same one would not leave it.

        Parameters
        ----------
        frame : Tensor
            ``(h, w)``, contiguous.
        number : int
            Of the frame in its movie.
        """
        flat = frame.view(-1)
        if len(self.lost):
            flat[self.lost] = frame.mean()
        flat[self.defects] = flat[self.sources[:, number % self.sources.shape[1]]]


def stand_ins(defects: NDArray[np.bool_]) -> StandIns:
    """Choose the nearest good pixels of every defect.

    Parameters
    ----------
    defects : ndarray of bool
        ``(h, w)``.
    """
    height, width = defects.shape
    y, x = np.nonzero(defects)
    sources = np.full((len(y), STAND_INS), -1, np.int64)
    found = np.zeros(len(y), np.int64)
    for dy, dx in _outwards():
        open_ones = np.nonzero(found < STAND_INS)[0]
        rows, columns = y[open_ones] + dy, x[open_ones] + dx
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        open_ones, rows, columns = open_ones[inside], rows[inside], columns[inside]
        good = ~defects[rows, columns]
        chosen = open_ones[good]
        sources[chosen, found[chosen]] = rows[good] * width + columns[good]
        found[chosen] += 1
    some = found > 0
    for place in range(1, STAND_INS):
        lacking = some & (found <= place)
        sources[lacking, place] = sources[lacking, 0]
    flat = y * width + x
    return StandIns(torch.from_numpy(flat[some]), torch.from_numpy(sources[some]), torch.from_numpy(flat[~some]))


def _outwards() -> list[tuple[int, int]]:
    """Return the offsets within reach, nearest first."""
    reach = range(-REACH_PX, REACH_PX + 1)
    offsets = [(dy, dx) for dy in reach for dx in reach if 0 < dy * dy + dx * dx <= REACH_PX**2]
    return sorted(offsets, key=lambda offset: (offset[0] ** 2 + offset[1] ** 2, offset))
