"""Power of single particles over rings of the Fourier plane."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scherzer.fourier.crop import resize_rfft
from scherzer.fourier.shells import shell_mean

# Distance of the rings, 1/A, whatever the box: within a box's shells the CTF oscillates.
RING_PER_A = 5e-4
# Of detail coarser than this the power changes within the shells of a tight box; it is taken from one so much larger.
PADDED_FROM_A, PADDED = 15.0, 4


def ring_frequencies(pixel_size_A: float) -> Tensor:
    """Return the rings' spatial frequencies to Nyquist, 1/A, ``(m,)`` float64."""
    return RING_PER_A * torch.arange(1, int(0.5 / pixel_size_A / RING_PER_A) + 1, dtype=torch.float64)


def ring_power(transforms: Tensor, pixel_size_A: float) -> Tensor:
    """Mean squared modulus of transforms at each of `ring_frequencies`.

    Parameters
    ----------
    transforms : Tensor
        ``(n, box, box // 2 + 1)``, of particles in the middle of boxes of at least their size, as
        :func:`scherzer.simulate.specimen.project` gives them.
    pixel_size_A : float
        Pixel size.

    Returns
    -------
    Tensor
        ``(n, m)`` float64.
    """
    box = transforms.shape[-2]
    k = ring_frequencies(pixel_size_A)
    shells = k * (box * pixel_size_A)
    power = _between(shell_mean(transforms.real**2 + transforms.imag**2, 2), shells)
    low = k < 1 / PADDED_FROM_A
    # Twice the detail that is wanted, as cutting off the rest spoils the edges of the small image.
    side = min(2 * math.ceil(2 * box * pixel_size_A / PADDED_FROM_A), box)
    small = torch.fft.irfft2(resize_rfft(transforms, side, 2), s=(side, side))
    padded = torch.fft.rfft2(small, s=(PADDED * side, PADDED * side))
    power[:, low] = _between(shell_mean(padded.real**2 + padded.imag**2, 2), PADDED * shells[low])
    return power


def _between(means: Tensor, shells: Tensor) -> Tensor:
    """Interpolate means over whole shells."""
    below = shells.long().clamp(max=means.shape[1] - 2)
    return torch.lerp(means[:, below], means[:, below + 1], shells - below)
