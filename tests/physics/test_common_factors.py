"""Common functions against every atom's own form factor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scherzer.formats.models import Atoms
from scherzer.physics.common_factors import TOLERANCE, common_factors
from scherzer.physics.scattering import Scatterers, scatterers


@pytest.fixture(scope="module")
def protein() -> Scatterers:
    rng = np.random.default_rng(1)
    b_factors_A2 = 8 + rng.gamma(1.5, 10, 3000)
    elements = rng.choice(["C", "N", "O", "S"], 3000, p=[0.63, 0.17, 0.19, 0.01])
    return scatterers(Atoms(rng.normal(0, 20, (3000, 3)), elements, b_factors_A2, np.ones(3000)))


@pytest.mark.parametrize("in_ice", [True, False])
@pytest.mark.parametrize("pixel_size_A", [0.8, 1.5, 4.0])
def test_few_functions_describe_all_kinds(protein: Scatterers, pixel_size_A: float, in_ice: bool) -> None:
    factors = common_factors(protein, 0.5 / pixel_size_A, in_ice)
    weights = factors.weights(protein)
    assert weights.shape[1] <= 5 < len(protein.kinds)
    k = torch.linspace(0, 0.5 / pixel_size_A, 101)
    exact = torch.stack([kind.form_factor_V_A3(k**2, in_ice=in_ice) for kind in protein.kinds])[protein.kind_of]
    close = weights @ torch.stack([factors.at(k, number) for number in range(weights.shape[1])])
    error = ((close - exact).square().sum(0) / exact.square().sum(0)).sqrt()
    assert float(error.square().mean().sqrt()) < 1.1 * TOLERANCE
    assert float(error.max()) < 4 * TOLERANCE
    # What all atoms scatter together, at low frequency.
    assert float(close.sum(0)[0] / exact.sum(0)[0]) == pytest.approx(1, abs=TOLERANCE)


def test_one_kind_needs_one_function_and_occupancies_weigh(protein: Scatterers) -> None:
    atoms = Atoms(np.zeros((2, 3)), np.array(["N", "N"]), np.full(2, 20.0), np.array([1.0, 0.25]))
    particle = scatterers(atoms)
    factors = common_factors(particle, 0.4)
    assert factors.curves.shape[0] == 1
    k = torch.tensor([0.0, 0.1, 0.39, 0.6])
    expected = particle.kinds[0].form_factor_V_A3(k**2)
    for weight, occupancy in zip(factors.weights(particle)[:, 0], atoms.occupancies, strict=True):
        torch.testing.assert_close(weight * factors.at(k, 0), float(occupancy) * expected, rtol=1e-4, atol=1e-3)
