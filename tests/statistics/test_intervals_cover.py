"""Do the intervals of the study cover? Worlds with a known answer, the same code as in a session."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from scipy import stats

from scherzer.study.comparisons import compare, one_group
from scherzer.study.grid import Grid, read_grid
from scherzer.study.intervals import Interval
from scherzer.study.plan import Plan, plan_study
from scherzer.study.power import GroupWorld, WorldSettings, make_world
from scherzer.study.refined import Refiner, cached
from scherzer.study.reslog import ResLog, fit_reslog, micrographs_needed
from scherzer.study.run import ladder_points
from scherzer.study.settings import StudySettings
from scherzer.study.subsets import EqualDraws

WORLDS = 220
START_A, TARGET_A = 20.0, 3.5
LEVELS = (0.90, 0.95)
DISJOINT = WorldSettings({"good": GroupWorld(20, 160), "moderate": GroupWorld(20, 160, -0.5)})
SMALL = WorldSettings({"good": GroupWorld(8, 120), "moderate": GroupWorld(8, 80, -0.5)}, strength=1e-3)
UNEVEN = WorldSettings({"good": GroupWorld(10), "moderate": GroupWorld(10, 100, -0.5)}, micrograph_sd=0.8)
ONE_GROUP = WorldSettings({"good": GroupWorld(20)})


@dataclass
class Tally:
    """Hits by quantity and level."""

    hits: dict[tuple[str, float], list[bool]] = field(default_factory=dict)

    def add(self, name: str, level: float, interval: Interval, truth: float) -> None:
        self.hits.setdefault((name, level), []).append(interval.low <= truth <= interval.high)

    def assert_cover(self, fewest: int = WORLDS // 2) -> None:
        """Refuse coverage that a nominal interval would fall below once in a thousand."""
        assert self.hits
        for (name, level), found in self.hits.items():
            assert len(found) >= fewest, f"{name}: only {len(found)} intervals"
            least, share = stats.binom.ppf(0.001, len(found), level) / len(found), np.mean(found)
            assert share >= least, f"{name} at {level}: {share:.3f} of {len(found)}, {least:.3f} allowed"


def planned(settings: WorldSettings, ladder: bool = True) -> Iterator[tuple[Grid, Plan, Refiner]]:
    for seed in range(WORLDS):
        world = make_world(settings, seed)
        grid = read_grid(world.micrographs, world.picked, world.selected)
        study = StudySettings(seed=seed) if ladder else StudySettings(seed=seed, ladder=())
        yield grid, plan_study(grid, study), cached(world.refiner, {})


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "settings",
    [pytest.param(DISJOINT, marks=SLOW, id="disjoint"), pytest.param(SMALL, id="overlapping")]
    + [pytest.param(UNEVEN, marks=SLOW, id="uneven")],
)
def test_equal_count_differences_cover_and_find(settings: WorldSettings):
    tally, separated = Tally(), 0
    good, moderate = settings.groups.values()
    per_particle = good.ln_quality - moderate.ln_quality
    per_micrograph = per_particle + math.log(good.picks_per_micrograph / moderate.picks_per_micrograph)
    for grid, plan, refiner in planned(settings, ladder=False):
        assert isinstance(plan.equal, EqualDraws)
        assert plan.equal.disjoint == (settings is DISJOINT)
        for level in LEVELS:
            particles = compare(grid, plan.equal.equal_particles, refiner, START_A, level, True)
            micrographs = compare(grid, plan.micrograph_draws(), refiner, START_A, level, False)
            for name, found, truth in (
                ("particles", particles, per_particle),
                ("micrographs", micrographs, per_micrograph),
            ):
                difference = found.differences[0]
                assert isinstance(difference.ln_ssnr, Interval)
                tally.add(f"ln SSNR, equal {name}", level, difference.ln_ssnr, truth)
            first, second = (one_group(particles.groups[name].resolution) for name in ("good", "moderate"))
            assert first is not None
            assert second is not None
            # 1/d^2 of the model is linear in ln quality with slope 2/B, exactly.
            known = 2 / settings.bfactor_A2 * per_particle
            tally.add("1/d^2, equal particles", level, first.minus(second).interval(level, ""), known)
        separated += particles.differences[0].separated
    tally.assert_cover()
    # The intervals must be narrow enough to be of use: this difference is found in most worlds of 20 micrographs.
    if settings is DISJOINT:
        assert separated > 0.8 * WORLDS


def micrographs_for(settings: WorldSettings) -> float:
    """Number of micrographs at which the world's expected FSC crosses 0.143 at the target."""
    groups = settings.groups.values()
    total = sum(one.micrographs for one in groups)
    kept = sum(one.micrographs * one.picks_per_micrograph * one.kept for one in groups)
    weighted = sum(one.micrographs * one.picks_per_micrograph * one.kept * math.exp(one.ln_quality) for one in groups)
    # Quality of a particle is max(0, 1 + sd z): its mean is Phi(1/sd) + sd phi(1/sd).
    sd = settings.particle_sd
    clipped = stats.norm.cdf(1 / sd) + sd * stats.norm.pdf(1 / sd)
    quality = weighted / kept * math.exp(settings.micrograph_sd**2 / 2) * clipped
    per_particle = settings.strength * settings.symmetry_order * quality
    particles = 2 * 0.143 / 0.857 / (per_particle * math.exp(-settings.bfactor_A2 * TARGET_A**-2 / 2))
    return particles / (kept / total)


@pytest.mark.parametrize(
    "settings",
    [pytest.param(DISJOINT, marks=SLOW, id="two groups"), pytest.param(SMALL, marks=SLOW, id="small")]
    + [pytest.param(ONE_GROUP, id="one group")],
)
def test_bfactor_and_micrographs_needed_cover(settings: WorldSettings):
    tally = Tally()
    truth = micrographs_for(settings)
    for grid, plan, refiner in planned(settings):
        ladder = fit_reslog(ladder_points(grid, plan, refiner, 50), START_A)
        assert isinstance(ladder, ResLog)
        counts = np.bincount(grid.particle_micrograph[grid.selected], minlength=len(grid.names)).tolist()
        for level in LEVELS:
            tally.add("slope", level, ladder.slope(level), 2 / settings.bfactor_A2)
            need = micrographs_needed(ladder, TARGET_A, counts, 3.0, level).estimate
            if isinstance(need, Interval):
                tally.add("micrographs needed", level, need, truth)
    tally.assert_cover()


def test_coverage_check_can_fail():
    tally = Tally()
    rng = np.random.default_rng(0)
    for value in rng.standard_normal(WORLDS):
        tally.add("too narrow", 0.95, Interval(value, value - 1.3, value + 1.3, ""), 0.0)
    with pytest.raises(AssertionError, match="too narrow"):
        tally.assert_cover()


def test_particles_as_the_unit_would_not_cover():
    """The reason for all this: intervals from particles alone miss, because micrographs differ."""
    settings = replace(UNEVEN, fsc_error=1e-6)
    tally = Tally()
    for seed in range(WORLDS):
        world = make_world(settings, seed)
        names = world.picked["rlnMicrographName"].str.startswith("good").to_numpy()
        values = [np.log(world.quality[world.selected & mask].clip(1e-3)) for mask in (names, ~names)]
        error = math.sqrt(sum(value.var() / len(value) for value in values))
        middle = values[0].mean() - values[1].mean()
        tally.add("naive", 0.95, Interval(middle, middle - 1.96 * error, middle + 1.96 * error, ""), 0.5)
    assert np.mean(tally.hits["naive", 0.95]) < 0.6
