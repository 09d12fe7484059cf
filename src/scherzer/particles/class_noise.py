"""The noise of particles, as their classes leave it, with what is no particle left out."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.likelihood.band import Band
from scherzer.likelihood.noise import merge_noise
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.particles.class_assignment import Assignment, best_fit
from scherzer.particles.class_misfit import FINEST_A

CHUNK = 1024  # particles whose residuals are held at a time
MOST_LEFT = 2.5  # unexplained power at low resolution, in medians, beyond which an image does not tell of the noise


def residual_noise(
    particles: ParticleSet, noise: Tensor, assignment: Assignment, references: Tensor, band: Band
) -> Tensor:
    """Noise spectrum from what the best candidates leave unexplained within the band.

    Carbon, ice and clumps are left out: their power at low resolution would pass for noise, and what the particles
    themselves hold there would be believed less.

    Parameters
    ----------
    particles : ParticleSet
        n particles.
    noise : Tensor
        ``(shells,)``, the spectrum so far; it stays where the band does not reach.
    assignment : Assignment
        Of the n particles.
    references : Tensor
        ``(2, k, p, m)`` averages of both half-sets, turned.
    band : Band
        Of the references.

    Returns
    -------
    Tensor
        ``(shells,)`` noise variance of a Fourier pixel per shell.
    """
    shells = len(noise)
    sums = torch.zeros((len(particles), shells), dtype=torch.float64, device=noise.device)
    for rows in torch.arange(len(particles), device=noise.device).split(CHUNK):
        part = particles[rows]
        explained = assignment.weight[rows].sum(1, keepdim=True)  # nothing is explained where there is no particle
        residual = band.take(part.spectra()) - explained * best_fit(part, rows, assignment, references, band)
        sums[rows] = sums[rows].index_add_(1, band.shell, residual.abs().square().double())
    counts = torch.bincount(band.shell, minlength=shells).double()
    coarse = slice(1, 1 + min(shells - 1, round(particles.extent_A / FINEST_A)))
    left = (sums / noise)[:, coarse].sum(1)
    usual = left <= MOST_LEFT * left.median()
    measured = torch.stack((sums[usual].sum(0), counts * usual.sum()))
    return merge_noise(measured, noise)
