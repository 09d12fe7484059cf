"""The plan: bounded, shared, told."""

from __future__ import annotations

import numpy as np
import pytest

from scherzer.study.grid import Grid, read_grid
from scherzer.study.plan import plan_study
from scherzer.study.power import GroupWorld, WorldSettings, make_world
from scherzer.study.settings import StudySettings
from scherzer.study.subsets import EqualDraws


def grid_of(groups: dict[str, GroupWorld], seed: int = 0) -> Grid:
    world = make_world(WorldSettings(groups), seed)
    return read_grid(world.micrographs, world.picked, world.selected)


THREE = {"good": GroupWorld(12), "moderate": GroupWorld(12), "bad": GroupWorld(9, 60, kept=0.4)}


@pytest.mark.parametrize("budget", [8, 12, 18, 25, 40])
def test_budget_is_kept(budget: int):
    plan = plan_study(grid_of(THREE), StudySettings(max_refinements=budget))
    subsets = plan.subsets(50)
    assert len(subsets) <= budget
    assert len({subset.key for subset in subsets}) == len(subsets)
    assert set(plan.own) == {"good", "moderate", "bad"}
    assert plan.joined is not None
    if budget < 40:
        assert any("repeats were lowered" in note for note in plan.notes)


def test_three_groups_fit_the_default_budget_with_repeats_and_control():
    plan = plan_study(grid_of(THREE), StudySettings())
    assert isinstance(plan.equal, EqualDraws)
    assert isinstance(plan.control, EqualDraws)
    assert len(plan.equal.equal_particles["bad"]) >= 3
    assert all(len(found) >= 2 for found in plan.micrograph_draws().values())


def test_one_group_leaves_the_budget_to_the_ladder():
    plan = plan_study(grid_of({"good": GroupWorld(20)}), StudySettings())
    assert isinstance(plan.equal, str)
    assert "nothing to compare" in plan.equal
    assert len(plan.ladder) == 15
    assert plan.everything.key == plan.own["good"].key


def test_a_group_with_hardly_any_particles_is_left_out_and_named():
    groups = {"good": GroupWorld(10), "moderate": GroupWorld(10), "bad": GroupWorld(1)}
    groups["bad"] = GroupWorld(1, 30)
    plan = plan_study(grid_of(groups), StudySettings())
    assert set(plan.own) == {"good", "moderate"}
    assert set(plan.picked) == {"good", "moderate", "bad"}
    assert any(note.startswith("bad:") for note in plan.notes)


def test_one_bad_micrograph_with_enough_particles_is_left_out_of_e5_only():
    groups = {"good": GroupWorld(10), "moderate": GroupWorld(10), "bad": GroupWorld(1, 120)}
    plan = plan_study(grid_of(groups), StudySettings())
    assert set(plan.own) == {"good", "moderate", "bad"}
    assert isinstance(plan.equal, EqualDraws)
    assert set(plan.equal.equal_particles) == {"good", "moderate"}
    assert any("bad is left out of E5" in note for note in plan.notes)


def test_the_plan_depends_on_the_seed_and_on_nothing_else():
    grid = grid_of(THREE)
    keys = [[subset.key for subset in plan_study(grid, StudySettings(seed=seed)).subsets(50)] for seed in (1, 1, 2)]
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


def test_half_sets_are_never_dealt_anew():
    grid = grid_of(THREE)
    before = grid.particle_half.copy()
    plan_study(grid, StudySettings())
    assert np.array_equal(before, grid.particle_half)


def test_settings_refuse_nonsense():
    settings = ({"draws": 1}, {"max_refinements": 3}, {"confidence": 1.0}, {"ladder": (1.0,)})
    for wrong in (*settings, {"target_resolution_A": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            StudySettings(**wrong)
