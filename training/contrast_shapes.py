"""Made-up particles for training the contrast classifier: protein-dense bodies of many shapes and sizes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from scherzer.formats.models import Atoms
from scherzer.physics.scattering import DISPLACED_A3
from scherzer.simulate.specimen import Specimen, specimen_of

KINDS = ("ball", "shell", "rod", "disc", "ring", "lobes", "chain")
DIAMETERS_A = (75.0, 290.0)
# Potential of the bodies, relative to that of neutral atoms: about 0.7, which real apo-ferritin has (docs/realism.md).
CONTRASTS = (0.5, 1.0)
# A body is made of at most so many atoms, each standing for several. Fewer atoms scatter more at high frequency; a
# larger B-factor takes that back where the noise is measured, at 6 A.
MOST_ATOMS, PLACES = 5000, 60_000
B_FACTOR_A2, NOISE_A = 40.0, 6.0


def draw_shape(rng: np.random.Generator, kind: str | None = None, diameter_A: float | None = None) -> Specimen:
    """Draw a particle.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    kind : str, optional
        One of :data:`KINDS`.
    diameter_A : float, optional
        Largest diameter.
    """
    kind = kind or str(rng.choice(KINDS))
    diameter_A = diameter_A or float(np.exp(rng.uniform(*np.log(DIAMETERS_A))))
    return specimen_of(shape_atoms(kind, diameter_A, rng), contrast=float(rng.uniform(*CONTRASTS)))


def shape_atoms(kind: str, diameter_A: float, rng: np.random.Generator) -> Atoms:
    """Fill a shape with atoms at the density of protein.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`.
    diameter_A : float
        Largest diameter.
    rng : Generator
        Source of the shape's proportions and of the atoms' places.
    """
    # Spread evenly, as clusters of so few atoms would show.
    places = 2 * qmc.Halton(3, seed=rng).random(PLACES) - 1
    places = places[np.linalg.norm(places, axis=1) < 1]
    inside = places[_inside(kind, places, rng)]
    volume_A3 = len(inside) / len(places) * 4 / 3 * np.pi * (diameter_A / 2) ** 3
    points = inside[:MOST_ATOMS]
    count = len(points)
    share = volume_A3 / DISPLACED_A3 / count
    return Atoms(
        points * diameter_A / 2,
        rng.choice(np.array(["C", "N", "O"]), count, p=[0.64, 0.17, 0.19]),
        np.full(count, B_FACTOR_A2 + 2 * NOISE_A**2 * math.log(max(share, 1.0))),
        np.full(count, share),
    )


def _inside(kind: str, u: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which points of the unit ball belong to a shape."""
    r = np.linalg.norm(u, axis=1)
    across = np.hypot(u[:, 0], u[:, 1])
    a, b = rng.uniform(0.3, 0.6), rng.uniform(0.5, 0.8)
    if kind == "ball":
        return np.asarray((u[:, 0] / b) ** 2 + (u[:, 1] / min(b + 0.2, 1.0)) ** 2 + u[:, 2] ** 2 < 1)
    if kind == "shell":
        return np.asarray(r > b)
    if kind == "rod":
        return np.asarray(across < a)
    if kind == "disc":
        return np.asarray(np.abs(u[:, 2]) < a)
    if kind == "ring":
        return np.asarray((np.abs(u[:, 2]) < a) & (across > 0.4))
    if kind == "lobes":
        centres = rng.normal(size=(rng.integers(3, 8), 3))
        centres *= rng.uniform(0.3, 0.75, (len(centres), 1)) / np.linalg.norm(centres, axis=1, keepdims=True)
        return _near(u, centres, rng.uniform(0.25, 0.42))
    if kind == "chain":
        steps = rng.normal(size=(rng.integers(4, 12), 3))
        centres = np.cumsum(0.4 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
        centres -= centres.mean(0)
        centres *= 0.75 / np.linalg.norm(centres, axis=1).max()
        return _near(u, centres, 0.25)
    raise ValueError(f"unknown shape {kind}")


def _near(u: NDArray[np.float64], centres: NDArray[np.float64], reach: float) -> NDArray[np.bool_]:
    return np.asarray(np.linalg.norm(u[:, None] - centres, axis=2).min(1) < reach)
