"""One half-set's search and reconstruction in one round of a refinement."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scherzer.fourier.shifts import phase_ramp
from scherzer.fourier.slices import SliceAccumulator, SliceGrid, SliceTable, slice_table
from scherzer.geometry.sphere import orientation_grid
from scherzer.likelihood.band import Band, make_band
from scherzer.likelihood.local import Poses, refine_locally
from scherzer.likelihood.noise import residual_power
from scherzer.likelihood.parallel import map_blocks
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import ScoredImages, band_ctf, prepare
from scherzer.likelihood.search import ReferenceBank, reference_bank, search, shift_grid
from scherzer.maps.reconstruction import insert_images

SEARCH_FLOPS = 2e12  # per round and half-set: some 6 s of bf16 products on two cores; a dearer grid is coarsened
COARSEST_STEP_RAD = math.radians(15)
STARTS = 2  # candidates of the global search that are refined continuously
FIRST_PASSES, LAST_PASSES = 2, 3  # local steps for every start, then for the best
LEAST_SHARE = 0.01  # of the best candidate's weight: below it a candidate is not inserted
BLOCK = 128  # particles aligned at a time
SLICE_PIXELS = 2**18  # reference pixels cut at a time


@dataclass(frozen=True)
class RoundPlan:
    """What one round searches.

    Attributes
    ----------
    radius : float
        Edge of the band, Fourier px.
    search_radius : float
        Edge of the band of the exhaustive search and of its candidates' comparison.
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


@dataclass(frozen=True)
class WeightedPoses:
    """Up to k poses of each of n particles with their posterior weights, best first; tensors ``(n, k, ...)``."""

    rotations: Tensor
    shift_px: Tensor
    score: Tensor
    weight: Tensor

    def best(self) -> Poses:
        """Return the best pose of each particle."""
        return Poses(self.rotations[:, 0], self.shift_px[:, 0], self.score[:, 0])


def affordable_grid(plan: RoundPlan, group: Tensor, particles: int, pixels: int) -> Tensor:
    """Orientations for an exhaustive search, as fine as planned or as the budget of a round allows: ``(r, 3, 3)``."""
    step = plan.step_rad
    while True:
        grid = orientation_grid(step, group.cpu(), plan.turn.cpu())
        flops = 4.0 * particles * len(plan.shifts_px) * pixels * len(grid)
        if flops <= SEARCH_FLOPS or step >= COARSEST_STEP_RAD:
            return grid
        step = min(step * 1.25, COARSEST_STEP_RAD)


def align(
    particles: ParticleSet, volume: Tensor, noise: Tensor, poses: Poses, plan: RoundPlan, group: Tensor
) -> WeightedPoses:
    """Find the poses of particles on a volume.

    Searches the asymmetric unit exhaustively, refines the best candidates and the last pose of each particle
    continuously on the band of the search, and the best of them on the whole band. Where the two bands are the same,
    all candidates are kept with their posterior weights; beyond, only the best.

    Parameters
    ----------
    particles : ParticleSet
        n particles.
    volume : Tensor
        ``(b, b, b)``.
    noise : Tensor
        ``(shells,)``.
    poses : Poses
        From the round before; score ``-inf`` where there is none yet.
    plan : RoundPlan
        What to search.
    group : Tensor
        ``(g, 3, 3)``.
    """
    band = make_band(particles.box, plan.radius, device=volume.device)
    table = slice_table(volume, plan.radius, with_gradient=True)
    coarse = band.within(plan.search_radius)
    grid = affordable_grid(plan, group, len(particles), len(coarse)).to(volume.device)
    references = slice_bank(table, grid, coarse)

    def align_block(rows: Tensor) -> WeightedPoses:
        images = prepare(particles[rows], band, noise)
        return _align_block(images, table, references, grid, poses[rows], plan)

    parts = map_blocks(align_block, row_blocks(len(particles), volume.device), volume.device)
    return WeightedPoses(*(torch.cat([getattr(part, name) for part in parts]) for name in _FIELDS))


def row_blocks(count: int, device: torch.device) -> list[Tensor]:
    """Row numbers of particles in blocks."""
    return list(torch.arange(count, device=device).split(BLOCK))


_FIELDS = ("rotations", "shift_px", "score", "weight")


def slice_bank(table: SliceTable, grid: Tensor, band: Band) -> ReferenceBank:
    """Slices of a volume at every orientation of a grid, prepared for searching."""
    plain = replace(table, values=table.values[:, :2].contiguous())
    blocks = grid.split(max(1, SLICE_PIXELS // len(band)))
    return reference_bank(torch.cat(map_blocks(lambda part: plain.slices(part, band.kx, band.ky), blocks, grid.device)))


def _align_block(
    images: ScoredImages, table: SliceTable, references: ReferenceBank, grid: Tensor, last: Poses, plan: RoundPlan
) -> WeightedPoses:
    coarse = images.within(plan.search_radius)
    known = torch.isfinite(last.score)
    starts = [last] if bool(known.all()) else []
    around = torch.where(known[:, None], last.shift_px, torch.zeros_like(last.shift_px))
    found = search(coarse.shifted_back(around), references, plan.shifts_px, keep=STARTS)
    for k in range(found.score.shape[1]):
        shift = around + found.shift_px[:, k]
        length = shift.norm(dim=1, keepdim=True).clamp(min=1e-6)
        shift = shift * (plan.max_shift_px / length).clamp(max=1)
        starts.append(Poses(grid[found.reference[:, k]], shift, found.score[:, k]))
    refined = [refine_locally(coarse, table, start, FIRST_PASSES, plan.max_shift_px) for start in starts]
    score = torch.stack([poses.score for poses in refined], dim=1)
    order = torch.argsort(score, dim=1, descending=True, stable=True)
    row = torch.arange(len(images), device=order.device)[:, None]
    rotations = torch.stack([poses.rotations for poses in refined], dim=1)[row, order]
    shift = torch.stack([poses.shift_px for poses in refined], dim=1)[row, order]
    score = score[row, order]
    leader = Poses(rotations[:, 0], shift[:, 0], score[:, 0])
    best = refine_locally(images, table, leader, LAST_PASSES, plan.max_shift_px)
    rotations[:, 0], shift[:, 0], score[:, 0] = best.rotations, best.shift_px, best.score
    # Candidates that climbed to the same maximum count once; scores of different bands cannot be compared.
    drop = (rotations[:, 1:] - rotations[:, :1]).abs().amax((2, 3)) * plan.radius < 0.5
    if len(coarse.band) < len(images.band):
        drop = torch.ones_like(drop)
    score[:, 1:] = torch.where(drop, -torch.inf, score[:, 1:])
    return WeightedPoses(rotations, shift, score, torch.softmax(score, dim=1))


def insert(
    particles: ParticleSet, found: WeightedPoses, noise: Tensor, radius: float, grid_radius: float | None = None
) -> SliceAccumulator:
    """Insert particles at their weighted poses up to a radius in Fourier px, on a grid of that radius or a larger."""
    device = particles.transforms.device
    band = make_band(particles.box, radius, device=device)
    grid = SliceGrid(particles.box, min(grid_radius or radius, particles.box / 2 - 1))
    accumulator = SliceAccumulator(grid, device)
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


def residuals(particles: ParticleSet, volume: Tensor, poses: Poses, radius: float) -> Tensor:
    """Residual power per shell at the best poses: sums and counts, see :func:`residual_power`."""
    band = make_band(particles.box, radius, device=volume.device)
    table = slice_table(volume, radius)
    total = torch.zeros((2, particles.box // 2 + 1), dtype=torch.float64, device=volume.device)
    for rows in row_blocks(len(particles), volume.device):
        part = particles[rows]
        model = table.slices(poses.rotations[rows], band.kx, band.ky) * band_ctf(part, band)
        model = model * phase_ramp(poses.shift_px[rows] / band.box, band.kx, band.ky)
        total += residual_power(band.take(part.transforms) - model, band.shell, total.shape[1])
    return total


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
