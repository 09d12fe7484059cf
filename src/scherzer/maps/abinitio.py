"""A first map from particles alone: stochastic expectation maximisation from several random starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.fourier.slices import SliceAccumulator, slice_table
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import random_rotations
from scherzer.geometry.sphere import orientation_grid
from scherzer.likelihood.band import make_band
from scherzer.likelihood.noise import image_power
from scherzer.likelihood.parallel import map_blocks
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import prepare
from scherzer.likelihood.search import search
from scherzer.maps.half_set import COARSEST_STEP_RAD, WeightedPoses, insert, shifts_for, slice_bank
from scherzer.maps.reconstruction import solve, spherical_mask, symmetric
from scherzer.maps.settings import AbInitioSettings

CANDIDATES = 8  # orientations a particle is inserted at
STEP_SHARE = 1.2  # spacing of the grid: of d at the particle's edge
FIRST_TEMPERATURE = 4.0  # softens the posterior while the map is still wrong
FIRST_MEMORY, LAST_MEMORY = 0.3, 0.85  # share of the old sums that each batch keeps
NYQUIST_SHARE = 0.8  # the band ends at this share of the working box's Nyquist frequency
EDGE_A = 10.0
NEGATIVE_SHARE = 0.1  # of negative density that stays: positivity, but no bias of the solvent

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class AbInitio:
    """The best of several first maps.

    Attributes
    ----------
    volume : Tensor
        ``(b, b, b)``. Its hand is undetermined.
    pixel_size_A : float
        Of the map.
    resolution_A : float
        Where the search's band ended; what the map holds beyond comes from the mask and means nothing.
    held_out_score : list of float
        Mean log likelihood gain of the held-out particles for each seed.
    chosen : int
        Index of the seed of the best held-out likelihood.
    """

    volume: Tensor
    pixel_size_A: float
    resolution_A: float
    held_out_score: list[float]
    chosen: int


def reconstruct_ab_initio(
    particles: ParticleSet,
    symmetry: str,
    diameter_A: float,
    settings: AbInitioSettings | None = None,
    progress: Progress | None = None,
) -> AbInitio:
    """Find a map without a reference.

    Each seed starts from particles inserted at random orientations, and repeats: align a random batch on the present
    map, insert it at its likely poses, fade out older batches. Resolution rises and the posterior sharpens on a fixed
    schedule. The symmetry is imposed throughout. The seed whose map explains best particles that were never inserted
    is returned.

    Parameters
    ----------
    particles : ParticleSet
        n particles.
    symmetry : str
        Point group in RELION's setting.
    diameter_A : float
        Of the particle.
    settings : AbInitioSettings, optional
        Seeds, batches, resolutions.
    progress : callable, optional
        Called with the finished fraction and a few words.

    Raises
    ------
    ValueError
        If the symmetry is unknown or there are fewer than 20 particles.
    """
    settings = settings or AbInitioSettings()
    if len(particles) < 20:
        raise ValueError(f"{len(particles)} particles are too few for a first map: at least 20 are needed")
    group = point_group(symmetry).to(particles.transforms.device)
    box = max(32, 2 * math.ceil(particles.extent_A / (settings.finest_A * NYQUIST_SHARE)))
    small = particles.resized(min(box, particles.box))
    specimen = _Specimen(small, image_power(small), group, diameter_A, settings)
    done = [0] * settings.seeds

    def run(seed: int) -> tuple[Tensor, float]:
        def count(step: int) -> None:
            done[seed] = step
            if progress:
                progress(sum(done) / (settings.seeds * settings.batches), f"{settings.seeds} random starts")

        return _run_seed(specimen, settings.seed * 100 + seed, count)

    results = map_blocks(run, range(settings.seeds), particles.transforms.device)
    scores = [score for _, score in results]
    chosen = scores.index(max(scores))
    return AbInitio(results[chosen][0], small.pixel_size_A, specimen.band_end_A, scores, chosen)


@dataclass(frozen=True)
class _Specimen:
    """What stays the same through a run."""

    particles: ParticleSet
    noise: Tensor
    group: Tensor
    diameter_A: float
    settings: AbInitioSettings

    @property
    def band_end_A(self) -> float:
        """Resolution of the last batches: as set, or what the sampling allows."""
        return max(self.settings.finest_A, 2 * self.particles.pixel_size_A / NYQUIST_SHARE)


def _run_seed(specimen: _Specimen, seed: int, count: Callable[[int], None]) -> tuple[Tensor, float]:
    """Return one seed's map and the mean score of its held-out particles."""
    particles, settings = specimen.particles, specimen.settings
    group = specimen.group
    device = particles.transforms.device
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(particles), generator=generator).to(device)
    held = max(5, round(settings.held_out * len(particles)))
    held_out, training = particles[order[:held]], order[held:]
    mask = spherical_mask(particles.box, particles.pixel_size_A, specimen.diameter_A, EDGE_A, device)
    batch = min(len(training), settings.batch_particles)
    first = training[torch.randint(len(training), (batch,), generator=generator).to(device)]
    sums = _insert_halves(specimen, first, _random_poses(batch, seed, device), settings.coarsest_A)
    volume = _solve(sums, group, mask)
    for step in range(settings.batches):
        part = step / max(settings.batches - 1, 1)
        rise = min(1, part / 0.8)
        resolution_A = settings.coarsest_A * (specimen.band_end_A / settings.coarsest_A) ** rise
        temperature = FIRST_TEMPERATURE ** (1 - min(1.0, part / 0.7))
        memory = FIRST_MEMORY + (LAST_MEMORY - FIRST_MEMORY) * part
        chosen = training[torch.randperm(len(training), generator=generator)[:batch].to(device)]
        turn = torch.randn(3, generator=generator)
        found = _posterior(specimen, particles[chosen], volume, resolution_A, temperature, turn)
        fresh = _insert_halves(specimen, chosen, found, resolution_A)
        for old, new in zip(sums, fresh, strict=True):
            old.absorb(new, memory)
        volume = _solve(sums, group, mask)
        count(step + 1)
    final = _posterior(specimen, held_out, volume, specimen.band_end_A, 1.0, torch.zeros(3))
    return volume, float(final.score[:, 0].mean())


def _posterior(
    specimen: _Specimen, particles: ParticleSet, volume: Tensor, resolution_A: float, temperature: float, turn: Tensor
) -> WeightedPoses:
    """Most likely poses of particles on a grid, with their posterior at a temperature."""
    device = volume.device
    band = make_band(particles.box, particles.extent_A / resolution_A, device=device)
    step = min(STEP_SHARE * resolution_A / (specimen.diameter_A / 2), COARSEST_STEP_RAD)
    grid = orientation_grid(step, specimen.group.cpu(), turn).to(device)
    references = slice_bank(slice_table(volume, particles.extent_A / resolution_A), grid, band)
    shifts = shifts_for(resolution_A, particles.pixel_size_A, specimen.settings.shift_range_A, device)
    images = prepare(particles, band, specimen.noise)
    found = search(images, references, shifts, keep=CANDIDATES)
    return WeightedPoses(grid[found.reference], found.shift_px, found.score, found.probabilities(temperature))


def _random_poses(count: int, seed: int, device: torch.device) -> WeightedPoses:
    rotations = random_rotations(count, np.random.default_rng(seed)).to(device)[:, None]
    zero = torch.zeros((count, 1), device=device)
    return WeightedPoses(rotations, torch.zeros((count, 1, 2), device=device), zero, torch.ones_like(zero))


def _insert_halves(
    specimen: _Specimen, chosen: Tensor, found: WeightedPoses, resolution_A: float
) -> list[SliceAccumulator]:
    """Sums of every other one of the chosen particles and of the rest, on one grid for the whole run."""
    extent_A = specimen.particles.extent_A
    parts = []
    for start in (0, 1):
        rows = torch.arange(start, len(chosen), 2, device=chosen.device)
        half = WeightedPoses(found.rotations[rows], found.shift_px[rows], found.score[rows], found.weight[rows])
        particles = specimen.particles[chosen[rows]]
        radii = extent_A / resolution_A, extent_A / specimen.band_end_A
        parts.append(insert(particles, half, specimen.noise, *radii))
    return parts


def _solve(sums: list[SliceAccumulator], group: Tensor, mask: Tensor) -> Tensor:
    """Joined map of both sums, weighted by their correlation, positive within the mask."""
    symmetrised = [symmetric(part, group) for part in sums]
    fsc = fourier_shell_correlation(*(solve(part) * mask for part in symmetrised)).clamp(min=0)
    volume = solve(symmetrised[0] + symmetrised[1], 2 * fsc / (1 + fsc)) * mask
    return torch.where(volume > 0, volume, NEGATIVE_SHARE * volume)
