"""The poses of particles on a map: an exhaustive search in a coarse band, then a climb through wider bands."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scherzer.fourier.expansion import ExpansionTable, expansion_table
from scherzer.fourier.slices import SliceTable, slice_table
from scherzer.geometry.rotations import from_euler
from scherzer.geometry.sphere import viewing_directions
from scherzer.likelihood.band import Band, make_band
from scherzer.likelihood.local import Poses, refine_locally
from scherzer.likelihood.parallel import map_blocks
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import ScoredImages, prepare
from scherzer.likelihood.search import ReferenceBank, empty_bank, fill_bank, search, shift_grid

COARSEST_STEP_RAD = math.radians(15)
SEARCH_FLOPS = 1e12  # per round and half-set: some 3 s of bf16 products on two cores; a dearer grid is coarsened
STARTS = 4  # candidates of the exhaustive search that start to climb, beside the last pose
MARGIN = 12.0  # of log likelihood: a candidate further below the best of its particle climbs no further
BLOCK, BLOCK_ON_DEVICE = 128, 1024  # particles worked on at a time: a core's cache, or enough to fill a GPU
SLICE_PIXELS = 2**16  # reference pixels cut at a time
WIDENING = 1.6  # the most by which the band grows from one stage of the climb to the next


@dataclass(frozen=True)
class WeightedPoses:
    """Up to k poses of each of n particles with their posterior weights, best first; tensors ``(n, k, ...)``."""

    rotations: Tensor
    shift_px: Tensor
    score: Tensor
    weight: Tensor

    def __getitem__(self, index: Tensor) -> WeightedPoses:
        return WeightedPoses(self.rotations[index], self.shift_px[index], self.score[index], self.weight[index])

    def best(self) -> Poses:
        """Return the best pose of each particle."""
        return Poses(self.rotations[:, 0], self.shift_px[:, 0], self.score[:, 0])


@dataclass(frozen=True)
class Stage:
    """One stage of the climb: how many candidates take how many steps each."""

    keep: int
    steps: int


FIRST, MIDDLE, LAST = Stage(STARTS + 1, 1), Stage(3, 2), Stage(2, 3)


@dataclass(frozen=True)
class RoundPlan:
    """What is searched.

    Attributes
    ----------
    radius : float
        Edge of the band, Fourier px.
    search_radius : float
        Edge of the band of the exhaustive search.
    step_rad : float
        Spacing of the orientation grid.
    shifts_px : Tensor
        ``(t, 2)`` searched around each particle's last position.
    max_shift_px : float
        Largest shift allowed.
    turn : Tensor
        ``(3,)`` rotation vector of the grid.
    """

    radius: float
    search_radius: float
    step_rad: float
    shifts_px: Tensor
    max_shift_px: float
    turn: Tensor

    def stages(self) -> list[tuple[float, Stage]]:
        """Radii of the climb, from the search's to the whole band's, each with what is done there."""
        if self.radius <= self.search_radius:
            return [(self.radius, Stage(FIRST.keep, LAST.steps))]
        between = math.ceil(math.log(self.radius / self.search_radius, WIDENING)) - 1
        ratio = (self.radius / self.search_radius) ** (1 / (between + 1))
        middle = [(self.search_radius * ratio**number, MIDDLE) for number in range(1, between + 1)]
        return [(self.search_radius, FIRST), *middle, (self.radius, LAST)]


def angular_step_rad(resolution_A: float, diameter_A: float) -> float:
    """Spacing of the orientation grid for a band: one resolution at the particle's edge, 15 deg at most.

    RELION's coarse pass takes 1.2. The local steps that follow reach further than half of it, and the grid is turned
    from round to round.
    """
    return min(resolution_A / (diameter_A / 2), COARSEST_STEP_RAD)


def shifts_for(resolution_A: float, pixel_size_A: float, range_A: float, device: torch.device) -> Tensor:
    """Shifts within a range, spaced a third of the resolution."""
    step_px = resolution_A / 3 / pixel_size_A
    return shift_grid(max(range_A / pixel_size_A, step_px), step_px, device)


def row_blocks(count: int, device: torch.device) -> list[Tensor]:
    """Row numbers of particles in blocks."""
    return list(torch.arange(count, device=device).split(BLOCK if device.type == "cpu" else BLOCK_ON_DEVICE))


def slice_bank(table: SliceTable, grid: Tensor, band: Band, turns: int = 1) -> ReferenceBank:
    """Slices of a volume at every orientation of a grid, prepared for searching.

    Parameters
    ----------
    table : SliceTable
        Of the volume.
    grid : Tensor
        ``(r, 3, 3)``.
    band : Band
        Pixels of the slices.
    turns : int
        1, or 4 if each quarter of the grid is the one before with its images turned by 90 degrees. One quarter is cut
        then: a quarter turn of the image only moves pixels, half a turn conjugates them.
    """
    cut = len(grid) // turns
    bank = empty_bank(len(grid) // (2 if turns == 4 else 1), len(band), grid.device, half_turns=turns == 4)
    source, sign = quarter_turn(band)

    def fill(rows: Tensor) -> None:
        values = table.slices(grid[rows], band.kx, band.ky)
        fill_bank(bank, int(rows[0]), values)
        if turns == 4:
            moved = values[:, source]
            torch.view_as_real(moved)[..., 1] *= sign
            fill_bank(bank, cut + int(rows[0]), moved)

    map_blocks(fill, torch.arange(cut).split(max(1, SLICE_PIXELS // len(band))), grid.device)
    return bank


def quarter_turn(band: Band) -> tuple[Tensor, Tensor]:
    """Where a slice's pixels lie in the slice whose in-plane angle is 90 degrees less.

    Returns
    -------
    source : Tensor
        ``(m,)`` int64.
    sign : Tensor
        ``(m,)`` of the imaginary part: -1 where the conjugate lies there.
    """
    x, y = -band.ky, band.kx
    mirrored = (x < 0) | ((x == 0) & (y < 0))
    sign = torch.where(mirrored, -1.0, 1.0)
    place = torch.full((band.box, band.box), -1, dtype=torch.int64, device=x.device)
    place[band.ky.long(), band.kx.long()] = torch.arange(len(band), device=x.device)
    return place[(sign * y).long(), (sign * x).long()], sign


def affordable_grid(plan: RoundPlan, group: Tensor, particles: int, pixels: int) -> Tensor:
    """Orientations for an exhaustive search, as fine as planned or as the budget of a round allows.

    Returns
    -------
    Tensor
        ``(r, 3, 3)`` in four parts, each the one before with its images turned by 90 degrees.
    """
    step = plan.step_rad
    while True:
        rot, tilt = viewing_directions(step, group.cpu(), plan.turn.cpu())
        in_plane = 4 * math.ceil(math.pi / 2 / step)
        flops = 2.0 * particles * len(plan.shifts_px) * pixels * len(rot) * in_plane
        if flops <= SEARCH_FLOPS or step >= COARSEST_STEP_RAD:
            break
        step = min(step * 1.25, COARSEST_STEP_RAD)
    psi = float(plan.turn[0]) + torch.arange(in_plane).reshape(4, 1, -1) * (2 * math.pi / in_plane)
    rot, tilt, psi = torch.broadcast_tensors(rot[:, None], tilt[:, None], psi)
    return from_euler(rot.flatten(), tilt.flatten(), psi.flatten())


def align(
    particles: ParticleSet, volume: Tensor, noise: Tensor, poses: Poses, plan: RoundPlan, group: Tensor
) -> WeightedPoses:
    """Find the poses of particles on a volume.

    Searches the asymmetric unit exhaustively in a coarse band; the best candidates and the last pose of each particle
    then climb the likelihood of wider and wider bands, and those that fall behind are dropped on the way.

    Parameters
    ----------
    particles : ParticleSet
        n particles.
    volume : Tensor
        ``(b, b, b)``.
    noise : Tensor
        ``(shells,)`` or ``(g, shells)``.
    poses : Poses
        From the round before; score ``-inf`` where there is none yet.
    plan : RoundPlan
        What to search.
    group : Tensor
        ``(g, 3, 3)``.

    Returns
    -------
    WeightedPoses
        The survivors, their posterior weights from the whole band.
    """
    band = make_band(particles.box, plan.radius, device=volume.device)
    coarse = band.within(plan.search_radius)
    grid = affordable_grid(plan, group, len(particles), len(coarse)).to(volume.device)
    references = slice_bank(slice_table(volume, plan.search_radius), grid, coarse, turns=4)
    table = expansion_table(volume, plan.radius)

    def align_block(rows: Tensor) -> WeightedPoses:
        images = prepare(particles[rows], band, noise)
        return _climbed(images, table, _candidates(images, references, grid, poses[rows], plan), plan)

    parts = map_blocks(align_block, row_blocks(len(particles), volume.device), volume.device)
    return WeightedPoses(*(torch.cat([getattr(part, name) for part in parts]) for name in _FIELDS))


_FIELDS = ("rotations", "shift_px", "score", "weight")


def _candidates(
    images: ScoredImages, references: ReferenceBank, grid: Tensor, last: Poses, plan: RoundPlan
) -> WeightedPoses:
    """Where images start to climb: their last poses, if all have one, and the best of the grid."""
    known = torch.isfinite(last.score)
    around = torch.where(known[:, None], last.shift_px, torch.zeros_like(last.shift_px))
    moved = images.within(plan.search_radius).shifted_back(around)
    found = search(moved, references, plan.shifts_px, keep=STARTS)
    shift = around[:, None] + found.shift_px
    shift = shift * (plan.max_shift_px / shift.norm(dim=2, keepdim=True).clamp(min=1e-6)).clamp(max=1)
    rotations, score = grid[found.reference], found.score
    if bool(known.all()):
        rotations = torch.cat((last.rotations[:, None], rotations), dim=1)
        shift = torch.cat((last.shift_px[:, None], shift), dim=1)
        score = torch.cat((score[:, :1], score), dim=1)  # what it is worth on this map is not known yet
    return WeightedPoses(rotations, shift, score, torch.ones_like(score))


def _climbed(images: ScoredImages, table: ExpansionTable, found: WeightedPoses, plan: RoundPlan) -> WeightedPoses:
    found = _ranked(found)
    for radius, stage in plan.stages():
        rotations, shift, score = (part[:, : stage.keep] for part in (found.rotations, found.shift_px, found.score))
        image, candidate = torch.nonzero(score >= score[:, :1] - MARGIN, as_tuple=True)
        starts = Poses(rotations[image, candidate], shift[image, candidate], score[image, candidate])
        climbed = refine_locally(images.within(radius)[image], table, starts, stage.steps, plan.max_shift_px)
        score = torch.full_like(score, -torch.inf)
        rotations[image, candidate], shift[image, candidate] = climbed.rotations, climbed.shift_px
        score[image, candidate] = climbed.score
        found = _ranked(WeightedPoses(rotations, shift, score, score), radius)
    return replace(found, weight=torch.softmax(found.score, dim=1))


def _ranked(found: WeightedPoses, radius: float | None = None) -> WeightedPoses:
    """Sort candidates, the best first; those that climbed to the best one's maximum, in a band, count no more."""
    row = torch.arange(len(found.score), device=found.score.device)[:, None]
    score = found.score
    if radius is not None:
        best = score.argmax(1, keepdim=True)
        same = (found.rotations - found.rotations[row, best]).abs().amax((2, 3)) * radius < 1
        score = score.masked_fill(same.scatter_(1, best, False), -torch.inf)
    order = torch.argsort(score, dim=1, descending=True, stable=True)
    score = score[row, order]
    return WeightedPoses(found.rotations[row, order], found.shift_px[row, order], score, score)
