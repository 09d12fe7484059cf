"""A made-up protein: helices and coil packed into lobes, repeated by a point group.

It scatters as a protein does (real atoms at a protein's density, helices for the 10 A peak, detail to atomic distances)
and is not a shell: each asymmetric unit is a chain of lobes that reaches from near the centre to the rim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scherzer.formats.models import Atoms
from scherzer.geometry.point_groups import point_group
from scherzer.physics.scattering import DISPLACED_A3

Points = NDArray[np.float64]

LOBES = 3
LOBE_RADII = (0.42, 0.66, 0.86)  # distance of the lobes from the centre, in radii of the particle
FILLED = 0.5  # share of the particle's sphere that protein takes
HELIX_SPACING_A = 9.0
CONTACT_A = 1.9
SIDE_CHAIN_A = 6.0  # reach of a helix from its axis
HELIX_TRIES = 3000
B_FACTOR_A2 = 30.0
# One residue of an alpha helix: element, radius (A), angle (degree), rise (A); side chains point outward.
RESIDUE = (
    ("N", 1.55, -28, -0.9),
    ("C", 2.28, 0, 0.0),
    ("C", 1.66, 26, 1.1),
    ("O", 2.02, 22, 2.3),
    ("C", 3.30, -14, -0.3),
    ("C", 4.60, -8, 0.5),
    ("C", 5.70, 4, -0.6),
)


@dataclass(frozen=True)
class _Unit:
    """The asymmetric unit while it is being filled."""

    group: Points  # (g, 3, 3)
    lobes: Points  # (l, 3)
    lobe_radius_A: float
    radius_A: float

    def contains(self, points: Points, margin_A: float = 0.0) -> NDArray[np.bool_]:
        near = np.linalg.norm(points[:, None] - self.lobes, axis=-1).min(1) < self.lobe_radius_A + margin_A
        return near & (np.linalg.norm(points, axis=-1) < self.radius_A)

    def copies(self, points: Points) -> Points:
        return np.einsum("gij,nj->gni", self.group, points).reshape(-1, 3)

    def self_distance(self, points: Points) -> Points:
        """Distance of each point to the nearest of its own symmetry copies, ``(n,)``."""
        if len(self.group) == 1:
            return np.full(len(points), np.inf)
        copies = np.einsum("gij,nj->gni", self.group[1:], points)
        return np.asarray(np.linalg.norm(copies - points, axis=-1).min(0))


def phantom_atoms(symmetry: str, diameter_A: float, seed: int = 3) -> Atoms:
    """Build the phantom.

    Parameters
    ----------
    symmetry : str
        Point group, with its axes as :func:`scherzer.geometry.point_groups.point_group` puts them.
    diameter_A : float
        Largest diameter about the symmetry's origin.
    seed : int
        Another seed is another protein.

    Returns
    -------
    Atoms
        The whole particle, centred on the origin.
    """
    rng = np.random.default_rng([seed, int(diameter_A)])
    group = point_group(symmetry).double().numpy()
    radius_A = diameter_A / 2 - 2
    lobe_radius_A = radius_A * (FILLED / len(group) / LOBES) ** (1 / 3)
    unit = _Unit(group, _lobe_centres(rng, radius_A, lobe_radius_A), lobe_radius_A * 1.15, radius_A)
    wanted = int(FILLED * 4 / 3 * np.pi * radius_A**3 / len(group) / DISPLACED_A3)
    positions, elements = _pack_helices(rng, unit, wanted)
    coil = _pack_coil(rng, unit, positions, wanted - len(positions))
    elements = np.concatenate((elements, rng.choice(["C", "N", "O"], len(coil), p=[0.64, 0.17, 0.19])))
    everything = unit.copies(np.concatenate((positions, coil)))
    count = len(everything)
    return Atoms(everything, np.tile(elements, len(group)), np.full(count, B_FACTOR_A2), np.ones(count))


def _lobe_centres(rng: np.random.Generator, radius_A: float, lobe_radius_A: float) -> Points:
    """Return a chain of lobes that winds outward."""
    direction = rng.normal(size=3)
    centres = []
    for fraction in LOBE_RADII:
        direction = direction / np.linalg.norm(direction) + rng.normal(0, 0.22, 3)
        direction /= np.linalg.norm(direction)
        centres.append(direction * min(fraction * radius_A, radius_A - 0.7 * lobe_radius_A))
    return np.array(centres)


def _pack_helices(rng: np.random.Generator, unit: _Unit, wanted: int) -> tuple[Points, NDArray[np.str_]]:
    """Place helices one after another wherever they touch neither each other nor a symmetry copy."""
    axes = np.zeros((0, 3))
    atoms: list[Points] = []
    elements: list[str] = []
    for _ in range(HELIX_TRIES):
        if len(elements) > 0.75 * wanted:
            break
        residues = int(rng.integers(7, 20))
        centre = unit.lobes[rng.integers(LOBES)] + rng.normal(0, 0.5 * unit.lobe_radius_A, 3)
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        axis = centre + np.linspace(-0.75, 0.75, residues)[:, None] * residues * direction
        reach = np.linalg.norm(axis, axis=1).max() + SIDE_CHAIN_A
        if reach > unit.radius_A or not unit.contains(axis, -2.0).all():
            continue
        if unit.self_distance(axis).min() < HELIX_SPACING_A:
            continue
        others = unit.copies(axis)
        # The copies come in the order of the group, the helix itself first.
        if np.min(_distances(axis, np.concatenate((axes, others[len(axis) :])))) < HELIX_SPACING_A:
            continue
        axes = np.concatenate((axes, others))
        positions, names = _helix(rng, axis, direction)
        atoms.append(positions)
        elements.extend(names)
    return (np.concatenate(atoms) if atoms else np.zeros((0, 3))), np.array(elements, dtype="U2")


def _distances(points: Points, others: Points) -> Points:
    """Distance of each point to the nearest of the others, infinite where there are none."""
    return np.asarray(cKDTree(others).query(points)[0]) if len(others) else np.full(len(points), np.inf)


def _helix(rng: np.random.Generator, axis: Points, direction: Points) -> tuple[Points, list[str]]:
    """Return the atoms of a right-handed alpha helix along an axis of one point a residue."""
    across = np.cross(direction, rng.normal(size=3))
    across /= np.linalg.norm(across)
    frame = np.stack((across, np.cross(direction, across), direction))
    positions, names = [], []
    for number, point in enumerate(axis):
        for element, radius, angle, rise in RESIDUE:
            turn = np.radians(100 * number + angle)
            local = np.array([radius * np.cos(turn), radius * np.sin(turn), rise])
            positions.append(point + local @ frame)
            names.append(element)
    return np.array(positions), names


def _pack_coil(rng: np.random.Generator, unit: _Unit, taken: Points, wanted: int) -> Points:
    """Fill the room that is left in the lobes with single atoms, none closer than a contact."""
    kept = np.zeros((0, 3))
    for _ in range(60):
        if len(kept) >= wanted:
            break
        start = unit.lobes[rng.integers(LOBES, size=2000)]
        points = start + rng.uniform(-1, 1, (2000, 3)) * unit.lobe_radius_A
        points = points[unit.contains(points) & (unit.self_distance(points) > CONTACT_A)]
        occupied = unit.copies(np.concatenate((taken, kept)))
        if len(occupied):
            points = points[_distances(points, occupied) > CONTACT_A]
        copies = cKDTree(unit.copies(points))
        near: Any = copies.query_ball_point(points, CONTACT_A)
        first = [min(int(other) % len(points) for other in near[index]) == index for index in range(len(points))]
        kept = np.concatenate((kept, points[np.array(first, dtype=bool)]))
    return kept[: max(wanted, 0)]
