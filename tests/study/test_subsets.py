"""Draws: whole micrographs, both halves, equal counts, lineage."""

from __future__ import annotations

import numpy as np
import pytest

from scherzer.study.grid import Grid, read_grid
from scherzer.study.power import GroupWorld, WorldSettings, make_world
from scherzer.study.subsets import EqualDraws, draw_micrographs, equal_draws, ladder_draws, shuffled_members, trim


def grid_of(good: int = 20, bad: int = 20, picks: float = 150.0, seed: int = 0) -> Grid:
    world = make_world(WorldSettings({"good": GroupWorld(good, picks), "bad": GroupWorld(bad, picks / 2)}), seed)
    return read_grid(world.micrographs, world.picked, world.selected)


def draws_of(grid: Grid, repeats: int = 4, disjoint_minimum: int = 100) -> EqualDraws:
    members = {name: grid.micrographs_of((name,)) for name in grid.groups}
    found = equal_draws(grid, members, repeats, [1], 20, disjoint_minimum)
    assert isinstance(found, EqualDraws)
    return found


def micrographs_in(grid: Grid, subset) -> set[int]:
    return set(grid.particle_micrograph[subset.indices].tolist())


def test_disjoint_draws_share_no_micrograph_and_hold_equally_many():
    grid = grid_of()
    found = draws_of(grid)
    assert found.disjoint
    for name, subsets in found.equal_micrographs.items():
        seen: set[int] = set()
        for subset in subsets:
            mine = micrographs_in(grid, subset)
            assert len(mine) == found.micrographs_per_draw
            assert not mine & seen
            assert set(grid.group[list(mine)]) == {name}
            halves = grid.micrograph_half[sorted(mine)]
            assert (halves == 1).sum() == (halves == 2).sum()
            seen |= mine


def test_equal_particle_draws_have_the_smallest_groups_count_and_even_halves():
    grid = grid_of()
    found = draws_of(grid)
    for good, bad, all_bad in zip(
        found.equal_particles["good"], found.equal_particles["bad"], found.equal_micrographs["bad"], strict=True
    ):
        assert len(good) == len(bad)
        assert bad.key == all_bad.key, "the smallest group's draw is refined once for both counts"
        halves = grid.particle_half[good.indices]
        assert abs(int((halves == 1).sum()) - int((halves == 2).sum())) <= 1
        assert grid.selected[good.indices].all()
        assert "at random" in good.lineage[-1]


def test_few_particles_give_overlapping_but_different_draws():
    grid = grid_of(6, 6)
    found = draws_of(grid, disjoint_minimum=10_000)
    assert not found.disjoint
    assert found.micrographs_per_draw == 2
    keys = {subset.key for subset in found.equal_micrographs["good"]}
    assert len(keys) == 4


def test_a_group_without_a_repeat_is_refused_with_its_name():
    grid = grid_of(8, 3)
    members = {name: grid.micrographs_of((name,)) for name in grid.groups}
    found = equal_draws(grid, members, 4, [1], 20, 100)
    assert isinstance(found, str)
    assert "bad" in found


def test_trim_keeps_halves_even_as_far_as_they_go():
    grid = grid_of()
    first = np.flatnonzero(grid.particle_half == 1)[:100]
    second = np.flatnonzero(grid.particle_half == 2)[:30]
    kept = trim(np.random.default_rng(0), grid, np.sort(np.concatenate([first, second])), 90)
    assert len(np.unique(kept)) == 90
    assert (grid.particle_half[kept] == 2).sum() == 30
    kept = trim(np.random.default_rng(0), grid, np.sort(np.concatenate([first, second])), 41)
    assert (grid.particle_half[kept] == 2).sum() == 21


def test_draws_run_out_instead_of_repeating():
    blocks = draw_micrographs(np.random.default_rng(0), (np.array([0, 1]), np.array([2, 3])), 1, 9, disjoint=False)
    assert sorted(tuple(block) for block in blocks) == [(0, 2), (0, 3), (1, 2), (1, 3)]
    with pytest.raises(ValueError, match="there"):
        draw_micrographs(np.random.default_rng(0), (np.array([0, 1]), np.array([2, 3])), 1, 3, disjoint=True)


def test_shuffled_groups_mix_labels_and_keep_every_micrograph():
    grid = grid_of(12, 8)
    members = {name: grid.micrographs_of((name,)) for name in grid.groups}
    mixed = shuffled_members(np.random.default_rng(3), grid, members)
    first, second = mixed.values()
    assert not set(first) & set(second)
    assert len(first) + len(second) == 20
    assert abs(len(first) - len(second)) <= 2
    assert {"good", "bad"} == set(grid.group[first]) == set(grid.group[second])


def test_a_ladder_rung_is_a_fraction_of_the_micrographs():
    grid = grid_of(16, 16)
    rung = ladder_draws(grid, 0.25, 3, [1], 10)
    assert [len(micrographs_in(grid, subset)) for subset in rung] == [8, 8, 8]
    assert ladder_draws(grid, 0.01, 3, [1], 10) == ()
    again = ladder_draws(grid, 0.25, 3, [1], 10)
    assert [subset.key for subset in rung] == [subset.key for subset in again]
