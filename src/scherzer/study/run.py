"""The study: plan, refine each subset once, analyse, give the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scherzer.study.comparisons import Compared, compare, compared_json, shows_effect
from scherzer.study.defocus import defocus_by_group, defocus_pairs, e1_json
from scherzer.study.endpoints import at_nyquist, inverse_square, nyquist_A
from scherzer.study.evidence import Evidence, curation_of
from scherzer.study.grid import Grid, read_grid
from scherzer.study.intervals import Unknown
from scherzer.study.maps_of_groups import GroupMap, group_map, joined_gain, map_json, maps_json, spreads
from scherzer.study.plan import Plan, plan_study
from scherzer.study.refined import RefinedSubset, Refiner, cached
from scherzer.study.reslog import LadderPoint, Need, ResLog, fit_reslog, micrographs_needed
from scherzer.study.settings import StudyContext, StudySettings
from scherzer.study.subsets import EqualDraws, Subset
from scherzer.study.verdict import Verdict, decide

Progress = Callable[[float, str], None]

# Maps of groups that start from a map which may be wrong would be compared in how wrong they are.
NOT_COMPARED = "groups are compared only where the map of all selected particles surely shows a structure"


@dataclass(frozen=True)
class StudyResult:
    """What the study found.

    Attributes
    ----------
    experiments : dict
        E1, E2, E4, E5, E6 and ResLog as results.json holds them.
    maps : list of dict
        One entry per group map.
    verdict : Verdict
    refinements : int
        Different subsets refined.
    """

    experiments: dict[str, Any]
    maps: list[dict[str, Any]]
    verdict: Verdict
    refinements: int

    def to_json(self) -> dict[str, Any]:
        """The `experiments`, `maps` and `verdict` entries of results.json."""
        return {"experiments": self.experiments, "maps": self.maps, "verdict": self.verdict.to_json()}


def _refine_all(plan: Plan, refiner: Refiner, minimum: int, progress: Progress | None) -> int:
    subsets = plan.subsets(minimum)
    for number, subset in enumerate(subsets):
        if progress is not None:
            progress(number / len(subsets), f"refining {subset.name}: {len(subset)} particles")
        refiner(subset.indices)
    if progress is not None:
        progress(1.0, f"{len(subsets)} subsets refined")
    return len(subsets)


def ladder_points(grid: Grid, plan: Plan, refiner: Refiner, minimum: int) -> list[LadderPoint]:
    """The whole set, the ladder's draws, and the shuffled draws, which are random draws of all micrographs too."""
    rungs: list[tuple[str, Subset]] = [("all", plan.everything)]
    rungs += [(subset.lineage[-1].split(": ")[-1], subset) for subset in plan.ladder]
    if isinstance(plan.control, EqualDraws) and isinstance(plan.equal, EqualDraws):
        compared = set(plan.equal.equal_particles)
        if set(grid.group.tolist()) == compared:
            rungs += [("shuffled draws", s) for found in plan.control.equal_particles.values() for s in found]
    points = []
    for rung, subset in rungs:
        if len(subset) < minimum:
            continue
        refined = refiner(subset.indices)
        shares = grid.shares(subset.indices)
        points.append(LadderPoint(len(subset), inverse_square(refined), shares, at_nyquist(refined), rung))
    return points


def _compare_plan(
    grid: Grid, plan: Plan, refiner: Refiner, context: StudyContext, confidence: float
) -> tuple[Compared | None, Compared | None, Compared | None]:
    """Equal particles, equal micrographs, shuffled labels; None where there are no draws."""

    def over(draws: Mapping[str, tuple[Subset, ...]], equal_particles: bool) -> Compared | None:
        if not draws or any(len(found) < 2 for found in draws.values()):
            return None
        return compare(grid, draws, refiner, context.start_resolution_A, confidence, equal_particles)

    particles = over(plan.equal.equal_particles, True) if isinstance(plan.equal, EqualDraws) else None
    control = over(plan.control.equal_particles, True) if isinstance(plan.control, EqualDraws) else None
    return particles, over(plan.micrograph_draws(), False), control


def _e5_json(
    plan: Plan, found: tuple[Compared | None, Compared | None, Compared | None], confidence: float
) -> dict[str, Any]:
    particles, micrographs, control = found
    entry: dict[str, Any] = {
        "title": "Groups compared at equal counts, drawn at random, the micrograph as the unit",
        "performed": particles is not None,
        "reason": plan.equal if isinstance(plan.equal, str) else "",
        "endpoint": "primary: ln SSNR in fixed bands beyond the start map; headline: resolution at FSC 0.143",
        "notes": list(plan.notes),
    }
    if isinstance(plan.equal, EqualDraws):
        entry |= {
            "micrographs_per_draw": plan.equal.micrographs_per_draw,
            "disjoint": plan.equal.disjoint,
            "particles_per_draw": plan.equal.particle_counts(),
        }
    if particles is not None:
        entry["equal_particles"] = compared_json(particles, confidence)
    entry["equal_micrographs"] = (
        compared_json(micrographs, confidence)
        if micrographs is not None
        else {"performed": False, "reason": "no repeats"}
    )
    if control is not None:
        entry["shuffled_labels"] = {"shows_effect": shows_effect(control), **compared_json(control, confidence)}
    else:
        reason = plan.control if isinstance(plan.control, str) else ""
        entry["shuffled_labels"] = {"shows_effect": None, "reason": reason}
    return entry


def _reslog_json(
    points: list[LadderPoint], ladder: ResLog | Unknown, need: Need, settings: StudySettings
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "title": "Resolution against particles (ResLog), every point re-refined from the start map",
        "performed": isinstance(ladder, ResLog),
        "reason": ladder.reason if isinstance(ladder, Unknown) else "",
        "points": [
            {
                "rung": point.rung,
                "particles": point.particles,
                "resolution_fsc143_A": None if point.inverse_square is None else point.inverse_square**-0.5,
                "at_nyquist": point.at_nyquist,
            }
            for point in points
        ],
        "target_resolution_A": settings.target_resolution_A,
        "micrographs_needed": need.estimate.to_json(),
        "micrographs_needed_at_least": need.at_least,
    }
    if isinstance(ladder, ResLog):
        entry |= {
            "slope_per_A2": ladder.slope(settings.confidence).to_json(),
            "intercept_per_A2": ladder.at(1.0, settings.confidence).value,
            "bfactor_A2": ladder.bfactor(settings.confidence).to_json(),
            "dropped": list(ladder.dropped),
        }
    return entry


def _map_experiments(
    grid: Grid,
    own: dict[str, GroupMap],
    picked: dict[str, GroupMap],
    joined: GroupMap | None,
    gain: dict[str, Any] | None,
    doubt: str,
) -> dict[str, Any]:
    def entry(title: str, maps: Mapping[str, GroupMap], reason: str) -> dict[str, Any]:
        groups = {name: map_json(one, grid) for name, one in maps.items()}
        return {"title": title, "performed": bool(maps), "reason": "" if maps else reason, "groups": groups}

    none = doubt or "no contrast group has enough particles"
    e6: dict[str, Any] = {"title": "Good and moderate joined", "performed": joined is not None, "reason": ""}
    if joined is None:
        e6["reason"] = doubt or "good and moderate micrographs with enough particles are not both present"
    else:
        e6 |= {"joined": map_json(joined, grid), "joined_minus_good_A": gain}
    return {
        "E2": entry("Each group's own selected particles", own, none),
        "E4": entry("All picked particles of each group", picked, none),
        "E6": e6,
    }


def run_study(
    micrographs: pd.DataFrame,
    picked: pd.DataFrame,
    selected: NDArray[Any],
    refiner: Refiner,
    context: StudyContext,
    settings: StudySettings | None = None,
    cache: MutableMapping[str, RefinedSubset] | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Run experiments E1, E2, E4, E5, E6 and the ResLog ladder, and give the verdict.

    Where the map of all selected particles does not surely show a structure, no groups are refined.

    Parameters
    ----------
    micrographs : DataFrame
        Rows of the contrast stage, all states.
    picked : DataFrame
        All extracted particles, with rlnMicrographName and rlnRandomSubset.
    selected : array
        Mask over `picked`, or row numbers, of the particles kept by 2D class selection.
    refiner : Refiner
        Row numbers of `picked` -> what their refinement gave. Called at most ``settings.max_refinements`` times.
    context : StudyContext
        Symmetry and start map.
    settings : StudySettings, optional
    cache : mutable mapping, optional
        Finished refinements by `subset_key`; a session passes one that it keeps on disk to be able to resume.
    progress : callable, optional
        ``progress(fraction, message)``.

    Raises
    ------
    ValueError
        The tables do not belong together.
    """
    settings = settings or StudySettings()
    confidence, minimum = settings.confidence, settings.minimum_particles
    grid = read_grid(micrographs, picked, selected)
    plan = plan_study(grid, settings)
    refine = cached(refiner, {} if cache is None else cache)
    judged = refine(plan.everything.indices).structure if len(plan.everything) >= minimum else None
    doubt = "" if judged is None or judged["verdict"] == "structure" else NOT_COMPARED
    if doubt:
        plan = plan.of_everything_alone(doubt)
    refinements = _refine_all(plan, refine, minimum, progress)

    compared = _compare_plan(grid, plan, refine, context, confidence)
    points = ladder_points(grid, plan, refine, minimum)
    ladder = Unknown(doubt) if doubt else fit_reslog(points, context.start_resolution_A)
    spread = spreads(compared[0], ladder)

    def as_map(subset: Subset, group: str = "") -> GroupMap:
        found = spread.get(group, spread.get(""))
        return group_map(subset, refine(subset.indices), found, context.start_resolution_A, confidence)

    own = {name: as_map(subset, name) for name, subset in plan.own.items() if len(subset) >= minimum}
    every_pick = {name: as_map(subset, name) for name, subset in plan.picked.items() if len(subset) >= minimum}
    joined = as_map(plan.joined) if plan.joined is not None else None
    everything = as_map(plan.everything) if len(plan.everything) >= minimum else None
    gain = joined_gain(joined, own["good"], spread, confidence).to_json() if joined is not None else None
    counts = np.bincount(grid.particle_micrograph[grid.selected], minlength=len(grid.names)).tolist()
    defocus = defocus_by_group(grid, confidence, settings.seed)
    pairs = defocus_pairs(grid, confidence, settings.seed)
    need = Need(Unknown("too few particles to refine"), None)
    if everything is not None:
        nyquist = nyquist_A(everything.refined)
        need = micrographs_needed(ladder, settings.target_resolution_A, counts, nyquist, confidence)

    evidence = Evidence(
        curation=curation_of(micrographs, int(np.sum(grid.particle_micrograph >= 0)), int(grid.selected.sum())),
        symmetry_order=context.symmetry_order,
        start_resolution_A=context.start_resolution_A,
        target_resolution_A=settings.target_resolution_A,
        resolution=everything.resolution if everything is not None else Unknown("too few particles to refine"),
        structure=None if judged is None else str(judged["verdict"]),
        structure_reason="" if judged is None else str(judged["sentence"]).partition(": ")[2],
        nyquist_A=nyquist_A(everything.refined) if everything is not None else None,
        at_nyquist=at_nyquist(everything.refined) if everything is not None else False,
        need=need,
        equal_particles=compared[0].differences if compared[0] is not None else (),
        equal_micrographs=compared[1].differences if compared[1] is not None else (),
        control_shows_effect=shows_effect(compared[2]) if compared[2] is not None else None,
        defocus=defocus,
        defocus_pairs=pairs,
        no_comparison=plan.equal if isinstance(plan.equal, str) else "",
    )
    experiments = {
        "E1": e1_json(defocus, pairs),
        **_map_experiments(grid, own, every_pick, joined, gain, doubt),
        "E5": _e5_json(plan, compared, confidence),
        "ResLog": _reslog_json(points, ladder, need, settings),
    }
    maps = [*([everything] if everything is not None else []), *own.values(), *every_pick.values()]
    maps += [joined] if joined is not None else []
    # Groups that are all there is give one map under two names: it is listed once.
    single = list({one.subset.key: one for one in reversed(maps)}.values())[::-1]
    return StudyResult(experiments, maps_json(single, grid, context), decide(evidence), refinements)
