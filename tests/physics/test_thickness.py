"""How many electrons ice costs, and its thickness from them."""

from __future__ import annotations

import pytest

from scherzer.physics.thickness import (
    aperture_mean_free_path_A,
    inelastic_mean_free_path_A,
    lost_mean_free_path_A,
    thickness_of_loss_A,
)


def test_the_aperture_stops_little_and_less_at_higher_voltage() -> None:
    paths_A = [aperture_mean_free_path_A(kV) for kV in (100.0, 200.0, 300.0)]
    assert paths_A == sorted(paths_A)
    # Krios with its filter's slit in, Rice et al. 2018: about 3200 A in all, 3950 A of it by loss of energy.
    assert 14_000 < paths_A[-1] < 20_000


def test_rates_of_loss_add() -> None:
    both = 1 / aperture_mean_free_path_A(300.0) + 1 / inelastic_mean_free_path_A(300.0)
    assert 1 / lost_mean_free_path_A(300.0, energy_filter=True) == pytest.approx(both)
    assert lost_mean_free_path_A(300.0, energy_filter=False) == aperture_mean_free_path_A(300.0)


def test_two_films_are_as_thick_as_both() -> None:
    path_A = lost_mean_free_path_A(300.0, energy_filter=True)
    one, other = thickness_of_loss_A(80, 100, path_A), thickness_of_loss_A(60, 80, path_A)
    assert one > 0
    assert thickness_of_loss_A(60, 100, path_A) == pytest.approx(one + other)
    assert thickness_of_loss_A(100 / 2.718281828, 100, path_A) == pytest.approx(path_A)
    assert thickness_of_loss_A(101, 100, path_A) < 0
