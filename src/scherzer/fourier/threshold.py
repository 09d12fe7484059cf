"""The grey level that parts an image or a map into dark and bright."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 256  # of the histogram from which the threshold comes


def otsu_threshold(values: NDArray[Any]) -> tuple[float, float]:
    """Split values into two groups of least variance.

    Parameters
    ----------
    values : ndarray
        ``(n,)``, at least one.

    Returns
    -------
    level : float
        What is above it is bright; where all values are equal, none is.
    separation : float
        Share of the variance that the split explains, 0 to 1.

    References
    ----------
    Otsu 1979, IEEE Trans. Syst. Man Cybern. 9, 62.
    """
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-12:
        return high, 0.0
    counts, edges = np.histogram(values, bins=LEVELS, range=(low, high))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middle)
    means = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * (means[0] - means[1]) ** 2 / float(counts.sum()) ** 2
    best = int(np.argmax(between))
    return float(edges[best + 1]), float(between[best] / max(float(values.var()), 1e-12))
