"""Central slices of a volume's transform and their adjoint, the insertion of slices.

Both interpolate trilinearly on a transform oversampled by padding twofold, kept as a half volume (x frequencies not
negative) cropped to the band in use. Interpolation is one weighted gather (``embedding_bag``) and its adjoint one
``scatter_add`` per channel, on whatever device the table lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

CHUNK_POINTS = 2**16  # inserted at a time: their eight neighbours stay in a core's cache, which is four times faster
PADDING = 2  # oversampling; with the sinc^2 correction the interpolation error is about 1 %


@dataclass(frozen=True)
class SliceGrid:
    """Where the entries of a half volume lie.

    Frequencies ``-1 ... extent`` on x and ``-extent ... extent`` on y and z, in px of the padded box; the plane at -1
    exists so that points next to x = 0 find all eight neighbours.

    Attributes
    ----------
    box : int
        Box of the volume before padding, px.
    radius : float
        Largest frequency that can be interpolated, px of the unpadded box.
    """

    box: int
    radius: float

    @property
    def extent(self) -> int:
        """Largest frequency stored, px of the padded box."""
        return int(self.radius * PADDING) + 2

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the table as (z, y, x)."""
        return (2 * self.extent + 1, 2 * self.extent + 1, self.extent + 2)

    def corners(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the eight neighbours of points.

        Parameters
        ----------
        points : Tensor
            ``(..., 3)``: x, y, z in px of the unpadded box.

        Returns
        -------
        index, weight : Tensor
            ``(8, p)`` flat index into the table (int32) and trilinear weight, for the p points flattened.
        mirrored : Tensor
            ``(p,)`` bool: the point lies at negative x; the table holds its conjugate at the opposite point.
        """
        _, ny, nx = self.shape
        scaled = points.reshape(-1, 3).T * PADDING  # one axis after the other: rows of three are slow to work on
        mirrored = scaled[0] < 0
        scaled = torch.where(mirrored, -scaled, scaled)
        base = torch.floor(scaled)
        above = scaled - base
        below = 1 - above
        x, y, z = base.int()
        origin = (z + self.extent) * (ny * nx) + (y + self.extent) * nx + x + 1
        index = torch.empty((8, len(origin)), dtype=torch.int32, device=origin.device)
        weight = torch.empty((8, len(origin)), device=origin.device)
        for row, (dz, dy) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            across = (above if dz else below)[2] * (above if dy else below)[1]
            for dx, along in enumerate((below[0], above[0])):
                torch.add(origin, nx * (dy + ny * dz) + dx, out=index[2 * row + dx])
                torch.mul(across, along, out=weight[2 * row + dx])
        return index, weight, mirrored

    def radii(self, device: torch.device) -> Tensor:
        """Distance of every entry of the table from the origin, px of the unpadded box: ``(z, y, x)``."""
        side = torch.arange(-self.extent, self.extent + 1, device=device, dtype=torch.float32) ** 2
        x = torch.arange(-1, self.extent + 1, device=device, dtype=torch.float32) ** 2
        return (side[:, None, None] + (side[:, None] + x)).sqrt_().div_(PADDING)

    def frequencies(self, device: torch.device) -> Tensor:
        """Frequency (x, y, z) of every entry of the table, px of the unpadded box: ``(z, y, x, 3)``."""
        side = torch.arange(-self.extent, self.extent + 1, device=device, dtype=torch.float32)
        x = torch.arange(-1, self.extent + 1, device=device, dtype=torch.float32)
        z, y, x = torch.meshgrid(side, side, x, indexing="ij")
        return torch.stack((x, y, z), dim=-1) / PADDING


def sinc2_correction(box: int, device: torch.device | str = "cpu") -> Tensor:
    """Real-space envelope of trilinear interpolation on the padded grid, ``(b, b, b)``; divide by it.

    The transform of a linear interpolator is sinc^2, and trilinear interpolation is separable, so the envelope is the
    product over the axes (not a radial function).
    """
    position = (torch.arange(box, device=device, dtype=torch.float32) - box // 2) / (PADDING * box)
    axis = torch.sinc(position) ** 2
    return axis[:, None, None] * axis[None, :, None] * axis[None, None, :]


@dataclass(frozen=True)
class SliceTable:
    """A volume's transform, ready to be sliced.

    Attributes
    ----------
    grid : SliceGrid
        Where the entries lie.
    values : Tensor
        ``(entries, channels)`` float32: real and imaginary part of the transform; more than one volume's may lie
        side by side.
    """

    grid: SliceGrid
    values: Tensor

    def at(self, points: Tensor) -> Tensor:
        """Interpolate at ``(..., 3)`` points (px of the unpadded box); returns ``(..., channels / 2)`` complex64."""
        index, weight, mirrored = self.grid.corners(points)
        found = weighted_rows(self.values, index, weight)
        found = found.reshape(*found.shape[:-1], -1, 2)
        found[..., 1] *= torch.where(mirrored, -1.0, 1.0)[:, None]  # F(-k) = conj F(k)
        return torch.view_as_complex(found).reshape(*points.shape[:-1], -1)

    def slices(self, rotations: Tensor, kx: Tensor, ky: Tensor) -> Tensor:
        """Take central slices.

        Parameters
        ----------
        rotations : Tensor
            ``(r, 3, 3)``: image frame to volume frame; column 0 is where the image's x axis lies in the volume.
        kx, ky : Tensor
            ``(m,)`` frequencies, px of the unpadded box.

        Returns
        -------
        Tensor
            ``(r, m)`` complex64.
        """
        return self.at(slice_points(rotations, kx, ky))[..., 0]


def weighted_rows(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Sum the rows of a table at the corners of points, see :meth:`SliceGrid.corners`: ``(p, channels)``."""
    return embedding_bag(index.T.contiguous(), table, per_sample_weights=weight.T.contiguous(), mode="sum")


def slice_points(rotations: Tensor, kx: Tensor, ky: Tensor) -> Tensor:
    """Return where the pixels of slices lie in the volume, ``(r, m, 3)`` as x, y, z."""
    return torch.einsum("rij,jm->rmi", rotations[:, :, :2], torch.stack((kx, ky)).to(rotations.dtype))


def slice_table(volume: Tensor, radius: float) -> SliceTable:
    """Prepare a volume for slicing.

    Parameters
    ----------
    volume : Tensor
        ``(b, b, b)``, real, origin at the centre.
    radius : float
        Largest frequency that will be asked for, px.

    Returns
    -------
    SliceTable
        Values scaled so that a slice is the centred transform of the volume's projection.
    """
    box = volume.shape[-1]
    grid = SliceGrid(box, min(radius, box / 2 - 1))
    entries = half_transform(volume / sinc2_correction(box, volume.device), grid)
    return SliceTable(grid, torch.view_as_real(entries).reshape(-1, 2))


def half_transform(volume: Tensor, grid: SliceGrid) -> Tensor:
    """Centred transform of a zero-padded ``(b, b, b)`` volume at the entries of a grid, ``(z, y, x)`` complex64.

    Each axis is cut to the grid as soon as it is transformed, so that little of the padding is ever computed.
    """
    padded = PADDING * grid.box
    side = torch.arange(-grid.extent, grid.extent + 1, device=volume.device)
    phase = _centring(side)
    x = torch.fft.rfft(volume, n=padded, dim=2)[:, :, : grid.extent + 1] * phase[grid.extent :]
    y = torch.fft.fft(x, n=padded, dim=1)[:, side % padded] * phase[:, None]
    result = torch.empty(grid.shape, dtype=torch.complex64, device=volume.device)
    torch.mul(torch.fft.fft(y, n=padded, dim=0)[side % padded], phase[:, None, None], out=result[..., 1:])
    result[..., 0] = result[..., 2].flip(0, 1).conj()
    return result


def _centring(frequencies: Tensor) -> Tensor:
    """Factor along an axis that moves a volume's first voxel from the origin to where its centre lies there."""
    quarter_turns = torch.tensor([1, 1j, -1, -1j], dtype=torch.complex64, device=frequencies.device)
    return quarter_turns[frequencies % 4]  # half a box of a transform padded twofold


class SliceAccumulator:
    """Sums of inserted slices and of their weights: the adjoint of slicing.

    Parameters
    ----------
    grid : SliceGrid
        Where the entries lie.
    device : torch.device or str
        Where the sums are kept.
    """

    def __init__(self, grid: SliceGrid, device: torch.device | str = "cpu") -> None:
        self.grid = grid
        entries = grid.shape[0] * grid.shape[1] * grid.shape[2]
        self.sums = torch.zeros((3, entries), device=device)  # real, imaginary, weight

    def insert(self, points: Tensor, values: Tensor, weights: Tensor) -> None:
        """Add values and weights at points.

        Parameters
        ----------
        points : Tensor
            ``(..., 3)``, px of the unpadded box.
        values, weights : Tensor
            ``(...)`` complex64 and float32.
        """
        points, values, weights = points.reshape(-1, 3), values.reshape(-1), weights.reshape(-1)
        size = CHUNK_POINTS if points.device.type == "cpu" else max(1, len(points))
        for some, value, share in zip(points.split(size), values.split(size), weights.split(size), strict=True):
            index, corner_weight, mirrored = self.grid.corners(some)
            imaginary = torch.where(mirrored, -value.imag, value.imag)
            flat = index.long().flatten()
            # One scatter per channel: adding rows of three at once is several times slower.
            for channel, part in enumerate((value.real, imaginary, share)):
                self.sums[channel].scatter_add_(0, flat, (corner_weight * part).flatten())

    def folded(self) -> Tensor:
        """Sums with the two copies of the planes at x = -1 and 1, and of x = 0, joined: ``(z, y, x, 3)``."""
        result = self.sums.T.contiguous().reshape(*self.grid.shape, 3)
        mirror = torch.tensor([1.0, -1.0, 1.0], device=result.device)
        result[:, :, 2] += result[:, :, 0].flip(0, 1) * mirror
        result[:, :, 1] += result[:, :, 1].flip(0, 1) * mirror
        result[:, :, 0] = result[:, :, 2].flip(0, 1) * mirror
        return result


def volume_from_sums(entries: Tensor, grid: SliceGrid) -> Tensor:
    """Return the volume of a half volume of inserted and weighted slices.

    Parameters
    ----------
    entries : Tensor
        ``(z, y, x)`` complex64 on the grid.

    Returns
    -------
    Tensor
        ``(b, b, b)``, interpolation envelope divided out.
    """
    box, padded = grid.box, PADDING * grid.box
    reach = min(grid.extent, padded // 2 - 1)
    frequencies = torch.arange(-reach, reach + 1, device=entries.device)
    rows, phase = frequencies % padded, _centring(frequencies).conj()
    side = slice(grid.extent - reach, grid.extent + reach + 1)
    z = _spread(entries[side, side, 1 : reach + 2] * phase[:, None, None], rows, padded, 0)[:box]
    y = _spread(z * phase[:, None], rows, padded, 1)[:, :box]
    volume = torch.fft.irfft(y * phase[reach:], n=padded, dim=2)[:, :, :box]
    return volume / sinc2_correction(box, volume.device)


def _spread(values: Tensor, rows: Tensor, padded: int, dim: int) -> Tensor:
    """Inverse transform along a dimension of which only some frequencies are not zero."""
    shape = list(values.shape)
    shape[dim] = padded
    return torch.fft.ifft(values.new_zeros(shape).index_copy_(dim, rows, values), dim=dim)
