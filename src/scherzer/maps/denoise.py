"""Weighting down the parts of a map that hold no more than noise, before images are aligned to it."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.fourier.filters import apply_radial
from scherzer.fourier.grids import real_radius

WINDOW = 0.6  # standard deviation of the window in which power is compared, in resolutions: some 40 independent values
SOLVENT_FROM = 0.6  # of the diameter: further out there is solvent alone
EXCESS = 1.3  # power counts as signal beyond this times the solvent's: a window's own scatter is about 0.2


def denoised(volume: Tensor, pixel_size_A: float, diameter_A: float, resolution_A: float) -> Tensor:
    """Multiply a map by the share of signal in its local power, ``1 - noise / power``.

    The Wiener filter for a signal whose power varies over the map, as :func:`solve` is the one for power that varies
    over frequency. The noise is that of the solvent around the particle. It has no threshold that could cut weak
    density off, and needs nothing of the other half-map.

    Parameters
    ----------
    volume : Tensor
        ``(b, b, b)``, not masked, filtered to its resolution.
    pixel_size_A, diameter_A, resolution_A : float
        Of the map; of the particle; to which the map can be trusted.

    Returns
    -------
    Tensor
        ``(b, b, b)``.
    """
    box = volume.shape[-1]
    frequency = torch.arange(box // 2 + 1, device=volume.device) / (box * pixel_size_A)
    window = torch.exp(-2 * (torch.pi * WINDOW * resolution_A * frequency) ** 2)
    power = apply_radial(volume**2, window)
    radius = real_radius(box, 3, volume.device)
    solvent = (radius > min(SOLVENT_FROM * diameter_A / pixel_size_A, 0.45 * box)) & (radius < box / 2)
    noise = EXCESS * power[solvent].median()
    return volume * (1 - noise / power.clamp(min=1e-30)).clamp(min=0)
