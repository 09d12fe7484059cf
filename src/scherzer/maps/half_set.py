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

SEARCH_FLOPS = 4e12  # per round for all particles: about 12 s of bf16 products on two cores; beyond it only local steps
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


def search_is_affordable(particles: int, band: Band, grid_size: int, shifts: int) -> bool:
    """Whether an exhaustive search fits the budget of a round."""
    return 4.0 * particles * shifts * len(band) * grid_size <= SEARCH_FLOPS


def align(
    particles: ParticleSet, volume: Tensor, noise: Tensor, poses: Poses, plan: RoundPlan, group: Tensor
) -> WeightedPoses:
    """Find the poses of particles on a volume.

    Searches the asymmetric unit exhaustively where the budget allows, then refines the best candidates, and the last
    pose of each particle, continuously.

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
    grid = orientation_grid(plan.step_rad, group.cpu(), plan.turn.cpu()).to(volume.device)
    exhaustive = search_is_affordable(len(particles), band, len(grid), len(plan.shifts_px))
    references = slice_bank(table, grid, band) if exhaustive else None

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
    images: ScoredImages,
    table: SliceTable,
    references: ReferenceBank | None,
    grid: Tensor,
    last: Poses,
    plan: RoundPlan,
) -> WeightedPoses:
    known = torch.isfinite(last.score)
    starts = [last] if bool(known.all()) else []
    if references is not None:
        around = torch.where(known[:, None], last.shift_px, torch.zeros_like(last.shift_px))
        found = search(images.shifted_back(around), references, plan.shifts_px, keep=STARTS)
        for k in range(found.score.shape[1]):
            shift = around + found.shift_px[:, k]
            length = shift.norm(dim=1, keepdim=True).clamp(min=1e-6)
            shift = shift * (plan.max_shift_px / length).clamp(max=1)
            starts.append(Poses(grid[found.reference[:, k]], shift, found.score[:, k]))
    refined = [refine_locally(images, table, start, FIRST_PASSES, plan.max_shift_px) for start in starts]
    score = torch.stack([poses.score for poses in refined], dim=1)
    order = torch.argsort(score, dim=1, descending=True, stable=True)
    row = torch.arange(len(images), device=order.device)[:, None]
    rotations = torch.stack([poses.rotations for poses in refined], dim=1)[row, order]
    shift = torch.stack([poses.shift_px for poses in refined], dim=1)[row, order]
    score = score[row, order]
    best = refine_locally(
        images, table, Poses(rotations[:, 0], shift[:, 0], score[:, 0]), LAST_PASSES, plan.max_shift_px
    )
    rotations[:, 0], shift[:, 0], score[:, 0] = best.rotations, best.shift_px, best.score
    # Candidates that climbed to the same maximum count once.
    same = (rotations[:, 1:] - rotations[:, :1]).abs().amax((2, 3)) * plan.radius < 0.5
    score[:, 1:] = torch.where(same, -torch.inf, score[:, 1:])
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
    """Spacing of the orientation grid for a band: 0.8 of the displacement d at the particle's edge, 15 deg at most.

    The local steps that follow reach further than half of it.
    """
    return min(0.8 * resolution_A / (diameter_A / 2), math.radians(15))


def shifts_for(resolution_A: float, pixel_size_A: float, range_A: float, device: torch.device) -> Tensor:
    """Shifts within a range, spaced a third of the resolution."""
    step_px = resolution_A / 3 / pixel_size_A
    return shift_grid(max(range_A / pixel_size_A, step_px), step_px, device)
