"""The Fourier pixels that take part in a comparison."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Band:
    """Every independent Fourier pixel of a ``(box, box)`` image between two radii.

    One of each pair of conjugate pixels is kept, and the origin never, so a sum over the band counts every
    independent complex number once and needs no weights.

    Attributes
    ----------
    box : int
        Box of the images, px.
    kx, ky : Tensor
        ``(m,)`` float32 frequencies, px (cycles per box), ``kx > 0`` or ``kx == 0 and ky > 0``; sorted by radius.
    """

    box: int
    kx: Tensor
    ky: Tensor

    def within(self, radius: float) -> Band:
        """Return the part up to a radius; it comes first, since a band is sorted by radius."""
        count = int((self.kx**2 + self.ky**2 <= radius**2).sum())
        return Band(self.box, self.kx[:count], self.ky[:count])

    def __len__(self) -> int:
        return len(self.kx)

    @property
    def shell(self) -> Tensor:
        """Shell number (rounded radius) of every pixel, ``(m,)`` int64."""
        return torch.round(torch.hypot(self.kx, self.ky)).long()

    @property
    def index(self) -> Tensor:
        """Where the pixels lie in a flattened ``(box, box // 2 + 1)`` rfft, ``(m,)`` int64."""
        return (self.ky.long() % self.box) * (self.box // 2 + 1) + self.kx.long()

    def take(self, transforms: Tensor) -> Tensor:
        """Cut the band out of ``(..., box, box // 2 + 1)`` transforms: ``(..., m)``."""
        return transforms.flatten(-2)[..., self.index]

    def put(self, values: Tensor) -> Tensor:
        """Lay ``(..., m)`` complex values of a band into otherwise empty ``(..., box, box // 2 + 1)`` transforms."""
        result = values.new_zeros((*values.shape[:-1], self.box, self.box // 2 + 1))
        result.flatten(-2)[..., self.index] = values
        column = self.kx == 0  # the x = 0 column holds both members of a conjugate pair
        result[..., (-self.ky[column].long()) % self.box, 0] = values[..., column].conj()
        return result


def make_band(box: int, radius: float, inner: float = 0.0, device: torch.device | str = "cpu") -> Band:
    """Return the band ``inner < |k| <= radius`` (px) of a box, sorted by radius; the Nyquist lines are left out."""
    side = torch.arange(-(box // 2) + 1, box // 2, device=device)
    ky, kx = torch.meshgrid(side, torch.arange(box // 2, device=device), indexing="ij")
    square = kx**2 + ky**2
    inside = (square <= radius**2) & (square > inner**2) & ((kx > 0) | (ky > 0))
    order = torch.argsort(square[inside], stable=True)
    return Band(box, kx[inside][order].float(), ky[inside][order].float())
