"""Radiation damage: how fast the signal fades with exposure."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Critical exposures relative to 300 kV. 200 kV: Grant and Grigorieff 2015; 100 kV: as cisTEM's unblur.
_VOLTAGES_KV = (100.0, 200.0, 300.0)
_VOLTAGE_SCALES = (0.532, 0.8, 1.0)


def critical_dose_e_per_A2(k: Tensor, voltage_kV: float) -> Tensor:
    """Exposure at which the signal's amplitude has fallen by ``exp(-1/2)``.

    Parameters
    ----------
    k : Tensor
        Spatial frequency, 1/A, of any shape; infinite exposure at 0.
    voltage_kV : float
        Acceleration voltage; interpolated between 100, 200 and 300 kV, and held beyond.

    Returns
    -------
    Tensor
        e/A^2, shaped like ``k``.

    References
    ----------
    Grant and Grigorieff 2015, eLife 4:e06980, eq. 3.
    """
    scale = float(np.interp(voltage_kV, _VOLTAGES_KV, _VOLTAGE_SCALES))
    return scale * (0.24499 * torch.abs(k) ** -1.6649 + 2.8141)


def dose_weights(k: Tensor, dose_at_frame_end_e_per_A2: Tensor, voltage_kV: float) -> Tensor:
    """Amplitude that is left of the signal after an exposure, which is also the frame's weight in the sum.

    Parameters
    ----------
    k : Tensor
        Spatial frequency, 1/A.
    dose_at_frame_end_e_per_A2 : Tensor
        ``(n,)``, exposure accumulated when each frame ends.
    voltage_kV : float
        Acceleration voltage.

    Returns
    -------
    Tensor
        ``(n, *k.shape)``, between 0 and 1. Divide the weighted sum by the root of the sum of squared weights to restore
        the noise (eq. 9).

    References
    ----------
    Grant and Grigorieff 2015, eLife 4:e06980, eq. 5.
    """
    dose = dose_at_frame_end_e_per_A2.to(k).reshape((-1,) + (1,) * k.ndim)
    return torch.exp(-dose / (2 * critical_dose_e_per_A2(k, voltage_kV)))


def mean_survival(k: Tensor, start_e_per_A2: float, end_e_per_A2: float, voltage_kV: float) -> Tensor:
    """Amplitude that is left of the signal on average between two exposures, shaped like ``k``."""
    rate = 0.5 / critical_dose_e_per_A2(k, voltage_kV).double()
    faded = rate * (end_e_per_A2 - start_e_per_A2)
    mean = torch.where(faded > 1e-6, -torch.expm1(-faded) / faded.clamp(min=1e-6), torch.ones_like(faded))
    return (torch.exp(-rate * start_e_per_A2) * mean).to(k.dtype)
