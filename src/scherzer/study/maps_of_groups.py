"""E2, E4 and E6: one map per group, from selected, from all picked, and from joined particles.

One refinement has no spread of its own. Its interval uses the spread of the draws of E5 (of the ladder, for subsets
that mix groups). For draws of half of the micrographs that is the spread that the full group has over grids: the half
left out counts as much as the half put in. For smaller, disjoint draws it is more, and the interval is too wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scherzer.study.comparisons import Compared, resolution_estimate
from scherzer.study.endpoints import at_nyquist, inverse_square, nyquist_A
from scherzer.study.grid import Grid
from scherzer.study.intervals import Estimate, Fitted, Unknown
from scherzer.study.refined import RefinedSubset
from scherzer.study.reslog import ResLog
from scherzer.study.settings import FINER_THAN_START, StudyContext
from scherzer.study.subsets import Subset

SPREAD_METHOD = "one refinement; t interval from the spread between repeated draws"


@dataclass(frozen=True)
class Spread:
    """Variance of 1/d^2 (1/A^4) of one refinement, and its degrees of freedom."""

    variance: float
    df: float


def spreads(compared: Compared | None, ladder: ResLog | Unknown) -> dict[str, Spread]:
    """Spread by group; under "" that of subsets which mix groups: the ladder's, else the largest of any group."""
    found: dict[str, Spread] = {}
    for name, one in compared.groups.items() if compared is not None else ():
        if one.resolution is not None:
            found[name] = Spread(one.resolution.draw_variance, one.resolution.df)
    mixed = list(found.values())
    if isinstance(ladder, ResLog):
        mixed = [Spread(fit.draw_variance, fit.df) for fit in ladder.fits]
    if mixed:
        found[""] = max(mixed, key=lambda spread: spread.variance)
    return found


@dataclass(frozen=True)
class GroupMap:
    """One refined subset with its interval."""

    subset: Subset
    refined: RefinedSubset
    resolution: Estimate


def group_map(
    subset: Subset, refined: RefinedSubset, spread: Spread | None, start_resolution_A: float, confidence: float
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
    if spread is None:
        return GroupMap(subset, refined, Unknown("no repeated draws, so no interval", refined.resolution_fsc143_A))
    fitted = Fitted(value, spread.variance, spread.df)
    return GroupMap(subset, refined, resolution_estimate(fitted, confidence, SPREAD_METHOD, ""))


def joined_gain(joined: GroupMap, alone: GroupMap, known: Mapping[str, Spread], confidence: float) -> Estimate:
    """E6: resolution of the joined groups minus that of the good group, A.

    The two maps share micrographs, which would narrow the interval; how much of the spread is the micrographs' and
    how much the single refinement's is not known, so it is left wide.
    """
    a, b = inverse_square(joined.refined), inverse_square(alone.refined)
    if a is None or b is None:
        return Unknown("one of the two maps has no resolution")
    difference = a**-0.5 - b**-0.5
    if at_nyquist(joined.refined) or at_nyquist(alone.refined):
        return Unknown("at Nyquist: the pixel decides", difference)
    first, second = known.get(""), known.get("good", known.get(""))
    if first is None or second is None:
        return Unknown("no repeated draws, so no interval", difference)
    fitted = Fitted(a, first.variance, first.df).minus(Fitted(b, second.variance, second.df))
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


def structure_json(refined: RefinedSubset) -> dict[str, Any]:
    """How maps are sampled and were tied, and whether there is a structure in them, or why that is not said."""
    found = {"box_px": refined.box_px, "pixel_size_A": refined.pixel_size_A, "tied": refined.tied}
    if refined.structure is None:
        reason = "judged on all selected particles together only"
        return {**found, "structure": None, "structure_reason": reason}
    return {**found, "structure": dict(refined.structure)}


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
            **structure_json(one.refined),
        }
        for one in maps
    ]
