"""Ice that lies on the film: frost, and the larger balls and plates of contamination."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scherzer.simulate.faults.maps import Float32Array, Nodes, slice_near

# Diameters of frost, A, as on micrographs of apo-ferritin (EMPIAR-10146); of contamination (median, scatter of the
# logarithm, limits): plausible values, from micrographs labelled as contaminated.
FROST_A = (100.0, 250.0)
BALL_MEDIAN_A, BALL_SCATTER, BALL_A = 520.0, 0.65, (300.0, 4000.0)
# Grains in each um^2 of a micrograph that is called contaminated, at least this many in a field.
BALLS_PER_UM2, FEWEST_BALLS = 55.0, 3
# Share of the grains that settle against one before them, and of the grains of frost that lie near one.
IN_CHAINS, FROST_NEAR = 0.3, 0.5
# How near, A: standard deviation along each axis.
NEAR_A = 300.0
# Corners of grains are the sharper, the more.
ROUNDING = 10
# Share of the grains with straight sides.
POLYGONS = 0.35
# Ice higher than this counts as contamination, A.
VISIBLE_A = 30.0


Circle = tuple[float, float, float]


def frost(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size_A: float, per_um2: float
) -> tuple[Float32Array, list[Circle]]:
    """Draw small round grains of frost, many of them in groups.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    shape : tuple of int
        ``(H, W)``.
    pixel_size_A : float
        Pixel size.
    per_um2 : float
        Grains in each um^2.

    Returns
    -------
    ndarray
        ``(H, W)`` height of the ice, A.
    list of tuple
        Row, column and mean radius of each grain, A.
    """
    height_A, width_A = shape[0] * pixel_size_A, shape[1] * pixel_size_A
    heights, nodes = np.zeros(shape, np.float32), Nodes.over(shape, pixel_size_A)
    grains: list[Circle] = []
    for _ in range(rng.poisson(per_um2 * height_A * width_A * 1e-8)):
        place_A = rng.uniform(0, height_A), rng.uniform(0, width_A)
        if grains and rng.random() < FROST_NEAR:
            other = grains[rng.integers(len(grains))]
            place_A = other[0] + rng.normal(0, NEAR_A), other[1] + rng.normal(0, NEAR_A)
        grains.append((*place_A, rng.uniform(*FROST_A) / 2))
    for grain in grains:
        _pile(heights, nodes, grain, _round_outline(rng), 2 * grain[2] * rng.uniform(0.3, 0.6), 2.0)
    return heights, grains


def ice_balls(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size_A: float
) -> tuple[Float32Array, list[Circle]]:
    """Draw the large grains of a contaminated micrograph: round, long or polygonal, some in chains.

    Parameters and results are those of `frost`.
    """
    nodes = Nodes.over(shape, pixel_size_A)
    height_A, width_A = nodes.sides_A
    heights = np.zeros(shape, np.float32)
    grains: list[Circle] = []
    for _ in range(FEWEST_BALLS + rng.poisson(BALLS_PER_UM2 * height_A * width_A * 1e-8)):
        radius_A = float(np.clip(BALL_MEDIAN_A * np.exp(rng.normal(0, BALL_SCATTER)), *BALL_A) / 2)
        place_A = rng.uniform(0, height_A), rng.uniform(0, width_A)
        if grains and rng.random() < IN_CHAINS:
            place_A = _beside(rng, grains[rng.integers(len(grains))], radius_A)
        grains.append((*place_A, radius_A))
        outline = _polygon(rng) if rng.random() < POLYGONS else _round_outline(rng)
        # The larger, the flatter.
        thick_A = 2 * radius_A * rng.uniform(0.15, 0.6) / (1 + radius_A / 1500)
        _pile(heights, nodes, grains[-1], outline, thick_A, rng.uniform(2.0, 5.0))
    return heights, grains


@dataclass(frozen=True)
class _Outline:
    """Edge of a grain of unit radius: waves around a long circle, cut by straight sides."""

    stretch: float
    axis_rad: float
    waves: NDArray[np.float64]
    phases: NDArray[np.float64]
    side_angles: NDArray[np.float64]
    side_distances: NDArray[np.float64]

    def share(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> Float32Array:
        """Distance from the middle in units of that of the edge."""
        along = (x * np.cos(self.axis_rad) + y * np.sin(self.axis_rad)) / self.stretch
        across = (y * np.cos(self.axis_rad) - x * np.sin(self.axis_rad)) * self.stretch
        angle = np.arctan2(across, along)
        edge = np.ones_like(angle)
        for number, (wave, phase) in enumerate(zip(self.waves, self.phases, strict=True), 2):
            edge += wave * np.cos(number * angle + phase)
        share = np.hypot(along, across) / edge
        # A high power of each side's distance gives rounded corners.
        total = share**ROUNDING
        for side, distance in zip(self.side_angles, self.side_distances, strict=True):
            total += (np.clip(along * np.cos(side) + across * np.sin(side), 0, None) / distance) ** ROUNDING
        share = total ** (1 / ROUNDING)
        return np.asarray(share, dtype=np.float32)


def _round_outline(rng: np.random.Generator) -> _Outline:
    long = rng.random() < 0.3
    return _Outline(
        stretch=float(rng.uniform(1.1, 1.45) if long else rng.uniform(1.0, 1.1)),
        axis_rad=float(rng.uniform(0, np.pi)),
        waves=rng.uniform(0, 0.06, 3) / np.arange(1, 4),
        phases=rng.uniform(0, 2 * np.pi, 3),
        side_angles=np.zeros(0),
        side_distances=np.zeros(0),
    )


def _polygon(rng: np.random.Generator) -> _Outline:
    sides = int(rng.integers(4, 8))
    angles = rng.uniform(0, 2 * np.pi) + (np.arange(sides) + rng.uniform(-0.2, 0.2, sides)) * 2 * np.pi / sides
    return _Outline(
        stretch=float(rng.uniform(1.0, 1.25)),
        axis_rad=float(rng.uniform(0, np.pi)),
        waves=np.zeros(0),
        phases=np.zeros(0),
        side_angles=angles,
        side_distances=rng.uniform(0.7, 0.95, sides),
    )


def _beside(rng: np.random.Generator, other: Circle, radius_A: float) -> tuple[float, float]:
    angle = rng.uniform(0, 2 * np.pi)
    distance_A = rng.uniform(0.6, 1.0) * (other[2] + radius_A)
    return other[0] + distance_A * np.sin(angle), other[1] + distance_A * np.cos(angle)


def _pile(
    heights: Float32Array, nodes: Nodes, grain: Circle, outline: _Outline, thick_A: float, flatness: float
) -> None:
    """Add a grain: an ellipsoid where the flatness is 2, a plate with a rounded edge where it is more."""
    row_A, column_A, radius_A = grain
    near = slice_near(nodes, row_A, column_A, 1.6 * radius_A)
    if near is None:
        return
    rows, columns = near
    y, x = nodes.y_A[rows] - np.float32(row_A), nodes.x_A[:, columns] - np.float32(column_A)
    share, top, left = nodes.patch(outline.share(x / radius_A, y / radius_A), rows, columns)
    part = heights[top : top + share.shape[0], left : left + share.shape[1]]
    part += np.float32(thick_A) * np.sqrt(np.clip(1 - share ** np.float32(flatness), 0, None))
