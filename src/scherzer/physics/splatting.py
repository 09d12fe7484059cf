"""Points to grids: cubic B-splines on a finer grid, with the spline's transform divided out.

A grid 1.5 times finer keeps aliases below 6 % of the amplitude at the Nyquist frequency and below 1 % at 0.75 of it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

OVERSAMPLING = 1.5


def fine_box(box: int) -> int:
    """Side of the finer grid for a box: even, at least 1.5 times as large."""
    return 2 * math.ceil(box * OVERSAMPLING / 2)


def splat(points: Tensor, weights: Tensor, fine: int) -> Tensor:
    """Add points to periodic grids.

    Parameters
    ----------
    points : Tensor
        ``(n, p, d)`` for n grids of p points in d dimensions, in pixels of the fine grid, last axis first (x, y, z).
    weights : Tensor
        ``(p,)``.
    fine : int
        Side of the grids.

    Returns
    -------
    Tensor
        ``(n, fine, ..., fine)`` with d axes, the last being x. A point at 0 is at index 0.
    """
    count, dimensions = points.shape[0], points.shape[2]
    grids = torch.arange(count, device=points.device, dtype=torch.int64)[:, None].expand(points.shape[:2])
    sums = points.new_zeros(count * fine**dimensions)
    axes = [_axis(points[:, :, axis], fine) for axis in range(dimensions)]
    # One pass per spline coefficient keeps the temporaries small, which is several times faster than one gather.
    _add(sums, grids, weights.expand(points.shape[:2]), axes[::-1], fine)
    return sums.reshape((count,) + (fine,) * dimensions)


def _axis(position: Tensor, fine: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return the four neighbours and the weights of the cubic B-spline along one axis."""
    base = torch.floor(position)
    f = position - base
    g = 1 - f
    weights = [g**3 / 6, (3 * f**3 - 6 * f**2 + 4) / 6, (3 * g**3 - 6 * g**2 + 4) / 6, f**3 / 6]
    cell = base.long()
    return [torch.remainder(cell + step, fine) for step in (-1, 0, 1, 2)], weights


def _add(sums: Tensor, index: Tensor, weight: Tensor, axes: list[tuple[list[Tensor], list[Tensor]]], fine: int) -> None:
    if not axes:
        sums.index_add_(0, index.reshape(-1), weight.reshape(-1))
        return
    for neighbour, factor in zip(*axes[0], strict=True):
        _add(sums, index * fine + neighbour, weight * factor, axes[1:], fine)


def to_coarse_rfft(grids: Tensor, box: int, dimensions: int) -> Tensor:
    """Transform fine grids, correct for the spline and keep the frequencies of a smaller even box.

    Parameters
    ----------
    grids : Tensor
        ``(n, fine, ..., fine)`` as :func:`splat` returns them.
    box : int
        Side of the coarse box, even. Its Nyquist frequencies are set to zero.
    dimensions : int
        Number of axes.

    Returns
    -------
    Tensor
        ``(n, box, ..., box // 2 + 1)``, complex64.
    """
    fine = grids.shape[-1]
    axes = tuple(range(-dimensions, 0))
    transform = torch.fft.rfftn(grids, dim=axes)
    frequency = torch.fft.fftfreq(box, 1 / box, device=grids.device).long()
    for axis in axes:
        wanted = torch.arange(box // 2 + 1, device=grids.device) if axis == -1 else frequency
        transform = transform.index_select(axis, torch.remainder(wanted, fine))
        correction = torch.sinc(wanted / fine) ** -4
        correction[wanted.abs() == box // 2] = 0
        transform = transform * correction.reshape((-1,) + (1,) * (-1 - axis))
    return transform
