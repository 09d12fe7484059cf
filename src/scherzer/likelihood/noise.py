"""Noise spectra of particle images."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.fourier.grids import square_modulus
from scherzer.fourier.shells import shell_mean
from scherzer.likelihood.particle_set import ParticleSet

FEWEST_PARTICLES = 300  # of an optics group with a spectrum of its own


def image_power(particles: ParticleSet) -> Tensor:
    """Mean power of the images per shell: a first noise spectrum, since the images are nearly all noise.

    Returns
    -------
    Tensor
        ``(b // 2 + 1,)`` float32, mean square modulus of a Fourier pixel.
    """
    total = torch.zeros(particles.box // 2 + 1, dtype=torch.float64, device=particles.device)
    for part in particles.blocks():
        total += shell_mean(square_modulus(part.spectra()), 2).sum(0)
    return (total / max(len(particles), 1)).float().clamp(min=1e-12)


def group_power(particles: ParticleSet, groups: int) -> Tensor:
    """:func:`image_power` of each of a number of optics groups: ``(g, b // 2 + 1)``."""
    total = torch.zeros((groups, particles.box // 2 + 1), dtype=torch.float64, device=particles.device)
    for part in particles.blocks():
        total.index_add_(0, part.optics_group, shell_mean(square_modulus(part.spectra()), 2))
    members = torch.bincount(particles.optics_group, minlength=groups).clamp(min=1)
    return (total / members[:, None]).float().clamp(min=1e-12)


def merged_groups(optics_group: Tensor, fewest: int = FEWEST_PARTICLES) -> Tensor:
    """Renumber optics groups from 0 by size, those that are too small for a spectrum of their own joined.

    What is joined and still too small goes to the largest group.

    Parameters
    ----------
    optics_group : Tensor
        ``(n,)`` int64, any numbers.

    Returns
    -------
    Tensor
        ``(n,)`` int64.
    """
    _, group, counts = torch.unique(optics_group, return_inverse=True, return_counts=True)
    order = torch.argsort(counts, descending=True, stable=True)
    large = int((counts >= fewest).sum())
    number = torch.empty_like(order)
    number[order] = torch.arange(len(order), device=order.device).clamp(max=large)
    left = int(counts.sum() - counts[order[:large]].sum())
    if 0 < left < fewest and large:
        number[number == large] = 0
    return number[group]


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
    sums[0].index_add_(0, shell, square_modulus(residual).double().sum(0))
    sums[1].index_add_(0, shell, torch.full_like(shell, len(residual), dtype=torch.float64))
    return sums


def merge_noise(measured: Tensor, previous: Tensor) -> Tensor:
    """Return the spectrum of :func:`residual_power` where shells were measured, the previous one elsewhere.

    Parameters
    ----------
    measured, previous : Tensor
        ``(..., 2, shells)`` and ``(..., shells)``.
    """
    sums, counts = measured.unbind(-2)
    return torch.where(counts > 0, (sums / counts.clamp(min=1)).float(), previous).clamp(min=1e-12)
