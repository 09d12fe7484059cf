"""Shifts as phase ramps."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def phase_ramp(shift: Tensor, kx: Tensor, ky: Tensor) -> Tensor:
    """Fourier factor that moves an image by ``shift``.

    Parameters
    ----------
    shift : Tensor
        ``(..., 2)``, x and y, in the unit that is the inverse of the frequencies'.
    kx, ky : Tensor
        ``(m,)``.

    Returns
    -------
    Tensor
        ``(..., m)`` complex64.
    """
    phase = (-2 * math.pi) * (shift[..., :1] * kx + shift[..., 1:] * ky)
    return torch.polar(torch.ones_like(phase), phase)
