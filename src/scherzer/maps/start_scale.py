"""The grey scale of a start map, shell by shell, from the particles themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.fourier.filters import apply_radial
from scherzer.fourier.grids import square_modulus
from scherzer.fourier.shifts import phase_ramp
from scherzer.fourier.slices import slice_table
from scherzer.geometry.sphere import orientation_grid
from scherzer.likelihood.band import make_band
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import prepare
from scherzer.likelihood.search import search
from scherzer.maps.pose_search import angular_step_rad, shifts_for, slice_bank
from scherzer.maps.reconstruction import radial_power
from scherzer.maps.settings import RefineSettings

SAMPLE = 300  # particles that are enough for one factor per shell
ROUNDS = 3
FIRST_SHARE = 0.1  # of the images' power that the first guess gives the particle


def sample_of(particles: ParticleSet) -> ParticleSet:
    """Return as many of the particles, evenly spread, as the grey scale needs."""
    step = max(1, len(particles) // SAMPLE)
    return particles[torch.arange(0, len(particles), step, device=particles.device)]


def scaled_start(
    sample: ParticleSet, volume: Tensor, noise: Tensor, group: Tensor, diameter_A: float, settings: RefineSettings
) -> Tensor:
    """Scale a start map to the particles.

    The likelihood needs references on the images' scale; a model or another program's map has its own. A sample of
    the particles (:func:`sample_of`) is aligned coarsely, and each shell is multiplied by the factor that fits it
    best, a few times over.

    Returns
    -------
    Tensor
        ``(b, b, b)``.
    """
    resolution_A = settings.start_resolution_A
    band = make_band(sample.box, sample.extent_A / resolution_A, device=volume.device)
    grid = orientation_grid(angular_step_rad(resolution_A, diameter_A), group.cpu()).to(volume.device)
    shifts = shifts_for(resolution_A, sample.pixel_size_A, settings.shift_range_A, volume.device)
    images = prepare(sample, band, noise)
    # A slice of radius k cuts a shell: its mean power is that of the volume's shell.
    power = radial_power(volume)
    shell = band.shell
    expected = (power[shell] * images.power.mean(0)).sum()
    volume = volume * torch.sqrt(FIRST_SHARE * len(band) / expected.clamp(min=1e-20))
    for _ in range(ROUNDS):
        table = slice_table(volume, float(band.kx.max()) + 1)
        references = slice_bank(table, grid, band)
        found = search(images, references, shifts)
        chosen = references.values[found.reference[:, 0]]
        chosen = chosen * phase_ramp(found.shift_px[:, 0] / band.box, band.kx, band.ky)
        cross = (chosen.conj() * images.data).real.sum(0).double()
        square = (square_modulus(chosen) * images.power).sum(0).double()
        shells = volume.shape[-1] // 2 + 1
        ratio = torch.zeros(shells, dtype=torch.float64, device=volume.device).index_add_(0, shell, cross)
        weight = torch.zeros_like(ratio).index_add_(0, shell, square)
        factor = torch.where(weight > 0, ratio / weight.clamp(min=1e-20), torch.ones_like(ratio))
        volume = apply_radial(volume, factor.clamp(0.1, 10).float())
    return volume
