"""Radiation damage."""

from __future__ import annotations

import math

import pytest
import torch

from scherzer.physics.dose import critical_dose_e_per_A2, dose_weights, mean_survival


def test_published_critical_exposures_at_300_kv() -> None:
    # 0.24499 k^-1.6649 + 2.8141 by hand at 10 A and 3 A.
    k = torch.tensor([1 / 10, 1 / 3])
    expected = torch.tensor([0.24499 * 46.2275 + 2.8141, 0.24499 * 6.2274 + 2.8141])
    torch.testing.assert_close(critical_dose_e_per_A2(k, 300), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("voltage_kV", "scale"), [(300, 1.0), (200, 0.8), (100, 0.532), (400, 1.0), (250, 0.9)])
def test_lower_voltages_damage_faster(voltage_kV: float, scale: float) -> None:
    k = torch.tensor([0.2])
    ratio = critical_dose_e_per_A2(k, voltage_kV) / critical_dose_e_per_A2(k, 300)
    assert float(ratio) == pytest.approx(scale, rel=1e-5)


def test_weights_fall_with_dose_and_frequency_but_not_at_the_origin() -> None:
    k = torch.linspace(0, 0.5, 20).reshape(4, 5)
    weights = dose_weights(k, torch.tensor([1.0, 10.0, 40.0]), 300)
    assert weights.shape == (3, 4, 5)
    assert torch.all(weights[:, 0, 0] == 1)
    assert torch.all(weights.flatten(1).diff(dim=1) < 0)
    assert torch.all(weights.flatten(1)[:, 1:].diff(dim=0) < 0)
    critical = critical_dose_e_per_A2(k[1, 1], 300)
    assert float(dose_weights(k[1, 1], critical.reshape(1), 300)) == pytest.approx(math.exp(-0.5), rel=1e-5)


def test_mean_survival_is_the_mean_of_what_is_left() -> None:
    k = torch.tensor([0.0, 1e-4, 0.02, 0.1, 0.4])
    moments = 10 + (torch.arange(2000) + 0.5) / 2000 * 30
    expected = dose_weights(k, moments, 300).double().mean(0).float()
    torch.testing.assert_close(mean_survival(k, 10.0, 40.0, 300), expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(mean_survival(k, 0.0, 0.0, 300), torch.ones(5))
