"""How evenly the beam lights the image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Scatter of the logarithm of the change across an image: one image in ten has three times the typical one, as those of
# apo-ferritin do (EMPIAR-10146).
SLOPE_SCATTER = 0.857
# No image is darker than this on its dark side.
DARKEST = 0.2


def illumination(rng: np.random.Generator, shape: tuple[int, int], typical_slope: float) -> NDArray[np.float32]:
    """Draw the intensity of the beam over an image, relative to its mean: a plane that falls in any direction.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    shape : tuple of int
        ``(h, w)`` of the image.
    typical_slope : float
        Median of the change from one side to the other, relative to the mean.

    Returns
    -------
    ndarray
        ``(h, w)``, of mean 1.
    """
    angle, scatter = float(rng.uniform(0, 2 * np.pi)), float(rng.lognormal(0, SLOPE_SCATTER))
    half = min(typical_slope * scatter / 2, (1 - DARKEST) / math.sqrt(2))
    y, x = (np.linspace(-half, half, side, dtype=np.float32) for side in shape)
    return np.asarray(1 + math.sin(angle) * y[:, None] + math.cos(angle) * x, dtype=np.float32)
