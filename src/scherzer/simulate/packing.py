"""Helices and single atoms packed without touching, symmetry copies included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scherzer.formats.models import Atoms

Points = NDArray[np.float64]
Names = NDArray[np.str_]

HELIX_SPACING_A = 9.0
CONTACT_A = 1.9
RISE_A = 1.5  # of a helix, for each residue
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
COIL_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class Symmetry:
    """A point group that repeats what is packed.

    Attributes
    ----------
    group : ndarray
        ``(g, 3, 3)``, the identity first.
    """

    group: Points

    def copies(self, points: Points) -> Points:
        """All copies of points ``(n, 3)``: ``(g * n, 3)``, the points themselves first."""
        return np.einsum("gij,nj->gni", self.group, points).reshape(-1, 3)

    def self_distance(self, points: Points) -> Points:
        """Distance of each point to the nearest of its own copies, ``(n,)``."""
        if len(self.group) == 1:
            return np.full(len(points), np.inf)
        copies = np.einsum("gij,nj->gni", self.group[1:], points)
        return np.asarray(np.linalg.norm(copies - points, axis=-1).min(0))

    def repeat(self, positions_A: Points, elements: Names, b_factor_A2: float) -> Atoms:
        """Return the whole particle of the atoms of one asymmetric unit."""
        everything = self.copies(positions_A)
        count = len(everything)
        return Atoms(everything, np.tile(elements, len(self.group)), np.full(count, b_factor_A2), np.ones(count))


class HelixPile:
    """Axes of helices that are in place, with all their copies.

    Parameters
    ----------
    symmetry : Symmetry
        Repeats them.
    """

    def __init__(self, symmetry: Symmetry) -> None:
        self._symmetry = symmetry
        self._axes = np.zeros((0, 3))
        self._tree: Any = None

    def has_room(self, axis: Points) -> bool:
        """Whether a helix would keep its distance from all others and from its own copies."""
        if self._symmetry.self_distance(axis).min() < HELIX_SPACING_A:
            return False
        own = self._symmetry.copies(axis)[len(axis) :]
        if len(own) and np.linalg.norm(axis[:, None] - own, axis=-1).min() < HELIX_SPACING_A:
            return False
        return self._tree is None or self._tree.query(axis)[0].min() >= HELIX_SPACING_A

    def add(self, axis: Points) -> None:
        """Put a helix in place."""
        self._axes = np.concatenate((self._axes, self._symmetry.copies(axis)))
        self._tree = cKDTree(self._axes)


@dataclass(frozen=True)
class HelixAxis:
    """A straight axis.

    Attributes
    ----------
    centre, direction : ndarray
        ``(3,)``; the direction has unit length.
    residues : int
        Number of residues.
    """

    centre: Points
    direction: Points
    residues: int

    @classmethod
    def of_length(cls, centre: Points, direction: Points, length_A: float) -> HelixAxis:
        """Return the helix that comes closest to a length."""
        return cls(centre, direction, max(1, round(length_A / RISE_A)))

    @cached_property
    def points(self) -> Points:
        """One point for each residue, ``(residues, 3)``."""
        heights = (np.arange(self.residues) - (self.residues - 1) / 2) * RISE_A
        return self.centre + heights[:, None] * self.direction


def helix_atoms(rng: np.random.Generator, axis: HelixAxis) -> tuple[Points, list[str]]:
    """Return the atoms of a right-handed alpha helix, turned at random about its axis."""
    across = np.cross(axis.direction, rng.normal(size=3))
    across /= np.linalg.norm(across)
    frame = np.stack((across, np.cross(axis.direction, across), axis.direction))
    positions, names = [], []
    for number, point in enumerate(axis.points):
        for element, radius, angle, rise in RESIDUE:
            turn = np.radians(100 * number + angle)
            local = np.array([radius * np.cos(turn), radius * np.sin(turn), rise])
            positions.append(point + local @ frame)
            names.append(element)
    return np.array(positions), names


def pack_coil(symmetry: Symmetry, draw: Callable[[int], Points], taken: Points, wanted: int, batch: int) -> Points:
    """Fill the room that is left with single atoms, none closer than a contact.

    Parameters
    ----------
    symmetry : Symmetry
        Repeats them.
    draw : callable
        Draws at most so many points of the room that is to be filled, ``(n, 3)``.
    taken : ndarray
        ``(m, 3)``: atoms that are in place.
    wanted : int
        Number of atoms; fewer where they do not fit.
    batch : int
        Points to draw at once.
    """
    kept = np.zeros((0, 3))
    for _ in range(COIL_ROUNDS):
        if len(kept) >= wanted:
            break
        points = draw(batch)
        points = points[symmetry.self_distance(points) > CONTACT_A]
        occupied = symmetry.copies(np.concatenate((taken, kept)))
        if len(occupied):
            points = points[cKDTree(occupied).query(points, distance_upper_bound=CONTACT_A)[0] > CONTACT_A]
        count = len(points)
        pairs = cKDTree(symmetry.copies(points)).query_pairs(CONTACT_A, output_type="ndarray")
        # Of two that touch, here or as copies, the first stays.
        ours, other = pairs[pairs[:, 0] < count].T if len(pairs) else np.zeros((2, 0), int)
        spare = np.zeros(count, dtype=bool)
        spare[np.maximum(ours, other % max(count, 1))] = True
        kept = np.concatenate((kept, points[~spare]))
    return kept[: max(wanted, 0)]


def coil_elements(rng: np.random.Generator, count: int) -> Names:
    """Draw elements as they occur in proteins."""
    return np.asarray(rng.choice(["C", "N", "O"], count, p=[0.64, 0.17, 0.19]))
