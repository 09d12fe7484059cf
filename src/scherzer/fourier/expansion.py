"""Slices with their derivatives by orientation, from one lookup a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.slices import PADDING, SliceGrid, half_transform


@dataclass(frozen=True)
class ExpansionTable:
    """A volume's transform with its derivatives, to be continued linearly from the nearest grid point.

    The continuation reaches a quarter of a pixel of the unpadded box along each axis. Its value is about as true as
    trilinear interpolation's, for one lookup instead of eight.

    Attributes
    ----------
    grid : SliceGrid
        Where the entries lie.
    values : Tensor
        ``(entries, 8)`` float32: real and imaginary part of the transform and of its derivatives by x, y and z
        frequency.
    """

    grid: SliceGrid
    values: Tensor

    def slices(self, rotations: Tensor, kx: Tensor, ky: Tensor) -> tuple[Tensor, Tensor]:
        """Take central slices with their derivatives by the frequencies of the image's frame.

        Parameters
        ----------
        rotations : Tensor
            ``(n, 3, 3)``: image frame to volume frame.
        kx, ky : Tensor
            ``(m,)`` frequencies, px of the unpadded box.

        Returns
        -------
        value, slope : Tensor
            ``(n, 2, m)`` and ``(n, 3, 2, m)``: real and imaginary parts, the slope along x, y and z of the image.
        """
        count = len(rotations)
        offset = (PADDING * rotations[:, :, :2]) @ torch.stack((kx, ky))
        nearest = torch.round(offset)
        offset -= nearest
        _, ny, nx = self.grid.shape
        origin = self.grid.extent * (ny * nx + nx) + 1
        mirrored = nearest[:, 0] < 0
        sign = torch.where(mirrored, -1.0, 1.0)
        cell = nearest.int()
        index = (cell[:, 2] * ny + cell[:, 1]) * nx + cell[:, 0]
        index = torch.where(mirrored, -index, index).add_(origin)
        rows = self.values.index_select(0, index.flatten()).reshape(count, -1, 8)
        planes = rows.mT.reshape(count, 4, 2, -1)
        planes[:, 0, 1] *= sign  # F(-k) = conj F(k)
        planes[:, 1:, 0] *= sign[:, None]  # and so dF(-k) = -conj dF(k)
        back = rotations.mT
        slope = (back @ planes[:, 1:].reshape(count, 3, -1)).reshape(count, 3, 2, -1)
        value = planes[:, 0]
        within = (back @ offset) / PADDING
        for axis in range(3):
            value = torch.addcmul(value, slope[:, axis], within[:, axis, None])
        return value, slope


def expansion_table(volume: Tensor, radius: float) -> ExpansionTable:
    """Prepare a ``(b, b, b)`` volume for slices with derivatives up to a frequency, px."""
    box = volume.shape[-1]
    grid = SliceGrid(box, min(radius, box / 2 - 1))
    position = (torch.arange(box, device=volume.device, dtype=volume.dtype) - box // 2) / box
    corrected = volume / continuation_envelope(box, volume.device)
    channels = torch.empty((*grid.shape, 4), dtype=torch.complex64, device=volume.device)
    channels[..., 0] = half_transform(corrected, grid)
    for axis, shape in enumerate(((1, 1, -1), (1, -1, 1), (-1, 1, 1)), start=1):
        torch.mul(half_transform(corrected * position.reshape(shape), grid), -2j * math.pi, out=channels[..., axis])
    return ExpansionTable(grid, torch.view_as_real(channels).reshape(-1, 8))


def continuation_envelope(box: int, device: torch.device | str = "cpu") -> Tensor:
    """Real-space envelope of linear continuation, ``(b, b, b)``; divide by it.

    A point mass at x has the transform ``exp(-i p)`` with ``p = 2 pi k x``; continued over the offset it becomes
    ``(1 + i p) exp(-i p)``, on average over the offsets ``1 + <p^2> / 2``. That is separable up to fourth order.
    """
    position = (torch.arange(box, device=device, dtype=torch.float32) - box // 2) / box
    square = (2 * math.pi * position) ** 2 * (1 / PADDING**2 / 12) / 2
    return 1 + square[:, None, None] + square[:, None] + square
