"""A counting detector: electrons to whole numbers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# A direct detector in counting mode: detective quantum efficiency at zero frequency and at Nyquist.
DQE_ZERO, DQE_NYQUIST = 0.87, 0.42


def signal_transfer(k: Tensor, pixel_size_A: float) -> Tensor:
    """Root of the DQE relative to that at zero: what the signal loses against white noise.

    Parameters
    ----------
    k : Tensor
        Spatial frequency, 1/A.
    pixel_size_A : float
        Pixel size; its Nyquist frequency is taken to be the detector's.
    """
    relative = (2 * pixel_size_A * k).clamp(max=1.4)
    return torch.sqrt(1 - (1 - DQE_NYQUIST / DQE_ZERO) * relative**1.5).clamp(min=0.05)


def count_electrons(
    rng: np.random.Generator, electrons_per_px: float, relative_intensity: NDArray[np.float32]
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Draw the counts of one frame.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    electrons_per_px : float
        Incident, on average, where the relative intensity is 1.
    relative_intensity : ndarray
        ``(h, w)``.

    Returns
    -------
    ndarray of uint8 or uint16
        ``(h, w)``.
    """
    expected = np.maximum(relative_intensity, 0) * np.float32(electrons_per_px * DQE_ZERO)
    counts = rng.poisson(expected)
    return counts.astype(np.uint8) if counts.max(initial=0) < 256 else counts.astype(np.uint16)
