"""The simulated field: the image with a margin around it, and its spatial frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft

# Delocalised signal reaches into the image from so far outside at least and at most, A.
MARGIN_A = (100.0, 600.0)
# Rows of a transform that are worked on at once; they fit the processor's cache.
BLOCK_ROWS = 64
# Entries of a table over the radius: the nearest one is within 1e-3 of a curve that falls as exp(-100 k^2).
TABLE = 1 << 14

Array = NDArray[np.float32]
ComplexArray = NDArray[np.complex64]


@dataclass(frozen=True)
class FieldGrid:
    """The field, so much larger than the image that nothing wraps around into it.

    Attributes
    ----------
    height, width : int
        Of the field, px; even.
    margin_px : int
        Distance from the field's corner to the image's.
    pixel_size_A : float
        Pixel size.
    """

    height: int
    width: int
    margin_px: int
    pixel_size_A: float

    @cached_property
    def kx(self) -> Array:
        """``(w // 2 + 1,)``, 1/A."""
        return np.fft.rfftfreq(self.width, self.pixel_size_A).astype(np.float32)

    @cached_property
    def ky(self) -> Array:
        """``(h,)``, 1/A."""
        return np.fft.fftfreq(self.height, self.pixel_size_A).astype(np.float32)

    @cached_property
    def radii(self) -> torch.Tensor:
        """Radii of the entries of a table, 1/A; curves over the radius are evaluated here."""
        return torch.linspace(0, float(np.hypot(self.kx[-1], np.abs(self.ky).max())), TABLE)

    @property
    def blocks(self) -> list[slice]:
        """The rows of a transform in pieces."""
        return [slice(start, min(start + BLOCK_ROWS, self.height)) for start in range(0, self.height, BLOCK_ROWS)]

    def place(self, rows: slice) -> NDArray[np.int32]:
        """Entry of a table nearest to each frequency of some rows of a transform."""
        k = np.sqrt(self.kx**2 + self.ky[rows, None] ** 2)
        return (k * np.float32((TABLE - 1) / float(self.radii[-1])) + np.float32(0.5)).astype(np.int32)

    def transform(self, field: Array) -> ComplexArray:
        """Transform a real field: ``(h, w // 2 + 1)``."""
        return np.asarray(fft.rfft2(field))

    def field(self, transform: ComplexArray) -> Array:
        """Return the field of a transform, which is overwritten."""
        return np.asarray(fft.irfft2(transform, s=(self.height, self.width), overwrite_x=True))

    def cut(self, field: NDArray[Any], height_px: int, width_px: int) -> NDArray[Any]:
        """Return the image's part of a field."""
        return field[self.margin_px : self.margin_px + height_px, self.margin_px : self.margin_px + width_px]


def field_grid(height_px: int, width_px: int, pixel_size_A: float, reach_A: float) -> FieldGrid:
    """Return the field that an image needs, with sides for which transforms are fast.

    Parameters
    ----------
    height_px, width_px : int
        Of the image.
    pixel_size_A : float
        Pixel size.
    reach_A : float
        How far signal is delocalised; the margin is held between the bounds of `MARGIN_A`.
    """
    margin = int(np.ceil(min(max(reach_A, MARGIN_A[0]), MARGIN_A[1]) / pixel_size_A))
    height, width = (2 * int(fft.next_fast_len((side + 2 * margin + 1) // 2)) for side in (height_px, width_px))
    return FieldGrid(height, width, margin, pixel_size_A)
