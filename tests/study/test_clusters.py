"""Least squares with the micrograph as unit, against textbook cases and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scherzer.study.clusters import fit_both_ways, fit_clustered
from scherzer.study.intervals import Fitted

ONES = np.ones((5, 1))


def test_disjoint_equal_draws_give_the_ordinary_t_interval():
    values = np.array([1.0, 2.0, 4.0, 4.5, 3.0])
    fit = fit_clustered(values, ONES, np.eye(5))
    assert fit is not None
    assert fit.df == pytest.approx(4.0)
    found = fit.combination(np.ones(1)).interval(0.95, "")
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert fit.draw_variance == pytest.approx(values.var(ddof=1))


def test_overlapping_draws_have_fewer_degrees_of_freedom_than_draws():
    # All four ways to take one of two micrographs from each half: rank two, however many draws.
    shares = np.array([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]) / 2
    fit = fit_clustered(np.array([1.0, 2.0, 3.0, 5.0]), np.ones((4, 1)), shares)
    assert fit is not None
    assert fit.df == pytest.approx(2.0)


def test_the_variance_of_overlapping_means_is_unbiased():
    rng = np.random.default_rng(5)
    shares = np.array([rng.permutation([0.25] * 4 + [0.0] * 4) for _ in range(5)])
    effects = rng.standard_normal((4000, 8))
    fits = [fit_clustered(shares @ u, ONES, shares) for u in effects]
    means = np.array([fit.beta[0] for fit in fits if fit is not None])
    told = np.mean([fit.covariance[0, 0] for fit in fits if fit is not None])
    assert told == pytest.approx(means.var(), rel=0.08)


def test_no_spread_no_error():
    assert fit_clustered(np.array([1.0, 1.1]), np.eye(2), np.eye(2)) is None
    same = np.tile([0.5, 0.5], (3, 1))
    assert fit_clustered(np.array([1.0, 1.1, 1.2]), np.ones((3, 1)), same) is None


def test_both_ways_agree_on_the_estimate_and_bracket_the_error():
    rng = np.random.default_rng(1)
    particles = np.log([800, 400, 400, 200, 200, 200])
    shares = np.zeros((6, 8))
    shares[0] = 1 / 8
    shares[1, :4] = shares[2, 4:] = 1 / 4
    for row in range(3):
        shares[3 + row, 2 * row : 2 * row + 2] = 1 / 2
    design = np.stack([np.ones(6), particles - particles.mean()], axis=1)
    both = fit_both_ways(0.02 + 0.01 * design[:, 1] + 0.001 * shares @ rng.standard_normal(8), design, shares)
    assert both is not None
    assert np.allclose(both[0].beta, both[1].beta)
    assert both[0].beta[1] == pytest.approx(0.01, abs=0.002)
    assert not np.allclose(both[0].covariance, both[1].covariance)


def test_satterthwaite_and_p_value_match_welch():
    a, b = np.array([1.0, 2.0, 3.5, 2.2]), np.array([4.0, 4.2, 3.9])
    first, second = (Fitted(x.mean(), x.var(ddof=1) / len(x), len(x) - 1) for x in (a, b))
    welch = stats.ttest_ind(a, b, equal_var=False)
    difference = first.minus(second)
    assert difference.df == pytest.approx(welch.df)
    assert difference.p_value() == pytest.approx(welch.pvalue)
