"""What share of the signal that images hold a map accounts for.

Both half-sets can settle in the same wrong poses, where they average real signal to the same wrong map: its half-maps
agree, and it explains unseen particles better than a ball does. But averaging over wrong poses loses amplitude, and the
images still hold what the map has lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.filters import apply_radial, cosine_edge
from scherzer.fourier.grids import centred_irfft2, real_radius
from scherzer.fourier.slices import slice_table
from scherzer.likelihood.band import make_band
from scherzer.likelihood.noise import image_power
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import prepare
from scherzer.maps.held_out import sampled

BLOCK = 256
SAMPLING = 4.0  # pixels per finest detail: squares of images have twice their band
EDGE_PX = 2.0  # of the disc around the particle
GAP_PX = 3.0  # between it and the background
COARSEST = 0.5  # of the diameter: coarser detail is that of ice and neighbours as well


@dataclass(frozen=True)
class Explained:
    """Share of the images' signal power in a map, weighted by CTF and noise.

    Attributes
    ----------
    share : float or None
        1 for a map that accounts for all of it; None where the images hold no signal that can be told from noise.
    error : float
        Standard error over micrographs.
    resolution_A : float
        Edge of the band.
    """

    share: float | None
    error: float
    resolution_A: float


def explained_signal(
    particles: ParticleSet,
    half_maps: Tensor,
    fsc: Tensor,
    rotations: Tensor,
    shift_A: Tensor,
    diameter_A: float,
    resolution_A: float,
) -> Explained:
    """Compare the power of projections with that of images, inside the particle's disc less background.

    Parameters
    ----------
    particles : ParticleSet
        n particles in the sampling of the maps.
    half_maps : Tensor
        ``(2, b, b, b)`` on the images' scale, masked by a sphere.
    fsc : Tensor
        ``(b // 2 + 1,)`` of the half-maps, which tells signal from noise in them.
    rotations, shift_A : Tensor
        ``(n, 3, 3)`` and ``(n, 2)``, the poses.
    diameter_A : float
        Of the particle.
    resolution_A : float
        Edge of the band.
    """
    particles, half_maps = sampled(particles, half_maps, SAMPLING * particles.extent_A / resolution_A)
    box, extent_A = particles.box, particles.extent_A
    fsc = fsc[: box // 2 + 1].clamp(0, 1).sqrt()
    device = particles.device
    inner = extent_A / (COARSEST * diameter_A)
    band = make_band(box, min(extent_A / resolution_A, box / 2 - 1), inner, device)
    noise = image_power(particles)
    radius, edge = real_radius(box, 2, device), diameter_A / 2 / particles.pixel_size_A
    disc = cosine_edge(radius, edge, edge + EDGE_PX)
    background = ((radius > edge + GAP_PX) & (radius < box / 2 - 1)).float()
    background = background * disc.sum() / background.sum().clamp(min=1)
    tables = [slice_table(apply_radial(volume, fsc), box / 2 - 1) for volume in half_maps]
    seen = torch.zeros(len(particles), dtype=torch.float64, device=device)
    predicted = torch.zeros_like(seen)

    def excess(values: Tensor) -> Tensor:
        square = centred_irfft2(band.put(values)) ** 2
        return (square * (disc - background)).sum((1, 2)).double()

    for half in (1, 2):
        for rows in torch.nonzero(particles.half == half)[:, 0].split(BLOCK):
            images = prepare(particles[rows], band, noise)
            seen[rows] = excess(images.shifted_back(shift_A[rows] / particles.pixel_size_A).data)
            predicted[rows] = excess(tables[half - 1].slices(rotations[rows], band.kx, band.ky) * images.power)
    return _ratio(predicted, seen, particles.micrograph, resolution_A)


def _ratio(predicted: Tensor, seen: Tensor, micrograph: Tensor, resolution_A: float) -> Explained:
    """Ratio of sums with its error over micrographs (linearised)."""
    names, member = torch.unique(micrograph, return_inverse=True)
    sums = torch.zeros((2, len(names)), dtype=torch.float64, device=seen.device)
    sums[0].index_add_(0, member, predicted)
    sums[1].index_add_(0, member, seen)
    total = float(sums[1].sum())
    spread = math.sqrt(len(names) / max(1, len(names) - 1))
    if len(names) < 2 or total < 4 * spread * float((sums[1] - sums[1].mean()).norm()):
        return Explained(None, math.inf, resolution_A)
    share = float(sums[0].sum()) / total
    return Explained(share, spread * float((sums[0] - share * sums[1]).norm()) / total, resolution_A)
