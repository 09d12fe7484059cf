"""E2, E4 and E6: one map per group, from selected, from all picked, and from joined particles.

One refinement has no spread of its own. Its interval comes from how much the micrographs of the group differed over
the draws of E5: the variance that one micrograph would have, times the squared shares of the micrographs in the map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scherzer.study.comparisons import Compared, resolution_estimate
from scherzer.study.endpoints import at_nyquist, inverse_square, nyquist_A
from scherzer.study.grid import Grid
from scherzer.study.intervals import Estimate, Fitted, Unknown
from scherzer.study.refined import RefinedSubset
from scherzer.study.reslog import ResLog
from scherzer.study.settings import FINER_THAN_START, StudyContext
from scherzer.study.subsets import Subset

SPREAD_METHOD = "one refinement; t interval from the spread of micrographs over the draws"


@dataclass(frozen=True)
class Spread:
    """Variance of 1/d^2 (1/A^4) that a single micrograph's particles would have, and its degrees of freedom."""

    variance: float
    df: float


def spreads(grid: Grid, compared: Compared | None, ladder: ResLog | Unknown) -> dict[str, Spread]:
    """Spread of every group: from its own draws where there are any, else from the ladder over all groups."""
    found: dict[str, Spread] = {}
    if isinstance(ladder, ResLog):
        common = Spread(ladder.fit.micrograph_variance, ladder.fit.df)
        found = dict.fromkeys((*grid.groups, ""), common)
    for name, one in compared.groups.items() if compared is not None else ():
        if one.resolution is not None:
            found[name] = Spread(one.resolution.micrograph_variance, one.resolution.df)
    return found


def contrast(grid: Grid, known: Mapping[str, Spread], value: float, shares: NDArray[np.floating[Any]]) -> Fitted | None:
    """A sum over micrographs with the given shares, and its error; None where a group's spread is unknown."""
    parts: list[Fitted] = []
    for name in sorted(set(grid.group.tolist())):
        squared = float(np.sum(shares[grid.group == name] ** 2))
        if squared == 0:
            continue
        if name not in known:
            return None
        parts.append(Fitted(0.0, known[name].variance * squared, known[name].df))
    if not parts:
        return None
    total = Fitted(value, 0.0, parts[0].df)
    for part in parts:
        total = total.minus(part)
    return total


@dataclass(frozen=True)
class GroupMap:
    """One refined subset with its interval."""

    subset: Subset
    refined: RefinedSubset
    resolution: Estimate


def group_map(
    grid: Grid,
    subset: Subset,
    refined: RefinedSubset,
    known: Mapping[str, Spread],
    start_resolution_A: float,
    confidence: float,
) -> GroupMap:
    """Attach an interval to one refinement."""
    value = inverse_square(refined)
    if value is None:
        return GroupMap(subset, refined, Unknown("the FSC never rises above 0.143"))
    if value < (FINER_THAN_START / start_resolution_A) ** 2:
        reason = f"not clearly finer than the start map's {start_resolution_A:.0f} A, up to which the halves must agree"
        return GroupMap(subset, refined, Unknown(reason, refined.resolution_fsc143_A))
    if at_nyquist(refined):
        reason = f"at Nyquist ({nyquist_A(refined):.2f} A): the pixel decides, the particles may hold more"
        return GroupMap(subset, refined, Unknown(reason, refined.resolution_fsc143_A))
    fitted = contrast(grid, known, value, grid.shares(subset.indices))
    if fitted is None:
        return GroupMap(subset, refined, Unknown("no repeated draws, so no interval", refined.resolution_fsc143_A))
    return GroupMap(subset, refined, resolution_estimate(fitted, confidence, SPREAD_METHOD, ""))


def joined_gain(
    grid: Grid, joined: GroupMap, alone: GroupMap, known: Mapping[str, Spread], confidence: float
) -> Estimate:
    """E6: resolution of the joined groups minus that of one of them, A; the shared micrographs cancel in the error."""
    a, b = inverse_square(joined.refined), inverse_square(alone.refined)
    if a is None or b is None:
        return Unknown("one of the two maps has no resolution")
    if at_nyquist(joined.refined) or at_nyquist(alone.refined):
        return Unknown("at Nyquist: the pixel decides")
    difference = a**-0.5 - b**-0.5
    shares = grid.shares(joined.subset.indices) - grid.shares(alone.subset.indices)
    fitted = contrast(grid, known, a - b, shares)
    if fitted is None:
        return Unknown("no repeated draws, so no interval", difference)
    slope = -0.5 * ((a + b) / 2) ** -1.5
    return fitted.interval(confidence, "").mapped(lambda y: slope * y, f"{SPREAD_METHOD}, delta method")


def map_json(one: GroupMap, grid: Grid) -> dict[str, Any]:
    """One subset within an experiment."""
    refined = one.refined
    return {
        **one.subset.describe(grid),
        "resolution_fsc143_A": one.resolution.to_json(),
        "resolution_fsc05_A": refined.resolution_fsc05_A,
        "bfactor_A2": refined.bfactor_A2,
        "mean_score": refined.mean_score,
        "fsc": {
            "frequency_per_A": [float(value) for value in refined.frequency_per_A],
            "corrected": [float(value) for value in refined.fsc],
        },
    }


def maps_json(maps: Sequence[GroupMap], grid: Grid, context: StudyContext) -> list[dict[str, Any]]:
    """The `maps` list of results.json."""
    return [
        {
            "subset": one.subset.name,
            "symmetry": context.symmetry,
            **one.subset.describe(grid),
            "resolution_fsc143_A": one.resolution.to_json(),
            "resolution_fsc05_A": one.refined.resolution_fsc05_A,
            "resolution_fsc05_A_reason": None if one.refined.resolution_fsc05_A else "the FSC never rises above 0.5",
            "bfactor_A2": one.refined.bfactor_A2,
            "bfactor_A2_reason": None if one.refined.bfactor_A2 is not None else "the Guinier window is too short",
            "start": context.start,
            "files": dict(one.refined.files),
        }
        for one in maps
    ]
