"""Negative controls: labels without meaning show an effect at the nominal rate and no more."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scherzer.study.comparisons import compare
from scherzer.study.grid import read_grid
from scherzer.study.intervals import Interval
from scherzer.study.power import GroupWorld, WorldSettings, make_world
from scherzer.study.subsets import EqualDraws, equal_draws, shuffled_members

WORLDS = 240
ALIKE = WorldSettings({"good": GroupWorld(10), "moderate": GroupWorld(10)})
UNLIKE = WorldSettings({"good": GroupWorld(10), "moderate": GroupWorld(10, ln_quality=-1.0)})


def false_alarms(settings: WorldSettings, shuffle: bool, level: float) -> float:
    """Share of worlds in which the interval of the primary endpoint leaves zero out."""
    alarms = []
    for seed in range(WORLDS):
        world = make_world(settings, seed)
        grid = read_grid(world.micrographs, world.picked, world.selected)
        members = {name: grid.micrographs_of((name,)) for name in grid.groups}
        if shuffle:
            members = shuffled_members(np.random.default_rng([seed, 1]), grid, members)
        draws = equal_draws(grid, members, 3 if shuffle else 5, [seed, 2], 50, 300)
        assert isinstance(draws, EqualDraws)
        found = compare(grid, draws.equal_particles, world.refiner, 20.0, level, True).differences[0].ln_ssnr
        assert isinstance(found, Interval)
        alarms.append(found.excludes_zero())
    return float(np.mean(alarms))


@pytest.mark.parametrize(
    ("settings", "shuffle"),
    [(ALIKE, False), (ALIKE, True), (UNLIKE, True)],
    ids=["groups alike", "alike and shuffled", "unlike and shuffled"],
)
def test_no_effect_where_there_is_none(settings: WorldSettings, shuffle: bool):
    level = 0.90
    rate = false_alarms(settings, shuffle, level)
    most = stats.binom.ppf(0.999, WORLDS, 1 - level) / WORLDS
    assert rate <= most, f"{rate:.3f} of the controls show an effect, {most:.3f} allowed"


def test_the_same_worlds_show_the_effect_with_their_true_labels():
    assert false_alarms(UNLIKE, False, 0.90) > 0.9
