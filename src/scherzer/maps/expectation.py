"""Expectation maximisation over every pose: all particles inserted at all orientations and shifts by their posterior.

Where a particle tells less than a nat about its orientation, the few best poses are mostly chosen by its noise, and
maps made of them forget what they began with. The whole posterior costs no more here than a search: its sums over
particles are a second matrix product, after which one slice an orientation is inserted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scherzer.fourier.shifts import phase_ramp
from scherzer.fourier.slices import SliceAccumulator, SliceGrid, slice_points, slice_table
from scherzer.geometry.sphere import orientation_grid
from scherzer.likelihood.band import make_band
from scherzer.likelihood.parallel import map_blocks
from scherzer.likelihood.score import ScoredImages, prepare
from scherzer.likelihood.search import ReferenceBank, shift_grid
from scherzer.maps.pose_search import COARSEST_STEP_RAD, slice_bank
from scherzer.maps.reconstruction import SymmetricSums, solve, symmetric
from scherzer.maps.stochastic import Specimen, joined, resampled

STEP_SHARE = 0.8, 1.2  # spacing of the grid, of d at the particle's edge: as fine as can be paid, but no coarser
SHIFT_SHARE = 3.0  # shifts to a d
FLOPS = 1e11  # of one round over the training particles; of more costly ones a part takes part in each round
BLOCK_ENTRIES = 2**20  # poses of a block of images: 4 MiB in float32, which stay in a core's cache
TOGETHER = 16  # blocks whose sums are held at a time
RARE = 2e-3  # a shift at which no more than this part of the particles lies is left out
MOMENTUM = 0.8  # share of the last step that is taken again: the fewer the nats, the shorter are the steps alone
STILL = 0.02  # nat a particle: a map that gains less by two rounds has arrived; a choice of ours
LEAST_ROUNDS = 4
PRIOR_COUNT = 1.0  # particle at every shift beforehand


@dataclass(frozen=True)
class Scene:
    """Images on a band, and the poses among which they are spread.

    Attributes
    ----------
    specimen : Specimen
        In the sampling of the maps.
    resolution_A : float
        Edge of the band.
    training, held_out : ScoredImages
        Of the specimen's rows.
    shifts_px, log_prior : Tensor
        ``(t, 2)`` and ``(t,)``: how many particles lie where.
    step_rad : float
        Spacing of orientations.
    round_particles : int
        How many particles take part in a round.
    """

    specimen: Specimen
    resolution_A: float
    training: ScoredImages
    held_out: ScoredImages
    shifts_px: Tensor
    log_prior: Tensor
    step_rad: float
    round_particles: int

    def bank(self, volume: Tensor, turn: Tensor | None = None) -> tuple[Tensor, ReferenceBank]:
        """Orientations and slices of a map at them."""
        grid = orientation_grid(self.step_rad, self.specimen.group.cpu(), turn).to(volume.device)
        radius = self.specimen.particles.extent_A / self.resolution_A
        return grid, slice_bank(slice_table(volume, radius), grid, self.training.band)

    def gain(self, volume: Tensor) -> Tensor:
        """Log likelihood of every held-out particle over "no particle", nat: ``(held out,)``."""
        _, bank = self.bank(resampled(volume, self.specimen.particles.box))
        return _expected(self, self.held_out, bank, insert=False).gain


@dataclass(frozen=True)
class Climbed:
    """A map after some rounds, and the mean log likelihood of the training particles before the last one, nat."""

    volume: Tensor
    training_gain: float
    rounds: int


@dataclass(frozen=True)
class _Expected:
    """Sums over images: gain ``(n,)``, data ``(2, r, 2 m)``, power ``(2, r, m)``, how many lie at a shift ``(t,)``."""

    gain: Tensor
    data: Tensor
    power: Tensor
    at_shift: Tensor


def scene_at(specimen: Specimen, resolution_A: float, volume: Tensor, flops: float = FLOPS) -> Scene:
    """Prepare images for rounds of so many operations in a band; learn from a map how far off the particles lie."""
    particles = specimen.particles
    radius = particles.extent_A / resolution_A
    band = make_band(particles.box, radius, device=volume.device)
    training, held_out = (
        prepare(particles[rows], band, specimen.noise) for rows in (specimen.training, specimen.held_out)
    )
    step_px = resolution_A / SHIFT_SHARE / particles.pixel_size_A
    shifts = shift_grid(max(specimen.shift_range_A / particles.pixel_size_A, step_px), step_px, volume.device)
    uniform = torch.full((len(shifts),), -math.log(len(shifts)), device=volume.device)
    coarse = min(STEP_SHARE[1] * resolution_A / (specimen.diameter_A / 2), COARSEST_STEP_RAD)
    scene = Scene(specimen, resolution_A, training, held_out, shifts, uniform, coarse, len(training))
    _, bank = scene.bank(resampled(volume, particles.box))
    per_particle = 8.0 * len(shifts) * len(band) * len(bank)
    part = training[: max(200, int(flops / per_particle))]
    found = _expected(scene, part, bank, insert=False, count=True).at_shift
    kept = found >= RARE * found.sum()
    kept[0] = True
    scene = replace(scene, shifts_px=shifts[kept], log_prior=_log_prior(found[kept]))
    per_particle *= int(kept.sum()) / len(shifts)
    affordable = flops / (per_particle * len(training))
    share = min(max(STEP_SHARE[0], STEP_SHARE[1] * affordable ** (-1 / 3)), STEP_SHARE[1])
    fine = min(share * resolution_A / (specimen.diameter_A / 2), COARSEST_STEP_RAD)
    count = min(len(training), max(100, int(affordable * len(training))))
    return replace(scene, step_rad=fine, round_particles=count)


def climb(scene: Scene, volume: Tensor, rounds: int, seed: int) -> Climbed:
    """Improve a ``(b, b, b)`` map by rounds of expectation maximisation, until it stands still.

    Odd and even images are kept apart, and their correlation filters the map. Where only a part of the
    particles takes part in a round, earlier rounds stand for the others.
    """
    specimen = scene.specimen
    volume = found_map = resampled(volume, specimen.particles.box)
    memory = 1 - scene.round_particles / len(scene.training)
    gains: list[float] = []
    sides: list[tuple[SymmetricSums, Tensor]] = []
    for number in range(rounds):
        generator = torch.Generator().manual_seed(seed * 4096 + number)
        turn = torch.randn(3, generator=generator)
        order = torch.randperm(len(scene.training), generator=generator).to(volume.device)
        grid, bank = scene.bank(volume, turn)
        found = _expected(scene, scene.training[order[: scene.round_particles]], bank)
        band, box = scene.training.band, specimen.particles.box
        points = slice_points(grid, band.kx, band.ky)
        before, sides = sides, []
        for side, (data, power) in enumerate(zip(found.data, found.power, strict=True)):
            grid_radius = specimen.particles.extent_A / scene.resolution_A
            accumulator = SliceAccumulator(SliceGrid(box, grid_radius), volume.device)
            accumulator.insert(points, torch.complex(data[:, : len(band)], data[:, len(band) :]), power)
            sums = symmetric(accumulator, specimen.group)
            if before and memory:
                sums = SymmetricSums(sums.grid, sums.sums + memory * before[side][0].sums)
            sides.append((sums, solve(sums)))
        step = joined(specimen, sides) - found_map
        found_map = found_map + step
        volume = found_map + MOMENTUM * step if number and not memory else found_map
        gains.append(float(found.gain.mean()))
        if not memory and number + 1 >= LEAST_ROUNDS and gains[-1] - gains[-3] < STILL:
            break
    return Climbed(found_map, gains[-1], len(gains))


def _log_prior(count: Tensor) -> Tensor:
    return torch.log((count + PRIOR_COUNT) / (count + PRIOR_COUNT).sum())


def _expected(
    scene: Scene, images: ScoredImages, bank: ReferenceBank, *, insert: bool = True, count: bool = False
) -> _Expected:
    """Spread images over poses, and add them up at each orientation."""
    band, shifts = images.band, scene.shifts_px
    device, dtype = shifts.device, bank.matrix.dtype
    ramps = phase_ramp(-shifts / band.box, band.kx, band.ky)
    log_prior = (scene.log_prior - math.log(len(bank)))[:, None]
    size = max(1, BLOCK_ENTRIES // (len(shifts) * len(bank)))
    sides = [torch.arange(len(images), device=device)[side::2] for side in (0, 1)]
    blocks = [(side, rows) for side in (0, 1) for rows in sides[side].split(size)]

    def one(rows: Tensor) -> tuple[Tensor, ...]:
        moved = images.data[rows][:, None, :] * ramps
        left = torch.cat((moved.real, moved.imag), dim=-1).to(dtype).reshape(-1, 2 * len(band))
        score = (left @ bank.matrix).float().reshape(len(rows), len(shifts), -1)
        score -= (images.power[rows].to(dtype) @ bank.square).float()[:, None]
        score += log_prior
        gain = torch.logsumexp(score.flatten(1), dim=1)
        if not insert and not count:
            return (gain,)
        weight = score.sub_(gain[:, None, None]).exp_()
        at_shift = weight.sum((0, 2))
        if count:
            return gain, at_shift
        data = (weight.reshape(len(left), -1).to(dtype).T @ left).float()
        return gain, at_shift, data, weight.sum(1).T @ images.power[rows]

    data, power = torch.zeros(0), torch.zeros(0)
    if insert:
        data = torch.zeros((2, len(bank), 2 * len(band)), device=device)
        power = torch.zeros((2, len(bank), len(band)), device=device)
    gain, at_shift = torch.zeros(len(images), device=device), torch.zeros(len(shifts), device=device)
    for first in range(0, len(blocks), TOGETHER):
        part = blocks[first : first + TOGETHER]
        for (side, rows), found in zip(part, map_blocks(one, [rows for _, rows in part], device), strict=True):
            gain[rows] = found[0]
            if len(found) > 1:
                at_shift += found[1]
            if len(found) > 2:
                data[side] += found[2]
                power[side] += found[3]
    return _Expected(gain, data, power, at_shift)
