"""Continuous refinement of orientation and shift by Levenberg-Marquardt on the image model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.expansion import ExpansionTable
from scherzer.geometry.rotations import from_rotation_vector
from scherzer.likelihood.band import Band
from scherzer.likelihood.score import ScoredImages

CHUNK_ENTRIES = 2**15  # image pixels refined at a time: the work on one chunk stays in a core's cache
CHUNK_ENTRIES_ON_DEVICE = 2**23  # enough to fill a GPU
DAMPING = 1e-2  # first damping, relative to the curvature
LEAST_GAIN = 1e-4  # of log likelihood: rounding would decide on a step that gains less
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


def refine_locally(
    images: ScoredImages, table: ExpansionTable, start: Poses, passes: int, max_shift_px: float
) -> Poses:
    """Climb from given poses to the nearest maximum of the likelihood.

    Each pass takes value and derivatives of every slice from the same gather, solves the 5 x 5 normal equations of
    rotation vector and shift for each particle, and keeps the step where the score rose.

    Parameters
    ----------
    images : ScoredImages
        n images, not moved.
    table : ExpansionTable
        Of the volume.
    start : Poses
        Where to start; the scores are computed anew.
    passes : int
        Number of steps tried.
    max_shift_px : float
        Shifts longer than this are refused.
    """
    chunk = CHUNK_ENTRIES if images.data.device.type == "cpu" else CHUNK_ENTRIES_ON_DEVICE
    size = max(1, chunk // len(images.band))
    parts = [
        _refine_chunk(images[rows], table, start[rows], passes, max_shift_px)
        for rows in (slice(at, at + size) for at in range(0, len(images), size))
    ]
    return Poses(*(torch.cat([getattr(part, name) for part in parts]) for name in ("rotations", "shift_px", "score")))


@dataclass(frozen=True)
class _Measured:
    """Whitened images as real planes.

    Attributes
    ----------
    data : Tensor
        ``(n, 2, m)`` real and imaginary part of ``X / sigma`` with the sign of the CTF.
    weight : Tensor
        ``(n, 1, m)`` ``|c| / sigma``.
    """

    data: Tensor
    weight: Tensor


def _refine_chunk(images: ScoredImages, table: ExpansionTable, start: Poses, passes: int, max_shift_px: float) -> Poses:
    weight = images.power.sqrt()
    whitened = torch.view_as_real(images.data / weight.clamp(min=1e-12)).movedim(-1, 1).contiguous()
    measured = _Measured(whitened, weight[:, None])
    band = images.band
    rotations, shift = start.rotations, start.shift_px
    compared = _compare(measured, band, table, rotations, shift)
    score = compared.score
    gradient, curvature = _normal_equations(measured, band, compared)
    damping = torch.full_like(score, DAMPING)
    reach = float(torch.hypot(band.kx[-1], band.ky[-1]))
    limit = torch.tensor([STEP_LIMIT_PX / reach] * 3 + [STEP_LIMIT_PX] * 2, device=score.device)
    for number in range(passes):
        diagonal = curvature.diagonal(dim1=1, dim2=2)
        floor = 1e-6 * diagonal.amax(1, keepdim=True) + 1e-12
        system = curvature + torch.diag_embed(damping[:, None] * diagonal + floor)
        step = torch.linalg.solve(system, gradient[..., None])[..., 0]
        step = step * (limit / step.abs().clamp(min=1e-12)).amin(1, keepdim=True).clamp(max=1)
        new_rotations = rotations @ from_rotation_vector(step[:, :3])
        new_shift = shift + step[:, 3:]
        compared = _compare(measured, band, table, new_rotations, new_shift)
        better = (compared.score > score + LEAST_GAIN) & (new_shift.norm(dim=1) <= max_shift_px)
        pick = better[:, None]
        rotations = torch.where(pick[..., None], new_rotations, rotations)
        shift = torch.where(pick, new_shift, shift)
        score = torch.where(better, compared.score, score)
        if number + 1 < passes:
            new_gradient, new_curvature = _normal_equations(measured, band, compared)
            gradient = torch.where(pick, new_gradient, gradient)
            curvature = torch.where(pick[..., None], new_curvature, curvature)
            damping = torch.where(better, damping / 3, damping * 8).clamp(1e-6, 1e6)
    return Poses(rotations, shift, score)


@dataclass(frozen=True)
class _Compared:
    """Slices beside images.

    Attributes
    ----------
    score : Tensor
        ``(n,)``.
    value, residual : Tensor
        ``(n, 2, m)`` whitened slices, and what they leave of the images.
    slope : Tensor
        ``(n, 3, 2, m)`` of the slices, not whitened.
    """

    score: Tensor
    value: Tensor
    residual: Tensor
    slope: Tensor


def _compare(measured: _Measured, band: Band, table: ExpansionTable, rotations: Tensor, shift: Tensor) -> _Compared:
    """Score images at poses.

    Real and imaginary parts stay apart: real products are several times faster than complex ones on a processor.
    """
    value, slope = table.slices(rotations, band.kx, band.ky)
    value *= measured.weight
    turn = 2 * torch.pi / band.box
    phase = (turn * shift) @ torch.stack((band.kx, band.ky))  # moves the images back
    cosine, sine = torch.cos(phase), torch.sin(phase)
    real, imaginary = measured.data.unbind(1)
    residual = torch.stack((real * cosine - imaginary * sine, real * sine + imaginary * cosine), dim=1) - value
    score = (value * (2 * residual + value)).flatten(1).sum(1)
    return _Compared(score, value, residual, slope)


def _normal_equations(measured: _Measured, band: Band, compared: _Compared) -> tuple[Tensor, Tensor]:
    """Half the gradient of each score and its Gauss-Newton curvature: ``(n, 5)`` and ``(n, 5, 5)``.

    A least squares problem in the whitened pixels. A small rotation ``w`` of the image frame moves the point
    ``R (kx, ky, 0)`` by ``R (w x (kx, ky, 0))``.
    """
    kx, ky, value = band.kx, band.ky, compared.value
    slope = compared.slope * measured.weight[:, None]
    # w x k for k = (kx, ky, 0): d/dwx = (0, 0, ky), d/dwy = (0, 0, -kx), d/dwz = (-ky, kx, 0)
    columns = value.new_empty((len(value), 5, 2, len(band)))
    torch.mul(slope[:, 2], ky, out=columns[:, 0])
    torch.mul(slope[:, 2], -kx, out=columns[:, 1])
    torch.mul(slope[:, 1], kx, out=columns[:, 2])
    columns[:, 2].addcmul_(slope[:, 0], ky, value=-1)
    turn = 2 * torch.pi / band.box
    for at, frequency in ((3, turn * kx), (4, turn * ky)):  # -2 pi i k value / box
        torch.mul(value[:, 1], frequency, out=columns[:, at, 0])
        torch.mul(value[:, 0], -frequency, out=columns[:, at, 1])
    columns = columns.flatten(2)
    return (columns @ compared.residual.flatten(1)[..., None])[..., 0], columns @ columns.mT
