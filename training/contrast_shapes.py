"""Made-up particles for training the contrast classifier: bodies of protein of many shapes, textures and sizes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.stats import qmc

from scherzer.formats.models import Atoms
from scherzer.geometry.point_groups import point_group
from scherzer.physics.scattering import DISPLACED_A3
from scherzer.simulate.specimen import Specimen, specimen_of

# Kinds of bodies and how often they are drawn. Most particles that are recorded are oligomers.
KINDS = {"ball": 1, "shell": 1, "rod": 1, "disc": 1, "ring": 1, "lobes": 1, "chain": 1, "oligomer": 5}
SYMMETRIES = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "D2", "D3", "D4", "D5", "D6", "D7", "T", "O", "I")
DIAMETERS_A = (75.0, 290.0)
# Potential of the bodies, relative to that of neutral atoms: about 0.7, which real apo-ferritin has (docs/realism.md).
CONTRASTS = (0.5, 1.0)
# Domains leave gaps: so often a body has them, they take up to so much of it, and lie at such distances, A.
GAPS_SHARE, MOST_GAPS, GAP_SPACINGS_A, WAVES = 0.7, 0.5, (22.0, 80.0), 30
# So often something lighter fills a layer around or in the body: detergent, lipid, sugar, disordered chains.
LIGHT_SHARE, LIGHT_DENSITIES = 0.25, (0.15, 0.6)
# A body is made of at most so many atoms, each standing for several. Fewer atoms scatter more at high frequency; a
# larger B-factor takes that back where the noise is measured, at 6 A.
MOST_ATOMS, PLACES = 5000, 60_000
B_FACTOR_A2, NOISE_A = 40.0, 6.0
# Atoms that lie apart by so many times their usual distance, and by so much, A, do not hold together; a body whose
# largest piece is less than this share of it is in pieces.
APART, LEAST_APART_A, ONE_PIECE = 2.2, 10.0, 0.95


def draw_shape(rng: np.random.Generator) -> Specimen:
    """Draw a particle."""
    kind = str(rng.choice(list(KINDS), p=np.array(list(KINDS.values())) / sum(KINDS.values())))
    diameter_A = float(np.exp(rng.uniform(*np.log(DIAMETERS_A))))
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
    density = _inside(kind, places, rng).astype(float)
    if rng.random() < GAPS_SHARE:
        density *= _solid(places * diameter_A / 2, density > 0, rng)
    if rng.random() < LIGHT_SHARE:
        density = np.where(density > 0, density, rng.uniform(*LIGHT_DENSITIES) * _layer(places, rng))
    filled = np.flatnonzero(density)
    volume_A3 = len(filled) / len(places) * 4 / 3 * np.pi * (diameter_A / 2) ** 3
    points, density = places[filled[:MOST_ATOMS]], density[filled[:MOST_ATOMS]]
    count = len(points)
    share = volume_A3 / DISPLACED_A3 / count
    return Atoms(
        points * diameter_A / 2,
        rng.choice(np.array(["C", "N", "O"]), count, p=[0.64, 0.17, 0.19]),
        np.full(count, B_FACTOR_A2 + 2 * NOISE_A**2 * math.log(max(share, 1.0))),
        share * density,
    )


def in_one_piece(atoms: Atoms) -> bool:
    """Whether a body hangs together: one in pieces looks like several particles."""
    tree = cKDTree(atoms.positions_A)
    usual_A = float(np.median(tree.query(atoms.positions_A, 2)[0][:, 1]))
    near = tree.sparse_distance_matrix(tree, max(LEAST_APART_A, APART * usual_A), output_type="coo_matrix")
    pieces = np.bincount(connected_components(near, directed=False)[1], weights=atoms.occupancies)
    return bool(pieces.max() > ONE_PIECE * pieces.sum())


def _solid(points_A: NDArray[np.float64], inside: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which points lie in no gap: where a sum of waves in all directions is not lowest."""
    towards = rng.normal(size=(WAVES, 3))
    spacing_A = np.exp(rng.uniform(*np.log(GAP_SPACINGS_A), WAVES))
    waves = 2 * np.pi * towards / np.linalg.norm(towards, axis=1, keepdims=True) / spacing_A[:, None]
    height = np.cos(points_A @ waves.T + rng.uniform(0, 2 * np.pi, WAVES)).sum(1)
    return np.asarray(height >= np.quantile(height[inside], rng.uniform(0, MOST_GAPS)))


def _layer(u: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    across = np.hypot(u[:, 0], u[:, 1])
    return np.asarray(
        (np.abs(u[:, 2] - rng.uniform(-0.5, 0.5)) < rng.uniform(0.1, 0.4)) & (across < rng.uniform(0.5, 1))
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
    if kind == "oligomer":
        group = point_group(str(rng.choice(SYMMETRIES))).double().numpy()
        lobes, filled = rng.integers(1, 5), rng.uniform(0.2, 0.65)
        reach = (filled / len(group) / lobes) ** (1 / 3) * rng.uniform(0.9, 1.3)
        centres = np.cumsum(rng.normal(size=(lobes, 3)) * rng.uniform(0.3, 2), axis=0)
        centres *= rng.uniform(0.2, 0.95, (lobes, 1)) / np.linalg.norm(centres, axis=1, keepdims=True)
        return _near(u, np.einsum("gij,nj->gni", group, centres).reshape(-1, 3), max(reach, 0.15))
    raise ValueError(f"unknown shape {kind}")


def _near(u: NDArray[np.float64], centres: NDArray[np.float64], reach: float) -> NDArray[np.bool_]:
    return np.asarray(cKDTree(centres).query(u)[0] < reach)
