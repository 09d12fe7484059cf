"""One random start of a first map: stochastic expectation maximisation that can be paused and continued."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from scherzer.fourier.crop import resize_volume
from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.fourier.slices import slice_table
from scherzer.geometry.rotations import random_rotations
from scherzer.geometry.sphere import orientation_grid
from scherzer.likelihood.band import Band, make_band
from scherzer.likelihood.local import Poses
from scherzer.likelihood.noise import image_power
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import prepare
from scherzer.likelihood.search import ReferenceBank, search
from scherzer.maps.half_set import insert
from scherzer.maps.pose_search import COARSEST_STEP_RAD, RoundPlan, WeightedPoses, align, shifts_for, slice_bank
from scherzer.maps.reconstruction import SymmetricSums, solve, spherical_mask, symmetric

CANDIDATES = 8  # orientations a particle is inserted at
STEP_SHARE = 1.2  # spacing of the grid: of d at the particle's edge
MEMORY = 0.3, 0.85  # share of the old sums that the first and the last batches keep
NYQUIST_SHARE = 0.8  # the band ends at this share of the working box's Nyquist frequency
EDGE_A = 10.0
NEGATIVE_SHARE = 0.1  # of negative density that stays: positivity, but no bias of the solvent


@dataclass(frozen=True)
class Specimen:
    """What all starts share.

    Attributes
    ----------
    particles : ParticleSet
        Sampled for the band in use.
    noise : Tensor
        ``(shells,)``.
    group : Tensor
        ``(g, 3, 3)`` imposed on the map.
    diameter_A, shift_range_A : float
        Of the particle; how far it may lie from the centre of its image.
    training, held_out : Tensor
        Rows that are inserted, and rows that are only scored.
    mask : Tensor
        ``(b, b, b)`` sphere around the particle.
    """

    particles: ParticleSet
    noise: Tensor
    group: Tensor
    diameter_A: float
    shift_range_A: float
    training: Tensor
    held_out: Tensor
    mask: Tensor

    def finest_A(self, wanted_A: float) -> float:
        """Resolution as wanted, or what the sampling allows."""
        return max(wanted_A, 2 * self.particles.pixel_size_A / NYQUIST_SHARE)

    def imposing(self, group: Tensor) -> Specimen:
        """Return the same specimen under another point group."""
        return replace(self, group=group.to(self.group))


@dataclass(frozen=True)
class Stage:
    """A stretch of batches.

    Attributes
    ----------
    batches, batch_particles : int
        How many, and particles in each.
    from_A, to_A : float
        Resolution of the first and the last batch; geometric between.
    from_temperature, to_temperature : float
        That soften the posterior while the map is still wrong.
    """

    batches: int
    batch_particles: int
    from_A: float
    to_A: float
    from_temperature: float
    to_temperature: float

    def at(self, batch: int) -> tuple[float, float, float]:
        """Resolution in A, temperature and memory of a batch."""
        part = batch / max(self.batches - 1, 1)
        resolution_A = self.from_A * (self.to_A / self.from_A) ** part
        temperature = self.from_temperature * (self.to_temperature / self.from_temperature) ** part
        return resolution_A, temperature, MEMORY[0] + (MEMORY[1] - MEMORY[0]) * part


def specimen_at(
    particles: ParticleSet, resolution_A: float, group: Tensor, diameter_A: float, shift_range_A: float, held: Tensor
) -> Specimen:
    """Sample particles for a band.

    Parameters
    ----------
    held : Tensor
        ``(n,)`` bool: which particles are held out.
    """
    device = particles.transforms.device
    box = max(32, 2 * math.ceil(particles.extent_A / (resolution_A * NYQUIST_SHARE)))
    small = particles.resized(min(box, particles.box))
    mask = spherical_mask(small.box, small.pixel_size_A, diameter_A, EDGE_A, device)
    training, held_out = torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0]
    return Specimen(small, image_power(small), group.to(device), diameter_A, shift_range_A, training, held_out, mask)


def random_start(specimen: Specimen, stage: Stage, seed: int) -> Tensor:
    """Map of a batch of particles inserted at random orientations, ``(b, b, b)``."""
    device = specimen.group.device
    chosen = _draw(specimen, stage.batch_particles, seed, -1)
    rotations = random_rotations(len(chosen), np.random.default_rng(seed)).to(device)[:, None]
    one = torch.ones((len(chosen), 1), device=device)
    found = WeightedPoses(rotations, torch.zeros((len(chosen), 1, 2), device=device), 0 * one, one)
    halves = [_sums(specimen, stage, chosen[k::2], found, stage.from_A, slice(k, None, 2)) for k in (0, 1)]
    return joined(specimen, [(part, solve(part)) for part in halves])


def run_stage(specimen: Specimen, stage: Stage, volume: Tensor, seed: int) -> Tensor:
    """Improve a map by a stretch of batches.

    Each batch of random particles is aligned on the present map and inserted at its likely poses; older batches fade.
    Odd and even batches are kept apart and their correlation filters the map, so that each batch is symmetrised once.

    Parameters
    ----------
    volume : Tensor
        ``(b, b, b)`` map to start from, of any sampling.
    seed : int
        Of the choice of particles and the turns of the orientation grids.

    Returns
    -------
    Tensor
        ``(b, b, b)`` in the specimen's sampling.
    """
    volume = resampled(volume, specimen.particles.box)
    sides: dict[int, tuple[SymmetricSums, Tensor]] = {}
    for batch in range(stage.batches):
        resolution_A, temperature, memory = stage.at(batch)
        chosen = _draw(specimen, stage.batch_particles, seed, batch)
        turn = torch.randn(3, generator=_generator(seed, batch, 1))
        found = posterior(specimen, specimen.particles[chosen], volume, resolution_A, temperature, turn)
        found = _sampled(found, _generator(seed, batch, 2))
        sums = _sums(specimen, stage, chosen, found, resolution_A, slice(None))
        side = batch % 2
        if side in sides:  # it is added to in every other batch, so it fades by the memory of two
            sums = SymmetricSums(sums.grid, sums.sums + memory**2 * sides[side][0].sums)
        sides[side] = (sums, solve(sums))
        volume = joined(specimen, list(sides.values()))
    return volume


def polish(specimen: Specimen, volume: Tensor, search_A: float, finest_A: float, rounds: int, seed: int) -> Tensor:
    """Improve a map on all particles, held out or not, at continuous poses, up to a band finer than the search's."""
    volume = resampled(volume, specimen.particles.box)
    particles = specimen.particles
    extent_A, device = particles.extent_A, volume.device
    eye = torch.eye(3, device=device).expand(len(particles), 3, 3)
    unknown = torch.full((len(particles),), -torch.inf, device=device)
    poses = Poses(eye, torch.zeros((len(particles), 2), device=device), unknown)
    stage = Stage(rounds, len(particles), finest_A, finest_A, 1.0, 1.0)
    for number in range(rounds):
        plan = RoundPlan(
            radius=extent_A / finest_A,
            search_radius=extent_A / search_A,
            step_rad=min(STEP_SHARE * search_A / (specimen.diameter_A / 2), COARSEST_STEP_RAD),
            shifts_px=shifts_for(search_A, particles.pixel_size_A, specimen.shift_range_A, device),
            max_shift_px=specimen.shift_range_A / particles.pixel_size_A + 1,
            turn=torch.randn(3, generator=_generator(seed, number, 3)),
        )
        found = align(particles, volume, specimen.noise, poses, plan, specimen.group)
        rows = torch.arange(len(particles), device=device)
        sides = [slice(0, None, 2), slice(1, None, 2)]
        halves = [_sums(specimen, stage, rows[side], found, finest_A, side) for side in sides]
        volume = joined(specimen, [(part, solve(part)) for part in halves])
    return volume


def resampled(volume: Tensor, box: int) -> Tensor:
    """Bring a map to another sampling and to the scale of images so sampled, of which white noise keeps its deviation.

    A projection's transform grows with the third power of the box, but that of :meth:`ParticleSet.resized` with the
    first.
    """
    return resize_volume(volume, box) * (len(volume) / box) ** 2


def posterior(
    specimen: Specimen, particles: ParticleSet, volume: Tensor, resolution_A: float, temperature: float, turn: Tensor
) -> WeightedPoses:
    """Most likely poses of particles on a grid, with their posterior at a temperature."""
    band, grid, references, shifts = references_at(specimen, volume, resolution_A, turn)
    found = search(prepare(particles, band, specimen.noise), references, shifts, keep=CANDIDATES)
    return WeightedPoses(grid[found.reference], found.shift_px, found.score, found.probabilities(temperature))


def references_at(
    specimen: Specimen, volume: Tensor, resolution_A: float, turn: Tensor | None = None
) -> tuple[Band, Tensor, ReferenceBank, Tensor]:
    """Band, orientations, slices of a map at them, and shifts for a search at a resolution."""
    device, particles = volume.device, specimen.particles
    radius = particles.extent_A / resolution_A
    band = make_band(particles.box, radius, device=device)
    step = min(STEP_SHARE * resolution_A / (specimen.diameter_A / 2), COARSEST_STEP_RAD)
    grid = orientation_grid(step, specimen.group.cpu(), turn).to(device)
    shifts = shifts_for(resolution_A, particles.pixel_size_A, specimen.shift_range_A, device)
    return band, grid, slice_bank(slice_table(volume, radius), grid, band), shifts


def _sampled(found: WeightedPoses, generator: torch.Generator) -> WeightedPoses:
    """Draw one pose of each particle from its posterior: cheaper to insert than all, and another way out of a trap."""
    at = torch.multinomial(found.weight.cpu(), 1, generator=generator).to(found.weight.device)
    row = torch.arange(len(at), device=at.device)[:, None]
    score = found.score[row, at]
    return WeightedPoses(found.rotations[row, at], found.shift_px[row, at], score, torch.ones_like(score))


def _generator(seed: int, batch: int, stream: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 4096 + batch + 1) * 4 + stream)


def _draw(specimen: Specimen, count: int, seed: int, batch: int) -> Tensor:
    order = torch.randperm(len(specimen.training), generator=_generator(seed, batch, 0))
    return specimen.training[order[:count].to(specimen.training.device)]


def _sums(
    specimen: Specimen, stage: Stage, chosen: Tensor, found: WeightedPoses, resolution_A: float, rows: slice
) -> SymmetricSums:
    """Insert some particles on the grid of the stage's finest band and impose the point group."""
    extent_A = specimen.particles.extent_A
    part = WeightedPoses(found.rotations[rows], found.shift_px[rows], found.score[rows], found.weight[rows])
    radii = extent_A / resolution_A, extent_A / min(stage.from_A, stage.to_A)
    return symmetric(insert(specimen.particles[chosen], part, specimen.noise, *radii), specimen.group)


def joined(specimen: Specimen, sides: list[tuple[SymmetricSums, Tensor]]) -> Tensor:
    """Joined map of one or two sides, weighted by their correlation, positive within the mask."""
    volume = sides[0][1] * specimen.mask
    if len(sides) == 2:
        (first, one), (second, two) = sides
        fsc = fourier_shell_correlation(one * specimen.mask, two * specimen.mask).clamp(min=0)
        volume = solve(first + second, 2 * fsc / (1 + fsc)) * specimen.mask
    return torch.where(volume > 0, volume, NEGATIVE_SHARE * volume)
