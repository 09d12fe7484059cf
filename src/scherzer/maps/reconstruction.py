"""Particles with poses to a map: insertion, symmetry and the Wiener filter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from scherzer.fourier.filters import cosine_edge
from scherzer.fourier.grids import centred_rfftn, square_modulus
from scherzer.fourier.shells import shell_mean
from scherzer.fourier.slices import SliceAccumulator, SliceGrid, slice_points, volume_from_sums
from scherzer.likelihood.score import ScoredImages
from scherzer.maps.symmetrise import symmetrise_sums

CHUNK_PIXELS = 2**19  # image pixels inserted at a time
WEIGHT_FLOOR = 1e-3  # of the shell's mean weight: rarely seen directions are not blown up


def insert_images(
    accumulator: SliceAccumulator, images: ScoredImages, rotations: Tensor, shift_px: Tensor, weight: Tensor
) -> None:
    """Add images at poses to sums: the adjoint of the image model, weighted by noise.

    Parameters
    ----------
    images : ScoredImages
        n images, not moved.
    rotations, shift_px, weight : Tensor
        ``(n, 3, 3)``, ``(n, 2)`` and ``(n,)``.
    """
    band = images.band
    size = max(1, CHUNK_PIXELS // len(band))
    for start in range(0, len(images), size):
        rows = slice(start, start + size)
        part = images[rows].shifted_back(shift_px[rows])
        points = slice_points(rotations[rows], band.kx, band.ky)
        share = weight[rows, None]
        accumulator.insert(points, part.data * share, part.power * share)


@dataclass(frozen=True)
class SymmetricSums:
    """Inserted data and weights of a map after its point group was imposed.

    Attributes
    ----------
    grid : SliceGrid
        Where the entries lie.
    sums : Tensor
        ``(z, y, x, 3)`` real and imaginary part and weight.
    """

    grid: SliceGrid
    sums: Tensor

    def __add__(self, other: SymmetricSums) -> SymmetricSums:
        return SymmetricSums(self.grid, self.sums + other.sums)

    @cached_property
    def shell(self) -> Tensor:
        """Shell number of every entry, ``(z, y, x)`` int32; ``b // 2 + 1`` beyond the radius of the grid."""
        radius = self.grid.radii(self.sums.device)
        beyond = radius > self.grid.radius
        return radius.round_().masked_fill_(beyond, self.grid.box // 2 + 1).int()

    @cached_property
    def mean_weight(self) -> Tensor:
        """Mean weight in every shell, ``(b // 2 + 2,)``."""
        shell, size = self.shell.flatten(), self.grid.box // 2 + 2
        totals = torch.bincount(shell, weights=self.sums[..., 2].flatten().double(), minlength=size)
        return (totals / torch.bincount(shell, minlength=size).clamp(min=1)).float()


def symmetric(accumulator: SliceAccumulator, group: Tensor) -> SymmetricSums:
    """Impose a ``(g, 3, 3)`` point group on inserted data."""
    return SymmetricSums(accumulator.grid, symmetrise_sums(accumulator.folded(), accumulator.grid, group))


def solve(symmetrised: SymmetricSums, fsc: Tensor | None = None) -> Tensor:
    """Divide inserted data by their weights.

    Parameters
    ----------
    symmetrised : SymmetricSums
        The sums.
    fsc : Tensor, optional
        ``(b // 2 + 1,)`` correlation of this map with an independent one of as many particles. The prior's precision
        in a shell is its mean weight times (1 - FSC) / FSC, so that a shell without correlation fades out
        (Scheres 2012, J. Mol. Biol. 415, 406, with the spectrum of the signal taken from the FSC). Without it only
        the weights are divided out.

    Returns
    -------
    Tensor
        ``(b, b, b)``.
    """
    sums, mean = symmetrised.sums, symmetrised.mean_weight
    ratio = torch.full_like(mean, WEIGHT_FLOOR)
    if fsc is not None:
        clamped = fsc.clamp(0.001, 0.999).float()
        ratio[:-1] = ((1 - clamped) / clamped).clamp(min=WEIGHT_FLOOR)
    prior = mean * ratio
    prior[-1] = torch.inf  # beyond the grid's radius there is nothing
    inverse = (sums[..., 2] + prior[symmetrised.shell]).clamp_(min=1e-20).reciprocal_()
    return volume_from_sums(torch.view_as_complex(sums[..., :2] * inverse[..., None]), symmetrised.grid)


def spherical_mask(box: int, pixel_size_A: float, diameter_A: float, edge_A: float, device: torch.device) -> Tensor:
    """Soft sphere: 1 within ``diameter_A / 2``, 0 from ``edge_A`` further out; ``(b, b, b)``."""
    axis = (torch.arange(box, device=device, dtype=torch.float32) - box // 2) * pixel_size_A
    radius = torch.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    return cosine_edge(radius, diameter_A / 2, diameter_A / 2 + edge_A)


def radial_power(volume: Tensor) -> Tensor:
    """Mean power of a map's transform per shell, ``(b // 2 + 1,)``."""
    return shell_mean(square_modulus(centred_rfftn(volume)), 3).float()
