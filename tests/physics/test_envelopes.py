"""Envelopes and the interaction parameter."""

from __future__ import annotations

import pytest
import torch

from scherzer.physics.ctf import electron_wavelength_A
from scherzer.physics.envelopes import (
    b_factor_envelope,
    interaction_rad_per_V_A,
    spatial_coherence_envelope,
    temporal_coherence_envelope,
)


@pytest.mark.parametrize(("voltage_kV", "expected"), [(100, 9.244e-4), (200, 7.288e-4), (300, 6.526e-4)])
def test_interaction_parameter_as_tabulated(voltage_kV: float, expected: float) -> None:
    assert interaction_rad_per_V_A(voltage_kV) == pytest.approx(expected, rel=1e-3)


def test_envelopes_are_one_at_the_origin_and_fall() -> None:
    k2 = torch.linspace(0, 0.35, 50) ** 2
    wavelength_A = float(electron_wavelength_A(300))
    curves = [
        b_factor_envelope(k2, 50),
        spatial_coherence_envelope(k2, 20000, 2.7e7, wavelength_A, 3e-5),
        temporal_coherence_envelope(k2, wavelength_A, 30),
    ]
    for curve in curves:
        assert float(curve[0]) == 1
        assert torch.all(curve.diff() <= 0)
    assert float(b_factor_envelope(torch.tensor(1 / 9), 36.0)) == pytest.approx(torch.e**-1, rel=1e-5)


def test_a_wide_source_hurts_more_at_high_defocus() -> None:
    k2 = torch.tensor(1 / 16)
    near, far = (spatial_coherence_envelope(k2, d, 2.7e7, 0.0197, 5e-5) for d in (8000.0, 25000.0))
    assert float(far) < 0.6 < float(near)


def test_a_spread_of_focus_damps_like_the_mean_over_foci() -> None:
    # The mean of exp(i pi lambda z k^2) over normally distributed z of standard deviation 100 A.
    wavelength_A, k2 = float(electron_wavelength_A(300)), torch.tensor([0.02, 0.05, 0.1])
    z = torch.linspace(-600, 600, 24001, dtype=torch.float64)
    weight = torch.exp(-0.5 * (z / 100) ** 2)
    wave = torch.cos(torch.pi * wavelength_A * k2[:, None] * z)
    expected = (wave * weight).sum(1) / weight.sum()
    torch.testing.assert_close(
        temporal_coherence_envelope(k2, wavelength_A, 100.0).double(), expected, rtol=1e-4, atol=1e-6
    )


def test_a_source_of_finite_size_damps_by_the_gradient_of_the_aberration() -> None:
    # Mean of exp(i grad(chi) . tau / lambda) over a Gaussian of angles whose 1/e half width is alpha.
    wavelength_A, alpha, k, defocus_A = float(electron_wavelength_A(300)), 4e-5, 0.25, 20000.0
    gradient = 2 * torch.pi * wavelength_A * k * defocus_A  # of pi lambda z k^2, Cs = 0
    angle = torch.linspace(-5 * alpha, 5 * alpha, 20001, dtype=torch.float64)
    weight = torch.exp(-((angle / alpha) ** 2))
    expected = float((torch.cos(gradient * angle / wavelength_A) * weight).sum() / weight.sum())
    found = float(spatial_coherence_envelope(torch.tensor(k**2), defocus_A, 0.0, wavelength_A, alpha))
    assert found == pytest.approx(expected, rel=1e-3)
