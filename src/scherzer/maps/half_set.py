"""What one half-set's particles add up to at their poses, and what they leave over."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.grids import square_modulus
from scherzer.fourier.shifts import phase_ramp
from scherzer.fourier.slices import SliceAccumulator, SliceGrid, slice_table
from scherzer.likelihood.band import make_band
from scherzer.likelihood.local import Poses
from scherzer.likelihood.noise import residual_power
from scherzer.likelihood.parallel import map_blocks
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import band_ctf, prepare
from scherzer.maps.pose_search import WeightedPoses, row_blocks
from scherzer.maps.reconstruction import insert_images

LEAST_SHARE = 0.01  # of the best candidate's weight: below it a candidate is not inserted


def insert(
    particles: ParticleSet,
    found: WeightedPoses,
    noise: Tensor,
    radius: float,
    grid_radius: float | None = None,
    box: int | None = None,
) -> SliceAccumulator:
    """Insert particles at their weighted poses.

    Parameters
    ----------
    particles : ParticleSet
        n particles.
    found : WeightedPoses
        ``(n, k)``.
    noise : Tensor
        ``(shells,)`` or ``(g, shells)``.
    radius : float
        Largest frequency inserted, Fourier px.
    grid_radius : float, optional
        Largest frequency of the grid, if it is larger.
    box : int, optional
        Of the map; the particles' by default. A smaller one of the same extent is enough for a smaller radius.
    """
    device = particles.device
    band = make_band(particles.box, radius, device=device)
    box = box or particles.box
    accumulator = SliceAccumulator(SliceGrid(box, min(grid_radius or radius, box / 2 - 1)), device)
    for rows in row_blocks(len(particles), device):
        images = prepare(particles[rows], band, noise)
        for k in range(found.weight.shape[1]):
            used = torch.nonzero(found.weight[rows, k] >= LEAST_SHARE * found.weight[rows, 0])[:, 0]
            if len(used):
                at = rows[used]
                insert_images(
                    accumulator, images[used], found.rotations[at, k], found.shift_px[at, k], found.weight[at, k]
                )
    return accumulator


@dataclass(frozen=True)
class Residuals:
    """What particles leave over at their best poses.

    Attributes
    ----------
    power : Tensor
        ``(g, 2, shells)`` sums and counts of each optics group, see :func:`residual_power`.
    cross, square : Tensor
        ``(n,)`` whitened product of image and model, and power of the model: their ratio is the particle's grey scale.
    """

    power: Tensor
    cross: Tensor
    square: Tensor


def residuals(particles: ParticleSet, volume: Tensor, noise: Tensor, poses: Poses, radius: float) -> Residuals:
    """Compare particles with a ``(b, b, b)`` volume at poses, up to a radius in Fourier px."""
    band = make_band(particles.box, radius, device=volume.device)
    table = slice_table(volume, radius)
    groups, shells = noise.shape

    def compare(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        part = particles[rows]
        model = table.slices(poses.rotations[rows], band.kx, band.ky) * band_ctf(part, band)
        model = model * phase_ramp(poses.shift_px[rows] / band.box, band.kx, band.ky)
        data = band.take(part.spectra())
        weight = 1 / noise[:, band.shell][part.optics_group]
        left = data - model
        power = torch.stack([residual_power(left[part.optics_group == g], band.shell, shells) for g in range(groups)])
        return power, ((model.conj() * data).real * weight).sum(1), (square_modulus(model) * weight).sum(1)

    found = map_blocks(compare, row_blocks(len(particles), volume.device), volume.device)
    power, cross, square = zip(*found, strict=True)
    return Residuals(torch.stack(power).sum(0), torch.cat(cross), torch.cat(square))
