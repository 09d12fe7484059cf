"""Continuous refinement of orientation and shift by Levenberg-Marquardt on the image model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.shifts import phase_ramp
from scherzer.fourier.slices import SliceTable, slice_points
from scherzer.geometry.rotations import from_rotation_vector
from scherzer.likelihood.score import ScoredImages

CHUNK_ENTRIES = 2**17  # image pixels refined at a time: the work on one chunk stays in a core's cache
DAMPING = 1e-2  # first damping, relative to the curvature
STEP_LIMIT_PX = 1.5  # longest step at the band's edge and of the shift: beyond it the model is no longer linear


@dataclass(frozen=True)
class Poses:
    """Orientation and shift of n particles and their score.

    Attributes
    ----------
    rotations : Tensor
        ``(n, 3, 3)`` image frame to volume frame.
    shift_px : Tensor
        ``(n, 2)`` where the particle lies from the centre of its image, x and y, px.
    score : Tensor
        ``(n,)`` log likelihood gain.
    """

    rotations: Tensor
    shift_px: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.rotations)

    def __getitem__(self, index: Tensor | slice) -> Poses:
        return Poses(self.rotations[index], self.shift_px[index], self.score[index])


def refine_locally(images: ScoredImages, table: SliceTable, start: Poses, passes: int, max_shift_px: float) -> Poses:
    """Climb from given poses to the nearest maximum of the likelihood.

    Each pass takes value and derivatives of every slice from the same gather, solves the 5 x 5 normal equations of
    rotation vector and shift for each particle, and keeps the step where the score rose.

    Parameters
    ----------
    images : ScoredImages
        n images, not moved.
    table : SliceTable
        Of the volume, with gradient.
    start : Poses
        Where to start; the scores are computed anew.
    passes : int
        Number of steps tried.
    max_shift_px : float
        Shifts longer than this are refused.
    """
    size = max(1, CHUNK_ENTRIES // len(images.band))
    parts = [
        _refine_chunk(images[rows], table, start[rows], passes, max_shift_px)
        for rows in (slice(at, at + size) for at in range(0, len(images), size))
    ]
    return Poses(*(torch.cat([getattr(part, name) for part in parts]) for name in ("rotations", "shift_px", "score")))


def _refine_chunk(images: ScoredImages, table: SliceTable, start: Poses, passes: int, max_shift_px: float) -> Poses:
    rotations, shift = start.rotations, start.shift_px
    score, gradient, curvature = _expand(images, table, rotations, shift)
    damping = torch.full_like(score, DAMPING)
    reach = float(torch.hypot(images.band.kx, images.band.ky).max())
    limit = torch.tensor([STEP_LIMIT_PX / reach] * 3 + [STEP_LIMIT_PX] * 2, device=score.device)
    for _ in range(passes):
        diagonal = curvature.diagonal(dim1=1, dim2=2)
        floor = 1e-6 * diagonal.amax(1, keepdim=True) + 1e-12
        system = curvature + torch.diag_embed(damping[:, None] * diagonal + floor)
        step = torch.linalg.solve(system, gradient[..., None])[..., 0]
        step = step * (limit / step.abs().clamp(min=1e-12)).amin(1, keepdim=True).clamp(max=1)
        new_rotations = rotations @ from_rotation_vector(step[:, :3])
        new_shift = shift + step[:, 3:]
        new_score, new_gradient, new_curvature = _expand(images, table, new_rotations, new_shift)
        better = (new_score > score) & (new_shift.norm(dim=1) <= max_shift_px)
        pick = better[:, None]
        rotations = torch.where(pick[..., None], new_rotations, rotations)
        curvature = torch.where(pick[..., None], new_curvature, curvature)
        shift, gradient = torch.where(pick, new_shift, shift), torch.where(pick, new_gradient, gradient)
        score = torch.where(better, new_score, score)
        damping = torch.where(better, damping / 3, damping * 8).clamp(1e-6, 1e6)
    return Poses(rotations, shift, score)


def _expand(images: ScoredImages, table: SliceTable, rotations: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Score, half its gradient and the Gauss-Newton curvature of each image: ``(n,)``, ``(n, 5)``, ``(n, 5, 5)``.

    A least squares problem in the whitened pixels, real and imaginary parts apart (real products are several times
    faster than complex ones on a processor). A small rotation ``w`` of the image frame moves the point
    ``R (kx, ky, 0)`` by ``R (w x (kx, ky, 0))``.
    """
    band, count = images.band, len(images)
    kx, ky = band.kx[:, None], band.ky[:, None]
    weight = images.power.sqrt()
    found = torch.view_as_real(table.at(slice_points(rotations, band.kx, band.ky)))  # (n, m, 4, 2)
    found = found * weight[..., None, None]
    value = found[:, :, 0]
    in_frame = rotations.mT[:, None] @ found[:, :, 1:]  # slope along the axes of the image's frame
    slope_x, slope_y, slope_z = in_frame.unbind(2)
    turned = torch.stack((value[..., 1], -value[..., 0]), dim=-1) * (2 * torch.pi / band.box)  # -2 pi i value / box
    # w x k for k = (kx, ky, 0): d/dwx = (0, 0, ky), d/dwy = (0, 0, -kx), d/dwz = (-ky, kx, 0)
    columns = torch.stack((slope_z * ky, -slope_z * kx, slope_y * kx - slope_x * ky, turned * kx, turned * ky), dim=1)
    columns = columns.reshape(count, 5, -1)
    measured = images.data * phase_ramp(-shift / band.box, band.kx, band.ky) / weight.clamp(min=1e-12)
    residual = (torch.view_as_real(measured) - value).reshape(count, -1)
    value = value.reshape(count, -1)
    score = (value * (2 * residual + value)).sum(1)
    gradient = (columns @ residual[..., None])[..., 0]
    return score, gradient, columns @ columns.mT
