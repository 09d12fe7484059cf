"""Potentials of atoms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from scherzer.formats.models import Atoms, read_atoms
from scherzer.physics.scattering import (
    V_A2_PER_A,
    electron_scattering_factor_A,
    ice_potential_V,
    potential_volume,
    scattering_groups,
)

MODEL = Path(__file__).parents[3] / "shared/models/2w0o.pdb"


def some_atoms(count: int = 40, spread_A: float = 6.0) -> Atoms:
    rng = np.random.default_rng(3)
    return Atoms(
        positions_A=rng.normal(0, spread_A, (count, 3)) + [50, -20, 7],
        elements=rng.choice(["C", "N", "O", "ZN"], count),
        b_factors_A2=np.full(count, 30.0),
        occupancies=np.ones(count),
    )


def test_scattering_factors_as_tabulated() -> None:
    # Peng et al. 1996: f(0) of H, C, N, O in A.
    for element, expected in {"H": 0.529, "C": 2.509, "N": 2.211, "O": 1.983, "D": 0.529}.items():
        assert float(electron_scattering_factor_A(element, torch.zeros(1))) == pytest.approx(expected, abs=4e-3)
    k2 = torch.tensor([0.0, 0.04, 0.16])
    assert torch.all(electron_scattering_factor_A("C", k2).diff() < 0)


def test_ice_and_protein_have_the_potentials_of_the_literature() -> None:
    assert 3.4 < ice_potential_V() < 4.9


@pytest.mark.parametrize("in_ice", [True, False])
def test_volume_equals_the_direct_sum_over_atoms(in_ice: bool) -> None:
    atoms, box, pixel_size_A = some_atoms(), 36, 1.5
    volume = potential_volume(atoms, box, pixel_size_A, b_extra_A2=10, in_ice=in_ice).double()
    found = torch.fft.fftn(torch.fft.ifftshift(volume)) * pixel_size_A**3
    k = torch.fft.fftfreq(box, pixel_size_A, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(k, k, k, indexing="ij"))
    expected = torch.zeros((box,) * 3, dtype=torch.complex128)
    for group in scattering_groups(atoms):
        phase = torch.einsum("czyx,nc->nzyx", grid, group.positions_A.double().flip(1))
        factor = group.form_factor_V_A3((grid**2).sum(0), 10.0, in_ice)
        expected += factor * torch.exp(-2j * torch.pi * phase).sum(0)
    radius = grid.pow(2).sum(0).sqrt()
    inside = radius < 0.75 * k.max()
    error = (found - expected)[inside].abs().pow(2).mean() / expected[inside].abs().pow(2).mean()
    assert float(error.sqrt()) < 0.005


def test_integral_of_the_vacuum_potential_is_the_sum_of_scattering_factors() -> None:
    atoms = some_atoms()
    volume = potential_volume(atoms, 48, 1.0, in_ice=False)
    zero = torch.zeros(1)
    expected = sum(float(g.form_factor_V_A3(zero, in_ice=False)) * len(g.positions_A) for g in scattering_groups(atoms))
    assert float(volume.sum()) == pytest.approx(expected, rel=1e-4)
    carbon = V_A2_PER_A * (2.509 + 1.2 * 0.529)
    [only] = scattering_groups(
        Atoms(np.zeros((1, 3)), np.array(["C"]), np.zeros(1), np.ones(1)),
    )
    assert float(only.form_factor_V_A3(zero, in_ice=False)) == pytest.approx(carbon, rel=2e-3)


def test_b_factor_is_applied_to_every_atom() -> None:
    atoms = some_atoms()
    sharp, smooth = (potential_volume(atoms, 32, 2.0, b) for b in (0.0, 80.0))
    k = torch.fft.fftfreq(32, 2.0)
    k2 = k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2
    expected = torch.fft.ifftn(torch.fft.fftn(sharp) * torch.exp(-80 / 4 * k2)).real
    torch.testing.assert_close(smooth, expected, atol=1e-4, rtol=0)


def test_occupancy_weighs_and_hydrogens_in_the_model_are_not_added_again() -> None:
    one = Atoms(np.zeros((1, 3)), np.array(["C"]), np.zeros(1), np.array([0.5]))
    full = Atoms(np.zeros((1, 3)), np.array(["C"]), np.zeros(1), np.array([1.0]))
    torch.testing.assert_close(2 * potential_volume(one, 16, 1.5), potential_volume(full, 16, 1.5))
    with_h = Atoms(np.array([[0, 0, 0], [1.1, 0, 0]]), np.array(["C", "H"]), np.zeros(2), np.ones(2))
    assert [group.hydrogens for group in scattering_groups(with_h)] == [0, 0]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        potential_volume(some_atoms(spread_A=20), 16, 1.5)
    with pytest.raises(ValueError, match="even"):
        potential_volume(some_atoms(), 33, 1.5)
    with pytest.raises(ValueError, match="needs atoms"):
        scattering_groups(Atoms(np.zeros((0, 3)), np.zeros(0, str), np.zeros(0), np.zeros(0)))


@dataclass(frozen=True)
class Turn:
    name: str
    axes: tuple[int, int]


@pytest.mark.parametrize("turn", [Turn("z", (1, 2)), Turn("y", (0, 2)), Turn("x", (0, 1))], ids=lambda turn: turn.name)
def test_apoferritin_has_its_four_folds_along_the_axes_of_the_box(turn: Turn) -> None:
    if not MODEL.exists():
        pytest.skip(f"model absent: {MODEL.name}")
    volume = potential_volume(read_atoms(MODEL), 72, 3.0)[1:, 1:, 1:]  # odd, so that the centre voxel stays put
    turned = torch.rot90(volume, 1, turn.axes)
    eighth = torch.roll(volume, 5, turn.axes[0])
    assert correlation(volume, turned) > 0.9999
    assert correlation(volume, eighth) < 0.5


def test_protein_stands_out_of_ice_by_a_few_volts() -> None:
    if not MODEL.exists():
        pytest.skip(f"model absent: {MODEL.name}")
    volume = potential_volume(read_atoms(MODEL), 64, 3.0, b_extra_A2=400)
    shell = volume > 0.5 * volume.max()
    assert 2 < float(volume[shell].mean()) < 5
    assert abs(float(volume[:4].mean())) < 0.05


def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1])
