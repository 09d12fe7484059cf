"""Aggregated protein."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scherzer.simulate.faults.maps import Float32Array, Nodes, blob_distance_A

# Clumps in an image, their mean radius as a share of the image's side, their unevenness.
CLUMPS, RADIUS, UNEVEN = (1, 4), (0.06, 0.28), 0.35
# Protein above the ice it displaces, V: mean potential of a protein in ice; see `scherzer.physics.scattering`.
PROTEIN_V = 2.2
# Denatured protein fills this share of a clump's thickness; it is lumpy over these lengths, A.
FILLED, LUMPS_A = (0.25, 0.6), (14.0, 45.0)
# Clumps thin out over this distance, A.
EDGE_A = 60.0
# Particles outside the clumps, relative to the number without aggregation.
LEFT_OVER = (0.15, 0.6)


@dataclass(frozen=True)
class Aggregates:
    """Aggregates over the field, each array ``(H, W)``.

    Attributes
    ----------
    potential_V_A : ndarray
        Of denatured protein.
    inside : ndarray of bool
        Where the clumps lie.
    left_over : float
        Factor of the number of particles outside them.
    clumps_A : list of tuple
        Row, column and mean radius of each clump, A.
    """

    potential_V_A: Float32Array
    inside: NDArray[np.bool_]
    left_over: float
    clumps_A: list[tuple[float, float, float]]


def aggregates(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size_A: float, margin_A: float, thickness_A: float
) -> Aggregates:
    """Draw clumps of denatured protein.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    shape : tuple of int
        ``(H, W)``.
    pixel_size_A : float
        Pixel size.
    margin_A : float
        Width of the margin around the image.
    thickness_A : float
        Of the film; clumps are as thick.
    """
    nodes = Nodes.over(shape, pixel_size_A)
    image_A = [side - 2 * margin_A for side in nodes.sides_A]
    inside = np.full(nodes.counts, -1e6, np.float32)
    clumps = []
    for _ in range(rng.integers(CLUMPS[0], CLUMPS[1] + 1)):
        radius_A = float(rng.uniform(*RADIUS) * min(image_A))
        row_A, column_A = (float(margin_A + rng.uniform(0.05, 0.95) * side) for side in image_A)
        uneven = nodes.smooth(rng, 0.3 * radius_A)
        np.maximum(inside, blob_distance_A(nodes, (row_A, column_A), radius_A, uneven, UNEVEN), out=inside)
        clumps.append((row_A, column_A, radius_A))
    small, large = (nodes.smooth(rng, length_A) for length_A in LUMPS_A)
    filled = rng.uniform(*FILLED) * np.clip(1 + 0.7 * small + 0.7 * large, 0, None)
    inside_px_A = nodes.pixels(inside)
    # Clumps thin out towards their edge instead of ending at a line.
    depth = np.clip(inside_px_A / np.float32(EDGE_A), 0, 1)
    potential = nodes.pixels(PROTEIN_V * thickness_A * np.clip(filled, 0, 1)) * depth
    return Aggregates(potential, inside_px_A > 0, float(rng.uniform(*LEFT_OVER)), clumps)
