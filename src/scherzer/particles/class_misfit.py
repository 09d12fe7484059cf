"""How much of an image its class average leaves unexplained: what lies over a particle, or is none, does not fit."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.fourier.grids import centred_irfft2
from scherzer.likelihood.band import Band
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.particles.class_assignment import Assignment, best_fit
from scherzer.particles.class_averages import circular_mask

# Carbon, ice and clumps stand out at low resolution, where a particle's own noise is least.
FINEST_A = 20.0
CHUNK = 1024  # particles whose residuals are held at a time


def unexplained_power(
    particles: ParticleSet, noise: Tensor, assignment: Assignment, references: Tensor, band: Band, diameter_px: float
) -> Tensor:
    """Power within a disc that the best candidate leaves, in units of the noise.

    Parameters
    ----------
    particles : ParticleSet
        n particles.
    noise : Tensor
        ``(shells,)`` noise variance of a Fourier pixel per shell.
    assignment : Assignment
        Of the n particles.
    references : Tensor
        ``(2, k, p, m)`` averages of both half-sets, turned.
    band : Band
        Of the references.
    diameter_px : float
        Of the disc.

    Returns
    -------
    Tensor
        ``(n,)``; 0 where everything is explained.
    """
    band = band.within(particles.extent_A / FINEST_A)
    mask = circular_mask(particles.box, diameter_px, noise.device)
    found = []
    for rows in torch.arange(len(particles), device=noise.device).split(CHUNK):
        part = particles[rows]
        fit = best_fit(part, rows, assignment, references, band)
        residual = (band.take(part.spectra()) - fit) / noise[band.shell].sqrt()
        found.append((centred_irfft2(band.put(residual * band.box)) * mask).square().sum((-2, -1)))
    return torch.cat(found)
