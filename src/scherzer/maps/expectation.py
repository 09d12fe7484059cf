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
LEAST_ROWS = 512  # pairs of image and shift in a block: with fewer, adding up the blocks' sums takes longer than they
TOGETHER = 16  # blocks whose sums are held at a time
RARE = 2e-3  # a shift at which no more than this part of the particles lies is left out
UNLIKELY = 1e-3  # posterior of a shift below which a particle is not looked for there,
LOOK_ROUNDS, LOOK_SHARE = 5, 1.5  # until it is looked for everywhere again, so often; in a d so much coarser
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

    def near(self, volume: Tensor, turn: Tensor) -> Tensor:
        """At which shifts training particles may lie, ``(n, t)``: a coarser band rules the others out."""
        training = self.training.within(self.specimen.particles.extent_A / self.resolution_A / LOOK_SHARE)
        coarse = replace(
            self, resolution_A=LOOK_SHARE * self.resolution_A, step_rad=LOOK_SHARE * self.step_rad, training=training
        )
        _, bank = coarse.bank(volume, turn)
        return _expected(coarse, training, bank, insert=False).at_shift > UNLIKELY

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
    """Gain ``(n,)``, posterior of the shifts ``(n, t)``, and sums ``(2, r, 3 m)`` of the data's parts and the power."""

    gain: Tensor
    at_shift: Tensor
    sums: Tensor


def scene_at(specimen: Specimen, resolution_A: float, volume: Tensor) -> Scene:
    """Prepare images for rounds in a band; learn from a map how far off the particles lie."""
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
    per_pair = 12.0 * len(band) * len(bank)
    part = training[: max(200, int(FLOPS / (per_pair * len(shifts))))]
    found = _expected(scene, part, bank, insert=False).at_shift
    number = found.sum(0)
    kept = number >= RARE * len(part)
    kept[0] = True
    scene = replace(scene, shifts_px=shifts[kept], log_prior=_log_prior(number[kept]))
    near = float((found[:, kept] > UNLIKELY).sum()) / len(part)
    affordable = FLOPS / (per_pair * near * len(training))
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
        rows = order[: scene.round_particles]
        if number % LOOK_ROUNDS == 0:
            near = scene.near(volume, turn)
        found = _expected(scene, scene.training[rows], bank, near[rows])
        near[rows] = found.at_shift > UNLIKELY
        band, box = scene.training.band, specimen.particles.box
        points = slice_points(grid, band.kx, band.ky)
        before, sides = sides, []
        for side, (real, imaginary, power) in enumerate(each.split(len(band), dim=1) for each in found.sums):
            grid_radius = specimen.particles.extent_A / scene.resolution_A
            accumulator = SliceAccumulator(SliceGrid(box, grid_radius), volume.device)
            accumulator.insert(points, torch.complex(real, imaginary), power)
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
    scene: Scene, images: ScoredImages, bank: ReferenceBank, near: Tensor | None = None, *, insert: bool = True
) -> _Expected:
    """Spread images over orientations and over the shifts ``(n, t)`` at which each may lie, and add them up."""
    band, shifts = images.band, scene.shifts_px
    device, dtype = shifts.device, bank.matrix.dtype
    near = torch.ones((len(images), len(shifts)), dtype=torch.bool, device=device) if near is None else near
    ramps = phase_ramp(-shifts / band.box, band.kx, band.ky)
    log_prior = scene.log_prior - math.log(len(bank))
    references = torch.cat((bank.matrix, -bank.square))
    blocks = _blocks(near.sum(1), max(LEAST_ROWS, BLOCK_ENTRIES // len(bank)))

    def one(rows: Tensor) -> tuple[Tensor, ...]:
        image, shift = torch.nonzero(near[rows], as_tuple=True)
        moved = images.data[rows[image]] * ramps[shift]
        left = torch.cat((moved.real, moved.imag, images.power[rows[image]]), dim=1)
        score = (left.to(dtype) @ references).float().add_(log_prior[shift][:, None])
        top = torch.full((len(rows),), -torch.inf, device=device).scatter_reduce(0, image, score.amax(1), "amax")
        weight = score.sub_(top[image][:, None]).exp_()
        part = weight.sum(1)
        total = torch.zeros(len(rows), device=device).index_add(0, image, part)
        found = top + total.log(), image, shift, part / total[image]
        if not insert:
            return found
        return *found, (weight.to(dtype).T @ (left / total[image][:, None]).to(dtype)).float()

    sums = torch.zeros((2, len(bank), 3 * len(band)) if insert else 0, device=device)
    gain, at_shift = torch.zeros(len(images), device=device), torch.zeros(near.shape, device=device)
    for first in range(0, len(blocks), TOGETHER):
        part = blocks[first : first + TOGETHER]
        for (side, rows), found in zip(part, map_blocks(one, [rows for _, rows in part], device), strict=True):
            gain[rows] = found[0]
            at_shift[rows[found[1]], found[2]] = found[3]
            if insert:
                sums[side] += found[4]
    return _Expected(gain, at_shift, sums)


def _blocks(shifts: Tensor, most: int) -> list[tuple[int, Tensor]]:
    """Odd and even images apart, in blocks of about so many pairs of image and shift, given those of each image."""
    blocks = []
    for side in (0, 1):
        rows = torch.arange(side, len(shifts), 2, device=shifts.device)
        number = (shifts[rows].cumsum(0) - 1) // most
        blocks += [
            (side, part) for part in rows.split(torch.unique_consecutive(number, return_counts=True)[1].tolist())
        ]
    return blocks
