"""A made-up protein: helices and coil packed into lobes, repeated by a point group.

It scatters as a protein does (real atoms at a protein's density, helices for the 10 A peak, detail to atomic distances)
and is not a shell: each asymmetric unit is a chain of lobes that reaches from near the centre to the rim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scherzer.formats.errors import BadInput
from scherzer.formats.models import Atoms
from scherzer.geometry.point_groups import point_group
from scherzer.physics.scattering import DISPLACED_A3
from scherzer.simulate.packing import (
    HelixAxis,
    HelixPile,
    Names,
    Points,
    Symmetry,
    coil_elements,
    helix_atoms,
    pack_coil,
)

LOBES = 3
LOBE_RADII = (0.42, 0.66, 0.86)  # distance of the lobes from the centre, in radii of the particle
FILLED = 0.5  # share of the particle's sphere that protein takes
SIDE_CHAIN_A = 6.0  # reach of a helix from its axis
HELIX_TRIES = 3000
COIL_BATCH = 2000
B_FACTOR_A2 = 30.0
FEWEST_ATOMS = 40  # of an asymmetric unit: five residues
# Of what should be filled; with less, the lobes lie badly and others are tried.
FILLED_ENOUGH, FILLED_BARELY = 0.65, 0.5
ATTEMPTS = 6


@dataclass(frozen=True)
class _Unit:
    """The asymmetric unit while it is being filled."""

    symmetry: Symmetry
    lobes: Points  # (l, 3)
    lobe_radius_A: float
    radius_A: float

    def contains(self, points: Points, margin_A: float = 0.0) -> NDArray[np.bool_]:
        near = np.linalg.norm(points[:, None] - self.lobes, axis=-1).min(1) < self.lobe_radius_A + margin_A
        return near & (np.linalg.norm(points, axis=-1) < self.radius_A)


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

    Raises
    ------
    BadInput
        If there is no such point group, or the diameter leaves no room for so many copies.
    """
    try:
        group = Symmetry(point_group(symmetry).double().numpy())
    except ValueError as error:
        raise BadInput("symmetry", f"{symmetry!r} is unknown", "give C1, C2, ..., D2, D3, ..., T, O or I") from error
    order = len(group.group)
    least_A = 2 * (FEWEST_ATOMS * order * DISPLACED_A3 / (FILLED * 4 / 3 * np.pi)) ** (1 / 3) + 4
    if not diameter_A >= least_A:
        raise BadInput(
            "diameter_A",
            f"{diameter_A:g} A is too small for a phantom of symmetry {symmetry}",
            f"give at least {np.ceil(least_A):.0f} A",
        )
    radius_A = diameter_A / 2 - 2
    wanted = int(FILLED * 4 / 3 * np.pi * radius_A**3 / order / DISPLACED_A3)
    fullest: tuple[Points, Names] = np.zeros((0, 3)), np.zeros(0, "U2")
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([seed, int(diameter_A), *([attempt] if attempt else [])])
        fullest = max(fullest, _fill(rng, group, radius_A, wanted), key=lambda filled: len(filled[0]))
        if len(fullest[0]) >= FILLED_ENOUGH * wanted:
            break
    if len(fullest[0]) < FILLED_BARELY * wanted:
        raise BadInput(
            "diameter_A",
            f"{diameter_A:g} A leaves no room for the {order} copies of symmetry {symmetry}",
            "give a larger diameter or a lower symmetry",
        )
    return group.repeat(*fullest, B_FACTOR_A2)


def _fill(rng: np.random.Generator, group: Symmetry, radius_A: float, wanted: int) -> tuple[Points, Names]:
    """Return the atoms of an asymmetric unit and their elements."""
    lobe_radius_A = radius_A * (FILLED / len(group.group) / LOBES) ** (1 / 3)
    unit = _Unit(group, _lobe_centres(rng, radius_A, lobe_radius_A), lobe_radius_A * 1.15, radius_A)
    positions, elements = _pack_helices(rng, unit, wanted)

    def draw(count: int) -> Points:
        start = unit.lobes[rng.integers(LOBES, size=count)]
        points = start + rng.uniform(-1, 1, (count, 3)) * unit.lobe_radius_A
        return points[unit.contains(points)]

    coil = pack_coil(group, draw, positions, wanted - len(positions), max(COIL_BATCH, wanted // 10))
    return np.concatenate((positions, coil)), np.concatenate((elements, coil_elements(rng, len(coil))))


def _lobe_centres(rng: np.random.Generator, radius_A: float, lobe_radius_A: float) -> Points:
    """Return a chain of lobes that winds outward."""
    direction = rng.normal(size=3)
    centres = []
    for fraction in LOBE_RADII:
        direction = direction / np.linalg.norm(direction) + rng.normal(0, 0.22, 3)
        direction /= np.linalg.norm(direction)
        centres.append(direction * min(fraction * radius_A, radius_A - 0.7 * lobe_radius_A))
    return np.array(centres)


def _pack_helices(rng: np.random.Generator, unit: _Unit, wanted: int) -> tuple[Points, Names]:
    """Place helices one after another wherever they touch neither each other nor a symmetry copy."""
    pile = HelixPile(unit.symmetry)
    atoms: list[Points] = []
    elements: list[str] = []
    for _ in range(max(HELIX_TRIES, wanted // 8)):
        if len(elements) > 0.75 * wanted:
            break
        residues = int(rng.integers(7, 20))
        centre = unit.lobes[rng.integers(LOBES)] + rng.normal(0, 0.5 * unit.lobe_radius_A, 3)
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        axis = HelixAxis(centre, direction, residues)
        reach = np.linalg.norm(axis.points, axis=1).max() + SIDE_CHAIN_A
        if reach > unit.radius_A or not unit.contains(axis.points, -2.0).all() or not pile.has_room(axis.points):
            continue
        pile.add(axis.points)
        positions, names = helix_atoms(rng, axis)
        atoms.append(positions)
        elements.extend(names)
    return (np.concatenate(atoms) if atoms else np.zeros((0, 3))), np.array(elements, dtype="U2")
