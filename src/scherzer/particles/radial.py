"""Radial profiles on a grid: average over rings, and read back."""

from __future__ import annotations

import torch
from torch import Tensor

RADIAL_BINS = 128


def radial_mean(values: Tensor, radius: Tensor, radius_max: float, bins: int = RADIAL_BINS) -> Tensor:
    """Average values over rings of radius; ``(bins,)`` from 0 to ``radius_max``, what is beyond joins the last."""
    ring = (radius / radius_max * (bins - 1)).round().long().clamp(max=bins - 1).flatten()
    total = values.new_zeros(bins).index_add_(0, ring, values.flatten())
    return total / torch.bincount(ring, minlength=bins).clamp(min=1)


def at_radius(profile: Tensor, radius: Tensor, radius_max: float) -> Tensor:
    """Read a profile of equally spaced samples from 0 to ``radius_max`` at any radius, linearly; flat beyond."""
    position = (radius / radius_max * (len(profile) - 1)).clamp(0, len(profile) - 1)
    low = position.floor().long().clamp(max=len(profile) - 2)
    fraction = position - low
    return profile[low] * (1 - fraction) + profile[low + 1] * fraction


def radius_grid(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return the distance in pixels from pixel (0, 0) on a periodic grid ``(h, w)``."""
    y = torch.fft.fftfreq(shape[0], 1 / shape[0], device=like.device)[:, None]
    x = torch.fft.fftfreq(shape[1], 1 / shape[1], device=like.device)[None]
    return torch.sqrt(x * x + y * y)
