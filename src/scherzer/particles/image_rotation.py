"""Images turned in their plane, as transforms on a band, and the adjoint that adds turned transforms up to images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from scherzer.likelihood.band import Band

PADDING = 2  # oversampling; with the sinc^2 correction the interpolation error is about 1 %


@dataclass(frozen=True)
class RotatedBand:
    """Where the pixels of a band lie in the transform of an image that is turned by each of p angles.

    The pixel ``k`` of an image turned by psi is the pixel ``R(psi) k`` of the class average, with
    ``R = [[cos, -sin], [sin, cos]]``: psi is RELION's, the last of the three Euler angles.

    Attributes
    ----------
    box, extent : int
        Box of the images, px; largest frequency of the table, px of the padded box.
    angles : int
        p.
    index : Tensor
        ``(p * m, 4)`` int64, the four neighbours in a flattened ``(2 extent + 1, 2 extent + 1)`` table.
    weight : Tensor
        ``(p * m, 4)`` float32, bilinear weights.
    """

    box: int
    extent: int
    angles: int
    index: Tensor
    weight: Tensor

    def render(self, images: Tensor) -> Tensor:
        """Transform ``(k, b, b)`` images, turned by every angle: ``(k, p, m)`` complex64."""
        padded = images / _envelope(self.box, images.device)
        margin = self.box * (PADDING - 1) // 2
        padded = torch.nn.functional.pad(padded, (margin, margin, margin, margin))
        transforms = torch.fft.fft2(torch.fft.ifftshift(padded, dim=(-2, -1)))
        rows = self._rows(images.device)
        table = transforms[:, rows[:, None], rows[None, :]].reshape(len(images), -1)
        columns = torch.view_as_real(table.T.contiguous()).reshape(len(table.T), -1)
        found = embedding_bag(self.index, columns, per_sample_weights=self.weight, mode="sum")
        found = found.reshape(self.angles, -1, len(images), 2).permute(2, 0, 1, 3).contiguous()
        return torch.view_as_complex(found)

    def add_up(self, values: Tensor) -> Tensor:
        """Adjoint of :meth:`render`: ``(k, p, m)`` complex values to ``(k, b, b)`` images."""
        count = len(values)
        rows = torch.view_as_real(values.permute(1, 2, 0).contiguous()).reshape(-1, 2 * count)
        side = 2 * self.extent + 1
        table = rows.new_zeros((side * side, 2 * count))
        for corner in range(4):
            table.index_add_(0, self.index[:, corner], rows * self.weight[:, corner, None])
        entries = torch.view_as_complex(table.reshape(side, side, count, 2)).permute(2, 0, 1)
        padded = PADDING * self.box
        grid = entries.new_zeros((count, padded, padded))
        at = self._rows(values.device)
        grid[:, at[:, None], at[None, :]] = entries
        images = torch.fft.fftshift(torch.fft.ifft2(grid).real, dim=(-2, -1)) * padded**2
        margin = self.box * (PADDING - 1) // 2
        inside = slice(margin, margin + self.box)
        return images[:, inside, inside] / _envelope(self.box, values.device)

    def _rows(self, device: torch.device) -> Tensor:
        return torch.arange(-self.extent, self.extent + 1, device=device) % (PADDING * self.box)


def even_angles(count: int, device: torch.device | str = "cpu") -> Tensor:
    """Return ``count`` angles over the full turn, rad."""
    return torch.arange(count, device=device, dtype=torch.float32) * (2 * math.pi / count)


def turned_back(points: Tensor, psi_rad: Tensor) -> Tensor:
    """Where ``(n, 2)`` points of averages (x, y from the centre) lie in the images of particles at ``(n,)`` angles."""
    cos, sin = torch.cos(psi_rad), torch.sin(psi_rad)
    return torch.stack((cos * points[:, 0] + sin * points[:, 1], -sin * points[:, 0] + cos * points[:, 1]), dim=-1)


def rotated_band(band: Band, psi_rad: Tensor) -> RotatedBand:
    """Prepare to turn images by ``(p,)`` angles, on the pixels of a band."""
    cos, sin = torch.cos(psi_rad)[:, None], torch.sin(psi_rad)[:, None]
    x = PADDING * (cos * band.kx - sin * band.ky).flatten()
    y = PADDING * (sin * band.kx + cos * band.ky).flatten()
    extent = int(PADDING * float(torch.hypot(band.kx, band.ky).max()) + 1e-3) + 1
    column, row = torch.floor(x), torch.floor(y)
    right, down = x - column, y - row
    side = 2 * extent + 1
    origin = (row.long() + extent) * side + column.long() + extent
    index = torch.stack((origin, origin + 1, origin + side, origin + side + 1), dim=-1)
    weight = torch.stack(((1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down), dim=-1)
    return RotatedBand(band.box, extent, len(psi_rad), index, weight)


def _envelope(box: int, device: torch.device) -> Tensor:
    """Real-space envelope of bilinear interpolation on the padded grid: separable sinc^2, ``(b, b)``."""
    position = (torch.arange(box, device=device, dtype=torch.float32) - box // 2) / (PADDING * box)
    axis = torch.sinc(position) ** 2
    return axis[:, None] * axis
