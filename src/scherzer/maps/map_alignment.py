"""One map laid on another: rotation, shift and hand by correlation over whitened shells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.slices import SliceTable, sinc2_correction, slice_table, volume_from_sums
from scherzer.geometry.rotations import from_rotation_vector

CLIMBERS = 16  # candidates of the coarse comparison that are refined
CLIMB_ROUNDS = 14  # each tries steps along the six parameters and then halves those that did not help
CHUNK_POINTS = 2**19  # interpolated at a time


@dataclass(frozen=True)
class MapAlignment:
    """How a map lies on another.

    Attributes
    ----------
    rotation : Tensor
        ``(3, 3)``: where a point of the fixed map lies in the moving one, about the centre pixel.
    shift_px : Tensor
        ``(3,)`` x, y, z: by which the turned map is then moved.
    mirrored : bool
        The moving map was mirrored (z to -z) before.
    correlation : float
        Mean over the band's Fourier points, each shell whitened; -1 to 1.
    """

    rotation: Tensor
    shift_px: Tensor
    mirrored: bool
    correlation: float


def mirrored(volume: Tensor) -> Tensor:
    """Return the other hand of a ``(b, b, b)`` map: z to -z about the centre pixel."""
    return volume.flip(0).roll(1, 0)


def moved_map(volume: Tensor, rotation: Tensor, shift_px: Tensor | None = None) -> Tensor:
    """Turn and shift a ``(b, b, b)`` map by interpolation of its transform.

    Parameters
    ----------
    volume : Tensor
        ``(b, b, b)``.
    rotation : Tensor
        ``(3, 3)``; the result at ``x`` is the map at ``rotation @ x``.
    shift_px : Tensor, optional
        ``(3,)`` x, y, z, applied after the turn.
    """
    box = volume.shape[-1]
    table = slice_table(volume, box / 2 - 1)
    every = table.grid.frequencies(volume.device)
    inside = torch.nonzero((every.norm(dim=-1) <= table.grid.radius).flatten())[:, 0]
    points = every.reshape(-1, 3)[inside]
    found = table.at(points @ rotation.to(points).T)[:, 0]
    if shift_px is not None:
        phase = (-2 * math.pi / box) * (points @ shift_px.to(points))
        found = found * torch.polar(torch.ones_like(phase), phase)
    entries = torch.zeros(every.shape[:-1], dtype=found.dtype, device=volume.device)
    entries.view(-1)[inside] = found
    return volume_from_sums(entries, table.grid) * sinc2_correction(box, volume.device)


def align_map(
    moving: Tensor,
    fixed: Tensor,
    radius: float,
    rotations: Tensor,
    *,
    hands: bool = True,
    shift_range_px: float = 0.0,
    climb_rad: float = 0.0,
) -> MapAlignment:
    """Find how a map lies on another.

    Every rotation given is compared at the centre-of-shift that fits best; the best few are then refined.

    Parameters
    ----------
    moving, fixed : Tensor
        ``(b, b, b)`` of one box.
    radius : float
        Edge of the compared band, Fourier px.
    rotations : Tensor
        ``(r, 3, 3)`` to try.
    hands : bool
        Try the mirror image as well.
    shift_range_px : float
        Shifts tried along each axis; 0 for maps with a fixed centre.
    climb_rad : float
        First step of the refinement, about the spacing of ``rotations``; 0 keeps to these.
    """
    device = fixed.device
    points = half_ball(radius, device)
    target = whitened(slice_table(fixed, radius).at(points)[:, 0], points)
    shifts = _shift_cube(shift_range_px, fixed.shape[-1] / radius / 3, device)
    best: MapAlignment | None = None
    for mirror in (False, True) if hands else (False,):
        table = slice_table(mirrored(moving) if mirror else moving, radius)
        found = _align_hand(table, points, target, rotations.to(device), shifts, climb_rad)
        if best is None or found[2] > best.correlation:
            best = MapAlignment(found[0], found[1], mirror, found[2])
    assert best is not None
    return best


def half_ball(radius: float, device: torch.device) -> Tensor:
    """Whole Fourier points x, y, z, one of each conjugate pair, up to a radius: ``(p, 3)`` without the origin."""
    reach = int(radius)
    side = torch.arange(-reach, reach + 1, device=device, dtype=torch.float32)
    z, y, x = torch.meshgrid(side, side, side, indexing="ij")
    points = torch.stack((x, y, z), dim=-1).reshape(-1, 3)
    order = points @ points.new_tensor([1e4, 1e2, 1.0])
    return points[(points.norm(dim=1) <= radius) & (order > 0)]


def whitened(values: Tensor, points: Tensor) -> Tensor:
    """Divide ``(..., p)`` values by the root mean square of their shell, and all by the root of their number."""
    shell = torch.round(points.norm(dim=1)).long()
    flat = values.reshape(-1, values.shape[-1])
    total = torch.zeros((len(flat), int(shell.max()) + 1), device=values.device)
    total.index_add_(1, shell, flat.abs() ** 2)
    counts = torch.bincount(shell, minlength=total.shape[1]).clamp(min=1)
    scale = torch.rsqrt((total / counts).clamp(min=1e-30))
    scale = torch.where(total > 1e-25, scale, torch.zeros_like(scale))
    return (flat * scale[:, shell] / math.sqrt(len(points))).reshape(values.shape)


def _shift_cube(range_px: float, step_px: float, device: torch.device) -> Tensor:
    count = math.ceil(range_px / step_px) if range_px > 0 else 0
    side = torch.arange(-count, count + 1, device=device, dtype=torch.float32) * step_px
    return torch.cartesian_prod(side, side, side)


def _correlations(
    table: SliceTable, points: Tensor, target: Tensor, rotations: Tensor, shifts: Tensor
) -> tuple[Tensor, Tensor]:
    """Best correlation of each rotation over all shifts and the number of that shift."""
    phase = (2 * math.pi / table.grid.box) * (shifts @ points.T)
    shifted = target * torch.polar(torch.ones_like(phase), phase)
    scores, at = [], []
    for part in rotations.split(max(1, CHUNK_POINTS // len(points))):
        turned = table.at(torch.einsum("rij,pj->rpi", part, points))[..., 0]
        product = (whitened(turned, points) @ shifted.conj().T).real
        best, which = product.max(1)
        scores.append(best)
        at.append(which)
    return torch.cat(scores), torch.cat(at)


def _align_hand(
    table: SliceTable, points: Tensor, target: Tensor, rotations: Tensor, shifts: Tensor, climb_rad: float
) -> tuple[Tensor, Tensor, float]:
    scores, at = _correlations(table, points, target, rotations, shifts)
    top = torch.topk(scores, min(CLIMBERS, len(scores))).indices
    best = (rotations[top[0]], shifts[at[top[0]]], float(scores[top[0]]))
    if climb_rad == 0:
        return best
    step_px = float((shifts[1:] - shifts[:-1]).abs().amax()) / 2 if len(shifts) > 1 else 0.0
    for start in top[: len(top)]:
        found = _climb(table, points, target, rotations[start], shifts[at[start]], climb_rad / 2, step_px)
        if found[2] > best[2]:
            best = found
    return best


def _climb(
    table: SliceTable, points: Tensor, target: Tensor, rotation: Tensor, shift: Tensor, step_rad: float, step_px: float
) -> tuple[Tensor, Tensor, float]:
    """Compass search: try steps both ways along every parameter, take the best, halve when none helps."""
    axes = torch.eye(3, device=points.device)
    score = float(_correlations(table, points, target, rotation[None], shift[None])[0])
    for _ in range(CLIMB_ROUNDS):
        turns = torch.cat((axes, -axes)) * step_rad
        tried = rotation @ from_rotation_vector(turns)
        scores, _ = _correlations(table, points, target, tried, shift[None])
        moves = shift + torch.cat((axes, -axes)) * step_px
        shifted, which = _correlations(table, points, target, rotation[None], moves)
        if float(scores.max()) <= score and float(shifted) <= score:
            step_rad, step_px = step_rad / 2, step_px / 2
        elif float(scores.max()) >= float(shifted):
            rotation, score = tried[int(scores.argmax())], float(scores.max())
        else:
            shift, score = moves[int(which)], float(shifted)
    return rotation, shift, score
