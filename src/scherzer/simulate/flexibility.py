"""Smooth random deformations: every particle is bent, twisted, stretched and sheared a little.

A deformation moves each atom by a quadratic polynomial of its position: the linear part holds stretching, breathing and
shear, the quadratic part bends, twists and tapers. Moving and turning the particle as a whole is left out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Unit of the polynomials' arguments.
UNIT_A = 100.0
# Fields of less variance than this, relative to the largest, are left out: flat and straight particles have some.
THINNEST = 1e-7


def polynomial_terms(positions_A: Tensor) -> Tensor:
    """Return 1, x, y, z and their six products for positions ``(p, 3)``, in units of 100 A: ``(p, 10)``."""
    x, y, z = (positions_A / UNIT_A).T
    return torch.stack((torch.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z), dim=1)


def draw_deformations(rng: np.random.Generator, count: int, positions_A: Tensor, flexibility_A: float) -> Tensor:
    """Draw deformations.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    count : int
        Number of particles.
    positions_A : Tensor
        ``(p, 3)``: where the atoms are.
    flexibility_A : float
        Root mean square displacement over atoms and particles.

    Returns
    -------
    Tensor
        ``(count, 10, 3)`` float32: :func:`polynomial_terms` of the atoms times these are the atoms' new positions, A.
    """
    terms = polynomial_terms(positions_A.double()).numpy()
    spread, axes = np.linalg.eigh(terms.T @ terms / len(terms))
    kept = spread > THINNEST * spread[-1]
    # Coefficients times "shape" are fields of unit mean square over the atoms, at right angles to each other.
    root = np.sqrt(spread[kept])
    shape, inverse = axes[:, kept] / root, (axes[:, kept] * root).T
    rigid = np.linalg.svd((inverse @ _rigid_motions()).reshape(6, -1), full_matrices=False)
    whole = rigid[2][rigid[1] > 1e-6 * rigid[1][0]]
    freedom = 3 * len(root) - len(whole)
    fields = rng.normal(size=(count, 3 * len(root)))
    fields -= fields @ whole.T @ whole
    moved = shape @ fields.reshape(count, len(root), 3) * (flexibility_A / np.sqrt(max(freedom, 1)))
    at_rest = np.zeros((10, 3))
    at_rest[1:4] = UNIT_A * np.eye(3)
    return torch.from_numpy(at_rest + moved).float()


def _rigid_motions() -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]]:
    """Coefficients ``(6, 10, 3)`` of three shifts and three small turns."""
    motions = np.zeros((6, 10, 3))
    motions[:3, 0] = np.eye(3)
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        motions[3 + axis, 1 + first, second] = 1
        motions[3 + axis, 1 + second, first] = -1
    return motions
