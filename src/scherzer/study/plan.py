"""Which subsets the study refines: made before anything is refined, so that its cost is known and bounded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scherzer.study.grid import Grid
from scherzer.study.settings import StudySettings
from scherzer.study.subsets import EqualDraws, Subset, equal_draws, ladder_draws, shuffled_members, whole

# Purposes of the draws; part of each seed, so that changing one experiment leaves the draws of the others alone.
SEED_EQUAL, SEED_SHUFFLE, SEED_CONTROL, SEED_LADDER = 5, 50, 51, 7

# What is given up, in this order, until the plan fits the budget: (what, how many repeats stay).
# Repeats of the ladder go first because every rung informs one line; the repeats of E5 go last because its
# intervals rest on them; two repeats of the control are the fewest that have a spread.
CUTS = (
    ("ladder", 2),
    ("control", 2),
    ("micrographs", 3),
    ("draws", 4),
    ("ladder", 1),
    ("draws", 3),
    ("micrographs", 2),
    ("ladder", 0),
    ("control", 0),
    ("micrographs", 0),
    ("draws", 2),
    ("draws", 0),
)


@dataclass(frozen=True)
class Repeats:
    """How often each kind of draw is repeated."""

    draws: int
    micrographs: int
    control: int
    ladder: int


@dataclass(frozen=True)
class Plan:
    """Subsets of every experiment.

    Attributes
    ----------
    everything : Subset
        All selected particles.
    own, picked : dict of str to Subset
        E2 and E4, by group.
    joined : Subset or None
        E6: good + moderate.
    equal, control : EqualDraws or str
        E5 and its shuffled labels; a string is the reason why there is none.
    repeats : Repeats
    ladder : tuple of Subset
        Rungs of the ResLog ladder below `everything`.
    notes : tuple of str
        What the budget or the data forbade.
    """

    everything: Subset
    own: dict[str, Subset]
    picked: dict[str, Subset]
    joined: Subset | None
    equal: EqualDraws | str
    control: EqualDraws | str
    repeats: Repeats
    ladder: tuple[Subset, ...]
    notes: tuple[str, ...]

    def micrograph_draws(self) -> dict[str, tuple[Subset, ...]]:
        """Equal-micrograph draws within the budget, by group."""
        if isinstance(self.equal, str):
            return {}
        return {name: found[: self.repeats.micrographs] for name, found in self.equal.equal_micrographs.items()}

    def of_everything_alone(self, reason: str) -> Plan:
        """Leave out every comparison."""
        nothing = Repeats(0, 0, 0, 0)
        return Plan(self.everything, {}, {}, None, reason, reason, nothing, (), self.notes)

    def subsets(self, minimum: int) -> list[Subset]:
        """Every subset to refine, each index set once, subsets below `minimum` particles left out."""
        wanted = [self.everything, *self.own.values(), *self.picked.values()]
        wanted += [self.joined] if self.joined is not None else []
        for draws in (self.equal, self.control):
            if not isinstance(draws, str):
                wanted += [subset for found in draws.equal_particles.values() for subset in found]
        wanted += [subset for found in self.micrograph_draws().values() for subset in found]
        wanted += list(self.ladder)
        return list({subset.key: subset for subset in reversed(wanted) if len(subset) >= minimum}.values())[::-1]


def _plan_with(grid: Grid, settings: StudySettings, repeats: Repeats) -> Plan:
    groups = grid.groups
    members = {name: grid.micrographs_of((name,)) for name in groups}
    able = {name: rows for name, rows in members.items() if len(grid.particles_on(rows)) >= settings.minimum_particles}
    notes = tuple(
        f"{name}: {len(grid.particles_on(members[name]))} selected particles on {len(members[name])} micrographs; "
        f"{settings.minimum_particles} are needed, so it is left out of E2, E5 and E6"
        for name in groups
        if name not in able
    )
    equal: EqualDraws | str
    control: EqualDraws | str
    equal, control, notes = _comparisons(grid, settings, repeats, able, notes)
    both = {"good", "moderate"} <= set(able)
    rungs = [
        ladder_draws(grid, fraction, repeats.ladder, [settings.seed, SEED_LADDER, number], settings.minimum_particles)
        for number, fraction in enumerate(sorted(settings.ladder, reverse=True))
        if repeats.ladder
    ]
    return Plan(
        everything=whole(grid, "all selected", None, True),
        own={name: whole(grid, f"{name}, selected", (name,), True) for name in able},
        picked={name: whole(grid, f"{name}, all picked", (name,), False) for name in groups},
        joined=whole(grid, "good + moderate, selected", ("good", "moderate"), True) if both else None,
        equal=equal,
        control=control,
        repeats=repeats,
        ladder=tuple(subset for rung in rungs for subset in rung),
        notes=notes,
    )


def _comparisons(
    grid: Grid, settings: StudySettings, repeats: Repeats, able: dict[str, np.ndarray], notes: tuple[str, ...]
) -> tuple[EqualDraws | str, EqualDraws | str, tuple[str, ...]]:
    """E5 and its control for the groups that can be repeated; groups that cannot are named in the notes."""
    limits = (settings.minimum_particles, settings.disjoint_particles)
    seed = settings.seed
    if len(able) < 2:
        present = ", ".join(able) or "none"
        reason = f"fewer than two contrast groups with enough particles ({present}): nothing to compare"
        return reason, reason, notes
    if repeats.draws < 2:
        return "the budget leaves no repeats", "the budget leaves no repeats", notes
    repeatable = dict(able)
    for name, rows in able.items():
        alone = equal_draws(grid, {name: rows}, repeats.draws, [seed, SEED_EQUAL], *limits)
        if isinstance(alone, str):
            del repeatable[name]
            notes = (*notes, f"{name} is left out of E5: {alone}")
    if len(repeatable) < 2:
        reason = "fewer than two contrast groups have enough micrographs and particles for repeated draws"
        return reason, reason, notes
    equal = equal_draws(grid, repeatable, repeats.draws, [seed, SEED_EQUAL], *limits)
    if repeats.control < 2:
        return equal, "the budget leaves no refinements for shuffled labels", notes
    mixed = shuffled_members(np.random.default_rng([seed, SEED_SHUFFLE]), grid, repeatable)
    control = equal_draws(grid, mixed, repeats.control, [seed, SEED_CONTROL], *limits)
    return equal, control, notes


def plan_study(grid: Grid, settings: StudySettings) -> Plan:
    """Plan the refinements of a study within its budget.

    Repeats are lowered in the order of `CUTS` until the number of different subsets is at most
    ``settings.max_refinements``; what was lowered is written in the notes.
    """
    wanted = Repeats(settings.draws, settings.draws, 3, settings.draws)
    repeats = wanted
    plan = _plan_with(grid, settings, repeats)
    for what, floor in CUTS:
        if len(plan.subsets(settings.minimum_particles)) <= settings.max_refinements:
            break
        if getattr(repeats, what) > floor:
            repeats = replace(repeats, **{what: floor})
            plan = _plan_with(grid, settings, repeats)
    if repeats == wanted:
        return plan
    names = {
        "draws": "E5 draws",
        "micrographs": "equal-micrograph draws",
        "control": "shuffled draws",
        "ladder": "ladder draws",
    }
    lowered = [
        f"{label} {getattr(wanted, what)} to {getattr(repeats, what)}"
        for what, label in names.items()
        if getattr(repeats, what) != getattr(wanted, what)
    ]
    note = f"to stay within {settings.max_refinements} refinements, repeats were lowered: {', '.join(lowered)}"
    return replace(plan, notes=(*plan.notes, note))
