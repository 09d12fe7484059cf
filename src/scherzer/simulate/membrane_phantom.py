"""A made-up membrane protein: a gap junction channel, two hexameric rings end to end, each in a belt of detergent.

The proportions are those of connexin channels: about 155 A long and 90 A wide at the ends, four helices of each of the
twelve subunits across the membrane and a fifth in the pore, 35 A between the two membranes. The numbers below are a
sketch of them and not measurements of a structure.
"""

from __future__ import annotations

import numpy as np
import torch

from scherzer.formats.errors import BadInput
from scherzer.formats.models import Atoms
from scherzer.geometry.point_groups import point_group
from scherzer.physics.scattering import DISPLACED_A3, HYDROGENS, resting_form_factor_V_A3
from scherzer.simulate.packing import (
    HelixAxis,
    Points,
    Symmetry,
    coil_elements,
    helix_atoms,
    pack_coil,
)

SYMMETRY = "D6"
# Largest diameter of what follows, A, and how far it can be scaled while helices still touch and do not merge.
DIAMETER_A = 174.0
LEAST_A, MOST_A = 160.0, 230.0
# Inner and outer surface of the protein along the axis, from the middle between the membranes, A.
HEIGHT_A = (0, 16, 26, 45, 62, 70, 77)
PORE_A = (13, 12, 9, 7, 9, 16, 22)
OUTSIDE_A = (27, 27, 33, 39, 43, 46, 42)
# Helices of a subunit: distance from the axis (A), angle (degrees), lower and upper end (A).
HELICES = ((18, 0, 20, 60), (23, 24, 22, 72), (31.5, 13, 24, 70), (32, 38, 24, 64), (11, 30, 47, 64))
TILT_DEG = 9.0
FILLED = 0.65  # share of the room between the surfaces that protein takes
B_FACTOR_A2 = 30.0
COIL_BATCH = 4000

# The belt: half an ellipse around the protein, alkyl chains within and the head groups around them.
BELT_HEIGHT_A = 40.0
CORE_A = (18.0, 16.0)  # radial, axial
BELT_A = (25.0, 23.0)
# Dodecyl chains fill 350 A^3 each (Tanford 1972: 27.4 + 26.9 n), which gives them 5.9 V as independent atoms. Maltose
# in as much water has 6.5 V. Both lie above ice (4.5 V) and below protein (8.0 V).
CORE_ABOVE_ICE_V, HEADS_ABOVE_ICE_V = 1.4, 2.0
# Detergent is liquid: its pseudo-atoms are far apart and smeared until only the belt is left of them.
BELT_SPACING_A = 5.0
BELT_B_FACTOR_A2 = 800.0


def membrane_atoms(symmetry: str = SYMMETRY, diameter_A: float = DIAMETER_A, seed: int = 3) -> Atoms:
    """Build the channel with its belts.

    Parameters
    ----------
    symmetry : str
        D6, as :func:`scherzer.geometry.point_groups.point_group` sets its axes: the pore along z.
    diameter_A : float
        Largest diameter, belts included.
    seed : int
        Another seed is another protein of the same shape.

    Returns
    -------
    Atoms
        The protein, and pseudo-atoms of carbon for the detergent, each of which stands for several.

    Raises
    ------
    BadInput
        If another symmetry is asked for, or a size at which helices do not pack.
    """
    if symmetry.strip().upper() != SYMMETRY:
        raise BadInput(
            "symmetry", f"the membrane phantom has {SYMMETRY}, not {symmetry}", f"give {SYMMETRY}, or another phantom"
        )
    if not LEAST_A <= diameter_A <= MOST_A:
        raise BadInput(
            "diameter_A",
            f"{diameter_A:g} A is no size for the membrane phantom",
            f"give {LEAST_A:g} to {MOST_A:g} A, its micelles included",
        )
    rng = np.random.default_rng([seed, round(diameter_A)])
    scale = diameter_A / DIAMETER_A
    protein = _protein(rng, Symmetry(point_group(SYMMETRY).double().numpy()), scale)
    belts = _belts(scale)
    return Atoms(
        np.concatenate((protein.positions_A, belts.positions_A)),
        np.concatenate((protein.elements, belts.elements)),
        np.concatenate((protein.b_factors_A2, belts.b_factors_A2)),
        np.concatenate((protein.occupancies, belts.occupancies)),
    )


def _protein(rng: np.random.Generator, symmetry: Symmetry, scale: float) -> Atoms:
    helices = [helix_atoms(rng, axis) for axis in _helix_axes(scale)]
    positions = np.concatenate([atoms for atoms, _ in helices])
    names = np.array([name for _, elements in helices for name in elements], dtype="U2")

    def draw(count: int) -> Points:
        points = np.empty((count, 3))
        reach = scale * max(OUTSIDE_A)
        points[:, 2] = rng.uniform(0, scale * HEIGHT_A[-1], count)
        radius = reach * np.sqrt(rng.random(count))
        angle = rng.uniform(0, np.pi / 3, count)
        points[:, 0], points[:, 1] = radius * np.cos(angle), radius * np.sin(angle)
        pore, outside = (scale * np.interp(points[:, 2] / scale, HEIGHT_A, surface) for surface in (PORE_A, OUTSIDE_A))
        return points[(radius > pore) & (radius < outside)]

    height = np.linspace(0, HEIGHT_A[-1], 500)
    squares = [np.interp(height, HEIGHT_A, surface) ** 2 for surface in (OUTSIDE_A, PORE_A)]
    room_A3 = scale**3 * np.pi * float(np.trapezoid(squares[0] - squares[1], height)) / 6
    wanted = round(FILLED * room_A3 / DISPLACED_A3) - len(positions)
    coil = pack_coil(symmetry, draw, positions, wanted, COIL_BATCH)
    elements = np.concatenate((names, coil_elements(rng, len(coil))))
    return symmetry.repeat(np.concatenate((positions, coil)), elements, B_FACTOR_A2)


def _helix_axes(scale: float) -> list[HelixAxis]:
    """Return the helices of one subunit, all leaning the same way around the pore."""
    axes = []
    for number, (radius, angle, low, high) in enumerate(HELICES):
        outward = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0])
        around = np.array([-outward[1], outward[0], 0])
        direction = np.array([0, 0, np.cos(np.radians(TILT_DEG))]) + np.sin(np.radians(TILT_DEG)) * around
        centre = scale * (radius * outward + np.array([0, 0, (low + high) / 2]))
        # Neighbours along the chain run up and down in turn.
        axes.append(HelixAxis.of_length(centre, direction * (-1) ** number, scale * (high - low)))
    return axes


def _belts(scale: float) -> Atoms:
    """Return both belts as rings of pseudo-atoms; the rings have the channel's symmetry by themselves."""
    step = BELT_SPACING_A
    positions, volts = [], []
    rows = int(np.ceil(scale * BELT_A[1] / step))
    for z in scale * BELT_HEIGHT_A + (np.arange(-rows, rows) + 0.5) * step:
        inner = scale * float(np.interp(z / scale, HEIGHT_A, OUTSIDE_A))
        for radius in np.arange(inner, inner + scale * BELT_A[0], step) + step / 2:
            along = (radius - inner) / scale, z / scale - BELT_HEIGHT_A
            if np.hypot(along[0] / BELT_A[0], along[1] / BELT_A[1]) > 1:
                continue
            core = np.hypot(along[0] / CORE_A[0], along[1] / CORE_A[1]) < 1
            count = 6 * max(1, round(2 * np.pi * radius / (6 * step)))
            angle = 2 * np.pi * np.arange(count) / count
            ring = np.stack((radius * np.cos(angle), radius * np.sin(angle), np.full(count, z)), axis=1)
            for side in (1, -1):
                positions.append(ring * [1, side, side])
                above = CORE_ABOVE_ICE_V if core else HEADS_ABOVE_ICE_V
                volts.append(np.full(count, above * 2 * np.pi * radius * step**2 / count))
    points, integral = np.concatenate(positions), np.concatenate(volts)
    one_V_A3 = float(resting_form_factor_V_A3("C", HYDROGENS["C"], torch.zeros(1)))
    return Atoms(
        points,
        np.full(len(points), "C", dtype="U2"),
        np.full(len(points), BELT_B_FACTOR_A2),
        integral / one_V_A3,
    )
