"""What is decided about every exposure of a session before any is made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scherzer.physics.ctf import CtfParameters
from scherzer.simulate.settings import SimulationSettings

Fault = Literal[
    "drift", "empty", "vacuum", "crystalline", "ice_balls", "carbon_edge", "aggregation", "thick_ice", "wrong_focus"
]

# Thick ice, in units of the session's largest thickness.
THICK = (2.0, 3.0)
# Wrong focus: hardly any underfocus, or this much beyond the session's range, um.
NEAR_FOCUS_UM, BEYOND_UM = (0.0, 0.15), (1.5, 3.0)


@dataclass(frozen=True)
class ExposurePlan:
    """One exposure.

    Attributes
    ----------
    index : int
        Number in the session; with the session's seed it fixes everything random.
    name : str
        File name without suffix.
    faults : tuple of str
        What is wrong with it.
    defocus_u_A, defocus_v_A, defocus_angle_rad : float
        Of the middle of the film.
    thickness_A : float
        Mean thickness of the ice.
    """

    index: int
    name: str
    faults: tuple[Fault, ...]
    defocus_u_A: float
    defocus_v_A: float
    defocus_angle_rad: float
    thickness_A: float

    def parameters(self, settings: SimulationSettings) -> CtfParameters:
        """CTF parameters of the middle of the film, ``(1,)``."""
        return settings.microscope.optics.ctf_parameters(
            self.defocus_u_A,
            self.defocus_v_A,
            self.defocus_angle_rad,
            np.deg2rad(settings.microscope.phase_shift_deg),
        )


def plan_session(settings: SimulationSettings) -> list[ExposurePlan]:
    """Decide defocus, ice and faults of every exposure: the ranges are covered evenly, in random order."""
    count = settings.micrographs
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(0,)))
    faults = _deal_faults(rng, settings)
    low_um, high_um = settings.microscope.defocus_um
    defocus_A = 1e4 * _spread(rng, count, low_um, high_um)
    thickness_A = _spread(rng, count, *settings.ice.thickness_A)
    astigmatism_A = np.abs(rng.normal(0, settings.microscope.astigmatism_A, count))
    angles = rng.uniform(-np.pi / 2, np.pi / 2, count)
    # Drawn for every exposure, so that a rate changes only the exposures that it concerns.
    thick_A = settings.ice.thickness_A[1] * rng.uniform(*THICK, count)
    near_A = 1e4 * rng.uniform(*NEAR_FOCUS_UM, count)
    far_A = 1e4 * (high_um + rng.uniform(*BEYOND_UM, count))
    wrong_A = np.where(rng.random(count) < 0.5, near_A, far_A)
    plans = []
    for index in range(count):
        defocus = wrong_A[index] if "wrong_focus" in faults[index] else defocus_A[index]
        plans.append(
            ExposurePlan(
                index=index,
                name=f"sim_{index + 1:04d}",
                faults=faults[index],
                defocus_u_A=float(defocus + astigmatism_A[index] / 2),
                defocus_v_A=float(defocus - astigmatism_A[index] / 2),
                defocus_angle_rad=float(angles[index]),
                thickness_A=float(thick_A[index] if "thick_ice" in faults[index] else thickness_A[index]),
            )
        )
    return plans


def _deal_faults(rng: np.random.Generator, settings: SimulationSettings) -> list[tuple[Fault, ...]]:
    """Deal each fault to its share of the exposures; none gets a second one before all have their first."""
    count = settings.micrographs
    dealt: list[list[Fault]] = [[] for _ in range(count)]
    order = rng.permutation(count)
    place = 0
    for entry in fields(settings.faults):
        fault: Fault = entry.name  # type: ignore[assignment]
        for _ in range(round(getattr(settings.faults, fault) * count)):
            dealt[order[place % count]].append(fault)
            place += 1
    return [tuple(kinds) for kinds in dealt]


def _spread(rng: np.random.Generator, count: int, low: float, high: float) -> NDArray[np.float64]:
    """Draw one value from each of ``count`` equal parts of a range, in random order."""
    parts = (rng.permutation(count) + rng.uniform(0, 1, count)) / max(count, 1)
    return np.asarray(low + (high - low) * parts, dtype=np.float64)
