"""Arrays made into grey pictures: shrinking and stretching."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def shrink(image: Float, longest_px: int) -> tuple[Float, float]:
    """Average blocks of pixels so that no side is longer than asked.

    Returns
    -------
    ndarray
        The smaller image, ``(h // f, w // f)``; incomplete blocks at the edges are left out.
    float
        The factor ``f``.
    """
    factor = max(1, int(np.ceil(max(image.shape) / longest_px)))
    h, w = (side // factor for side in image.shape)
    blocks = image[: h * factor, : w * factor].reshape(h, factor, w, factor)
    return blocks.mean(axis=(1, 3), dtype=np.float64).astype(np.float32), float(factor)


def grey(image: Float, low: float, high: float, levels: int = 256) -> NDArray[np.uint8]:
    """Map ``low..high`` to black..white; fewer levels make noisy pictures smaller files."""
    if not high > low:
        return np.full(image.shape, 128, dtype=np.uint8)
    unit = np.clip((np.nan_to_num(image) - low) / (high - low), 0, 1)
    return np.round(np.round(unit * (levels - 1)) * (255 / (levels - 1))).astype(np.uint8)


def grey_by_sd(image: Float, sds: float = 3.0, levels: int = 256) -> NDArray[np.uint8]:
    """Map the median minus to plus so many robust standard deviations to black..white."""
    low, median, high = (float(v) for v in np.quantile(image, (0.16, 0.5, 0.84)))
    sd = (high - low) / 2
    return grey(image, median - sds * sd, median + sds * sd, levels)


def grey_by_range(image: Float, low_quantile: float = 0.005, high_quantile: float = 0.995) -> NDArray[np.uint8]:
    """Map the range between two quantiles to black..white."""
    low, high = (float(v) for v in np.quantile(image, (low_quantile, high_quantile)))
    return grey(image, low, high)
