"""Made-up particles for training the contrast classifier: protein-dense bodies of many shapes and sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.formats.models import Atoms
from scherzer.geometry.rotations import random_rotations
from scherzer.physics.scattering import DISPLACED_A3
from scherzer.simulate.specimen import project, specimen_of

# Projections are kept at this pixel: what lies beyond 8 A is far below the noise.
BANK_PIXEL_A = 4.0
VIEWS = 48
# More atoms than this are thinned out, each standing for several.
MOST_ATOMS = 15000


@dataclass(frozen=True)
class ParticleBank:
    """Projections of one particle.

    Attributes
    ----------
    name : str
        Shape and diameter.
    diameter_A : float
        Largest.
    views : Tensor
        ``(n, b, b)`` projected potential above ice, V A, at :data:`BANK_PIXEL_A`.
    """

    name: str
    diameter_A: float
    views: Tensor

    def power(self) -> Tensor:
        """Squared modulus of the transform, averaged over the views, ``(b, b)``, V^2 A^6."""
        return (torch.fft.fft2(self.views).abs().square().mean(0)) * BANK_PIXEL_A**4


def bank_of(name: str, atoms: Atoms, rng: np.random.Generator) -> ParticleBank:
    """Project a model in random orientations."""
    count = len(atoms.elements)
    if count > MOST_ATOMS:
        chosen = rng.choice(count, MOST_ATOMS, replace=False)
        atoms = Atoms(
            atoms.positions_A[chosen],
            atoms.elements[chosen],
            atoms.b_factors_A2[chosen],
            atoms.occupancies[chosen] * (count / MOST_ATOMS),
        )
    specimen = specimen_of(atoms)
    box = specimen.box_px(BANK_PIXEL_A)
    transforms = project(specimen, random_rotations(VIEWS, rng), torch.zeros(VIEWS, 2), box, BANK_PIXEL_A)
    return ParticleBank(name, 2 * specimen.radius_A, torch.fft.irfft2(transforms, s=(box, box)))


def shape_atoms(kind: str, diameter_A: float, rng: np.random.Generator) -> Atoms:
    """Fill a shape with atoms at the density of protein.

    Parameters
    ----------
    kind : str
        ball, shell, rod, disc, lobes or ring.
    diameter_A : float
        Largest diameter.
    """
    radius = diameter_A / 2
    wanted = min(int(4 / 3 * np.pi * radius**3 / DISPLACED_A3), 400_000)
    points = rng.uniform(-radius, radius, (2 * wanted, 3))
    points = points[np.linalg.norm(points, axis=1) < radius]
    share = wanted / len(points)
    points = points[_inside(kind, points / radius, rng)]
    count = len(points)
    return Atoms(
        points,
        rng.choice(np.array(["C", "N", "O"]), count, p=[0.64, 0.17, 0.19]),
        np.full(count, 40.0),
        np.full(count, share),
    )


def _inside(kind: str, u: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which points of the unit ball belong to a shape."""
    r = np.linalg.norm(u, axis=1)
    across = np.hypot(u[:, 0], u[:, 1])
    a, b = rng.uniform(0.35, 0.6), rng.uniform(0.5, 0.75)
    if kind == "ball":
        return np.asarray((u[:, 0] / b) ** 2 + (u[:, 1] / (b + 0.2)) ** 2 + u[:, 2] ** 2 < 1)
    if kind == "shell":
        return np.asarray(r > b)
    if kind == "rod":
        return np.asarray(across < a)
    if kind == "disc":
        return np.asarray(np.abs(u[:, 2]) < a)
    if kind == "ring":
        return np.asarray((np.abs(u[:, 2]) < a) & (across > 0.4))
    if kind == "lobes":
        centres = rng.normal(size=(rng.integers(3, 7), 3))
        centres *= rng.uniform(0.35, 0.7, (len(centres), 1)) / np.linalg.norm(centres, axis=1, keepdims=True)
        return np.asarray(np.linalg.norm(u[:, None] - centres, axis=2).min(1) < 0.36)
    raise ValueError(f"unknown shape {kind}")
