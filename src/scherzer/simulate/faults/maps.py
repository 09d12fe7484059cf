"""Random shapes: smooth fields and irregular outlines, drawn coarsely and brought to the pixels of the field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Float32Array = NDArray[np.float32]

# Shapes vary over more than this, A; sharp edges are cut in the upsampled distance from them.
NODE_SPACING_A = 8.0


@dataclass(frozen=True)
class Nodes:
    """A coarse grid over the field, on every ``step``-th pixel.

    Attributes
    ----------
    shape : tuple of int
        ``(H, W)`` of the field.
    step : int
        Distance of the nodes, px.
    pixel_size_A : float
        Of the field.
    """

    shape: tuple[int, int]
    step: int
    pixel_size_A: float

    @classmethod
    def over(cls, shape: tuple[int, int], pixel_size_A: float) -> Nodes:
        """Nodes about `NODE_SPACING_A` apart."""
        return cls(shape, max(1, round(NODE_SPACING_A / pixel_size_A)), pixel_size_A)

    @property
    def counts(self) -> tuple[int, int]:
        """Rows and columns of nodes; the last ones lie on or beyond the field's end."""
        return tuple(-(-(side - 1) // self.step) + 1 for side in self.shape)  # type: ignore[return-value]

    @property
    def y_A(self) -> Float32Array:
        """``(r, 1)`` from the field's first row."""
        return (np.arange(self.counts[0], dtype=np.float32) * (self.step * self.pixel_size_A))[:, None]

    @property
    def x_A(self) -> Float32Array:
        """``(1, c)`` from the field's first column."""
        return (np.arange(self.counts[1], dtype=np.float32) * (self.step * self.pixel_size_A))[None, :]

    @property
    def sides_A(self) -> tuple[float, float]:
        """Height and width of the field."""
        return self.shape[0] * self.pixel_size_A, self.shape[1] * self.pixel_size_A

    def pixels(self, values: NDArray[np.floating]) -> Float32Array:
        """Bring values at the nodes to all pixels, ``(H, W)``, linearly between nodes."""
        rows, columns = ((count - 1) * self.step + 1 for count in self.counts)
        coarse = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None, None]
        fine = torch.nn.functional.interpolate(coarse, (rows, columns), mode="bilinear", align_corners=True)
        return np.asarray(fine[0, 0, : self.shape[0], : self.shape[1]].numpy())

    def values(self, pixels: Float32Array) -> Float32Array:
        """Average a field around each node, ``(r, c)``."""
        reach = self.step // 2
        coarse = torch.nn.functional.avg_pool2d(
            torch.from_numpy(pixels)[None, None], 2 * reach + 1, self.step, reach, count_include_pad=False
        )
        lacking = [(0, count - have) for count, have in zip(self.counts, coarse.shape[2:], strict=True)]
        return np.pad(coarse[0, 0].numpy(), lacking, mode="edge")

    def patch(self, values: NDArray[np.floating], rows: slice, columns: slice) -> tuple[Float32Array, int, int]:
        """Bring values at the nodes of some rows and columns to pixels, with the patch's first row and column."""
        part = Nodes(
            ((rows.stop - 1 - rows.start) * self.step + 1, (columns.stop - 1 - columns.start) * self.step + 1),
            self.step,
            self.pixel_size_A,
        )
        fine = part.pixels(values)
        top, left = rows.start * self.step, columns.start * self.step
        return fine[: self.shape[0] - top, : self.shape[1] - left], top, left

    def smooth(self, rng: np.random.Generator, length_A: float) -> Float32Array:
        """Draw a Gaussian field of unit variance at the nodes, ``(r, c)``, that varies over a length."""
        sigma = length_A / (self.step * self.pixel_size_A)
        # What varies slowly is drawn on fewer points still.
        thin = max(1, int(sigma / 3))
        counts = Nodes(self.counts, thin, 1.0).counts
        field = gaussian_filter(rng.standard_normal(counts, dtype=np.float32), sigma / thin, mode="wrap")
        field *= _smoothing_loss(sigma / thin)
        fine = Nodes((self.counts[0], self.counts[1]), thin, 1.0).pixels(field)
        return np.ascontiguousarray(fine)


def _smoothing_loss(sigma: float) -> np.float32:
    """Standard deviation of white noise over that of the same smoothed by a Gaussian in two dimensions."""
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    return np.float32(kernel.sum() ** 2 / (kernel**2).sum())


def step(distance_A: NDArray[np.floating], width_A: float) -> Float32Array:
    """Rise from 0 to 1 around distance 0, over about a width."""
    return np.asarray(0.5 + 0.5 * np.tanh(distance_A * np.float32(1 / width_A)), dtype=np.float32)


def slice_near(nodes: Nodes, y_A: float, x_A: float, reach_A: float) -> tuple[slice, slice] | None:
    """Rows and columns of nodes within a distance of a point; None where the field is not that near."""
    slices = []
    for centre_A, count in zip((y_A, x_A), nodes.counts, strict=True):
        spacing_A = nodes.step * nodes.pixel_size_A
        first = max(0, int(np.floor((centre_A - reach_A) / spacing_A)))
        last = min(count - 1, int(np.ceil((centre_A + reach_A) / spacing_A)))
        if last - first < 1:
            return None
        slices.append(slice(first, last + 1))
    return slices[0], slices[1]


def blob_distance_A(
    nodes: Nodes, centre_A: tuple[float, float], radius_A: float, uneven: Float32Array, share: float
) -> Float32Array:
    """Distance from an irregular outline at the nodes, A, positive inside.

    Parameters
    ----------
    nodes : Nodes
        Where.
    centre_A : pair of float
        Row and column.
    radius_A : float
        Mean radius.
    uneven : ndarray
        ``(r, c)`` of unit variance, what moves the outline.
    share : float
        By how much, as a share of the radius.
    """
    distance = radius_A - np.hypot(nodes.y_A - centre_A[0], nodes.x_A - centre_A[1])
    return np.asarray(distance + share * radius_A * uneven, dtype=np.float32)
