"""E1: quantiles, overlap and which class has the larger underfocus."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scherzer.study.defocus import defocus_by_group, defocus_pairs, e1_json
from scherzer.study.grid import read_grid
from scherzer.study.intervals import Interval, Unknown
from scherzer.study.power import GroupWorld, WorldSettings, make_world


def grid_of(groups: dict[str, GroupWorld]):
    world = make_world(WorldSettings(groups), 4)
    return read_grid(world.micrographs, world.picked, world.selected)


PAPER = {
    "good": GroupWorld(21, 5, underfocus_um=(2.1, 0.3)),
    "moderate": GroupWorld(21, 5, underfocus_um=(1.4, 0.3)),
    "bad": GroupWorld(3, 5, underfocus_um=(0.7, 0.2)),
}


def test_groups_hold_their_own_quantiles_and_intervals():
    grid = grid_of(PAPER)
    found = defocus_by_group(grid, 0.95, 1)
    values_um = grid.underfocus_A[grid.micrographs_of(("good",))] / 1e4
    assert found["good"].micrographs == 21
    assert found["good"].quantiles_um[3] == pytest.approx(np.median(values_um))
    assert found["good"].quantiles_um[0] == pytest.approx(values_um.min())
    median = found["good"].median_um
    assert isinstance(median, Interval)
    assert median.low <= 2.1 <= median.high
    assert isinstance(found["bad"].median_um, Unknown)


def test_pairs_are_mann_whitney():
    grid = grid_of(PAPER)
    pair = defocus_pairs(grid, 0.95, 1)[0]
    a, b = (grid.underfocus_A[grid.micrographs_of((name,))] for name in ("good", "moderate"))
    assert pair.probability_larger.value == pytest.approx(stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)))
    assert isinstance(pair.probability_larger, Interval)
    assert pair.probability_larger.low > 0.5
    assert 0 < pair.overlap_fraction < 1


def test_apart_means_no_overlap_and_alike_means_half():
    apart = {"good": GroupWorld(10, 5, underfocus_um=(2.5, 0.05)), "bad": GroupWorld(10, 5, underfocus_um=(0.5, 0.05))}
    pair = defocus_pairs(grid_of(apart), 0.95, 1)[0]
    assert pair.overlap_fraction == 0
    assert pair.probability_larger.value == 1
    alike = {"good": GroupWorld(10, 5, underfocus_um=(2.0, 0.0)), "bad": GroupWorld(10, 5, underfocus_um=(2.0, 0.0))}
    pair = defocus_pairs(grid_of(alike), 0.95, 1)[0]
    assert pair.probability_larger.value == 0.5


def test_json_names_its_unit():
    grid = grid_of(PAPER)
    entry = e1_json(defocus_by_group(grid, 0.95, 1), defocus_pairs(grid, 0.95, 1))
    assert entry["performed"]
    assert set(entry["groups"]) == {"good", "moderate", "bad"}
    assert entry["groups"]["good"]["underfocus_quantiles_um"]["0.5"] > 1.5
    assert len(entry["pairs"]) == 3
