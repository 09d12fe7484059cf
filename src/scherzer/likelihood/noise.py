"""Noise spectra of particle images."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.fourier.shells import shell_mean
from scherzer.likelihood.particle_set import ParticleSet


def image_power(particles: ParticleSet) -> Tensor:
    """Mean power of the images per shell: a first noise spectrum, since the images are nearly all noise.

    Returns
    -------
    Tensor
        ``(b // 2 + 1,)`` float32, mean square modulus of a Fourier pixel.
    """
    total = torch.zeros(particles.box // 2 + 1, dtype=torch.float64, device=particles.transforms.device)
    for chunk in particles.transforms.split(512):
        total += shell_mean(chunk.abs() ** 2, 2).sum(0)
    return (total / max(len(particles), 1)).float().clamp(min=1e-12)


def residual_power(residual: Tensor, shell: Tensor, shells: int) -> Tensor:
    """Sum and count of squared residuals per shell.

    Parameters
    ----------
    residual : Tensor
        ``(n, m)`` complex differences between images and what the model predicts.
    shell : Tensor
        ``(m,)`` shell number of each pixel.
    shells : int
        Number of shells.

    Returns
    -------
    Tensor
        ``(2, shells)`` float64: sums and counts; the noise spectrum is their ratio.
    """
    sums = torch.zeros((2, shells), dtype=torch.float64, device=residual.device)
    sums[0].index_add_(0, shell, (residual.abs() ** 2).double().sum(0))
    sums[1].index_add_(0, shell, torch.full_like(shell, len(residual), dtype=torch.float64))
    return sums


def merge_noise(measured: Tensor, previous: Tensor) -> Tensor:
    """Return the spectrum of :func:`residual_power` where shells were measured, the previous one elsewhere."""
    sums, counts = measured
    return torch.where(counts > 0, (sums / counts.clamp(min=1)).float(), previous).clamp(min=1e-12)
