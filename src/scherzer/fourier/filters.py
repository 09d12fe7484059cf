"""Soft filters of volumes and images by spatial frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scherzer.fourier.grids import centred_irfftn, centred_rfftn, rfft_radius


def cosine_edge(distance: Tensor, inner: float, outer: float) -> Tensor:
    """Return 1 below ``inner``, 0 above ``outer`` and a raised cosine between."""
    position = ((distance - inner) / max(outer - inner, 1e-6)).clamp(0, 1)
    return 0.5 * (1 + torch.cos(math.pi * position))


def lowpass(volume: Tensor, pixel_size_A: float, resolution_A: float, edge_px: float = 2.0) -> Tensor:
    """Low-pass a ``(b, b, b)`` volume at a resolution, with a raised-cosine edge centred on it."""
    box = volume.shape[-1]
    cut = box * pixel_size_A / resolution_A
    radius = rfft_radius(box, 3, volume.device)
    return centred_irfftn(centred_rfftn(volume) * cosine_edge(radius, cut - edge_px / 2, cut + edge_px / 2))


def apply_radial(volume: Tensor, curve: Tensor) -> Tensor:
    """Multiply the transform of a ``(b, b, b)`` volume by a curve over shells, linear between them.

    Parameters
    ----------
    curve : Tensor
        ``(b // 2 + 1,)``; frequencies beyond Nyquist get its last value.
    """
    box = volume.shape[-1]
    radius = rfft_radius(box, 3, volume.device).clamp(max=box // 2)
    low = radius.floor().long().clamp(max=box // 2 - 1)
    curve = curve.to(volume.dtype)
    factor = torch.lerp(curve[low], curve[low + 1], radius - low)
    return centred_irfftn(centred_rfftn(volume) * factor)
