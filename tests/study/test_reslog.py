"""ResLog: known lines are found, censored rungs dropped, unbounded needs said."""

from __future__ import annotations

import numpy as np
import pytest

from scherzer.study.intervals import Interval, Unknown
from scherzer.study.reslog import LadderPoint, ResLog, fit_reslog, micrographs_needed

BFACTOR_A2, AT_1000 = 120.0, 0.05  # the line passes 4.5 A at 1000 particles


def ladder(noise: float = 0.0002, counts=(1000, 500, 500, 250, 250, 125, 125), bfactor=BFACTOR_A2, seed: int = 0):
    rng = np.random.default_rng(seed)
    points = []
    for number, count in enumerate(counts):
        shares = np.zeros(20)
        rows = rng.choice(20, max(2, 20 * count // 1000), replace=False)
        shares[rows] = 1 / len(rows)
        value = AT_1000 + 2 / bfactor * np.log(count / 1000) + noise * rng.standard_normal()
        points.append(LadderPoint(count, value, shares, False, f"{count}"))
        assert number < 20
    return points


def test_line_and_need_are_found():
    fitted = fit_reslog(ladder(), 20.0)
    assert isinstance(fitted, ResLog)
    b = fitted.bfactor(0.95)
    assert isinstance(b, Interval)
    assert b.low < BFACTOR_A2 < b.high
    need = micrographs_needed(fitted, 4.0, [50] * 20, 3.0, 0.95)
    truth = 1000 * np.exp((4.0**-2 - AT_1000) * BFACTOR_A2 / 2) / 50
    assert isinstance(need.estimate, Interval)
    assert need.estimate.value == pytest.approx(truth, rel=0.15)
    assert need.estimate.low < truth < need.estimate.high
    assert need.at_least == need.estimate.low


def test_uneven_yield_widens_the_need():
    fitted = fit_reslog(ladder(), 20.0)
    even = micrographs_needed(fitted, 4.0, [50] * 20, 3.0, 0.95).estimate
    uneven = micrographs_needed(fitted, 4.0, [10] * 10 + [90] * 10, 3.0, 0.95).estimate
    assert isinstance(even, Interval)
    assert isinstance(uneven, Interval)
    assert uneven.value == pytest.approx(even.value)
    assert uneven.high / uneven.low > 1.1 * even.high / even.low


def test_rungs_at_nyquist_go_as_a_whole():
    points = ladder()
    spoiled = [p if p.rung != "500" else LadderPoint(p.particles, 0.11, p.shares, True, p.rung) for p in points[:2]]
    fitted = fit_reslog([*spoiled, *points[2:]], 20.0)
    assert isinstance(fitted, ResLog)
    assert all(point.rung != "500" for point in fitted.used)
    assert any("Nyquist" in why for why in fitted.dropped)


def test_rungs_that_show_the_start_are_left_out():
    fitted = fit_reslog(ladder(), 7.0)
    assert isinstance(fitted, Unknown)
    assert "start map" in fitted.reason


def test_a_flat_ladder_has_no_upper_bound_but_says_so():
    fitted = fit_reslog(ladder(noise=0.002, bfactor=1e6), 20.0)
    assert isinstance(fitted, ResLog)
    assert isinstance(fitted.bfactor(0.95), Unknown)
    need = micrographs_needed(fitted, 4.0, [50] * 20, 3.0, 0.95)
    assert isinstance(need.estimate, Unknown)
    assert "upper bound" in need.estimate.reason


def test_targets_beyond_nyquist_or_far_off_are_refused():
    fitted = fit_reslog(ladder(), 20.0)
    beyond = micrographs_needed(fitted, 2.5, [50] * 20, 3.0, 0.95)
    assert isinstance(beyond.estimate, Unknown)
    assert "Nyquist" in beyond.estimate.reason
    far = micrographs_needed(fit_reslog(ladder(bfactor=300.0), 20.0), 3.1, [50] * 20, 3.0, 0.95)
    assert isinstance(far.estimate, Unknown)
    assert far.at_least is not None
    assert far.at_least > 100
    assert "at least" in far.estimate.reason


def test_too_few_points_are_refused():
    assert isinstance(fit_reslog(ladder()[:3], 20.0), Unknown)
    assert isinstance(fit_reslog([], 20.0), Unknown)
