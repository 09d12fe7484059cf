"""Potentials of models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scherzer.formats.models import Atoms, read_atoms
from scherzer.physics.potential import potential_volume
from scherzer.physics.scattering import resting_form_factor_V_A3, scatterers

MODELS = Path(__file__).parents[3] / "shared/models"


def model(name: str) -> Atoms:
    if not (MODELS / name).exists():
        pytest.skip(f"model absent: {name}")
    return read_atoms(MODELS / name)


def some_atoms(count: int = 40, spread_A: float = 6.0) -> Atoms:
    rng = np.random.default_rng(3)
    return Atoms(
        positions_A=rng.normal(0, spread_A, (count, 3)) + [50, -20, 7],
        elements=rng.choice(["C", "N", "O", "ZN"], count),
        b_factors_A2=rng.choice([20.0, 30.0, 45.0], count),
        occupancies=rng.choice([1.0, 0.5], count),
    )


def frequencies(box: int, pixel_size_A: float) -> Tensor:
    """Radius of every frequency of a half transform, 1/A, ``(b, b, b // 2 + 1)``."""
    k = torch.fft.fftfreq(box, pixel_size_A)
    return (k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[: box // 2 + 1] ** 2).sqrt()


def direct_sum(atoms: Atoms, box: int, pixel_size_A: float, b_extra_A2: float, in_ice: bool) -> Tensor:
    """The plain twin: the transform of the potential, V A^3, one exponential for every atom and frequency."""
    particle = scatterers(atoms)
    k = torch.fft.fftfreq(box, pixel_size_A, dtype=torch.float64)
    k2 = k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2
    waves = torch.exp(-2j * torch.pi * particle.positions_A.double()[:, :, None] * k)
    total = torch.zeros((box,) * 3, dtype=torch.complex128)
    for number, kind in enumerate(particle.kinds):
        chosen = particle.kind_of == number
        x, y, z = waves[chosen].unbind(1)
        sums = torch.einsum("px,py,pz->zyx", x * particle.occupancies[chosen, None], y, z)
        total += kind.form_factor_V_A3(k2, b_extra_A2, in_ice) * sums
    return total


@pytest.mark.parametrize("in_ice", [True, False])
def test_volume_equals_the_direct_sum_over_atoms(in_ice: bool) -> None:
    atoms, box, pixel_size_A = some_atoms(), 36, 1.5
    volume = potential_volume(atoms, box, pixel_size_A, b_extra_A2=10, in_ice=in_ice).double()
    found = torch.fft.fftn(torch.fft.ifftshift(volume)) * pixel_size_A**3
    expected = direct_sum(atoms, box, pixel_size_A, 10.0, in_ice)
    k = torch.fft.fftfreq(box, pixel_size_A)
    radius = (k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2).sqrt()
    inside = radius < 0.8 * 0.5 / pixel_size_A
    error = (found - expected)[inside].abs().pow(2).mean() / expected[inside].abs().pow(2).mean()
    assert float(error.sqrt()) < 0.005


def test_parseval() -> None:
    # The energy of the voxels is that of the structure factors, which are summed without any grid.
    atoms, box, pixel_size_A = some_atoms(), 36, 1.5
    volume = potential_volume(atoms, box, pixel_size_A, b_extra_A2=150).double()
    in_space = volume.square().sum() * pixel_size_A**3
    in_frequency = direct_sum(atoms, box, pixel_size_A, 150.0, True).abs().square().sum() / (box * pixel_size_A) ** 3
    assert float(in_space / in_frequency) == pytest.approx(1, abs=0.002)


def test_integral_of_the_vacuum_potential_is_the_sum_of_scattering_factors() -> None:
    atoms = some_atoms()
    volume = potential_volume(atoms, 48, 1.0, in_ice=False)
    particle = scatterers(atoms)
    zero = torch.zeros(1)
    each = torch.tensor([float(kind.form_factor_V_A3(zero, in_ice=False)) for kind in particle.kinds])
    expected = float((each[particle.kind_of] * particle.occupancies).sum())
    assert float(volume.sum()) == pytest.approx(expected, rel=3e-3)


def test_b_factor_is_applied_to_every_atom() -> None:
    atoms = some_atoms()
    sharp, smooth = (potential_volume(atoms, 32, 2.0, b) for b in (0.0, 80.0))
    k = torch.fft.fftfreq(32, 2.0)
    k2 = k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2
    expected = torch.fft.ifftn(torch.fft.fftn(sharp) * torch.exp(-80 / 4 * k2)).real
    torch.testing.assert_close(smooth, expected, atol=1e-4, rtol=0)


def test_occupancy_weighs() -> None:
    one = Atoms(np.zeros((1, 3)), np.array(["C"]), np.zeros(1), np.array([0.5]))
    full = replace(one, occupancies=np.array([1.0]))
    torch.testing.assert_close(2 * potential_volume(one, 16, 1.5), potential_volume(full, 16, 1.5))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        potential_volume(some_atoms(spread_A=20), 16, 1.5)
    with pytest.raises(ValueError, match="even"):
        potential_volume(some_atoms(), 33, 1.5)


@dataclass(frozen=True)
class Turn:
    name: str
    axes: tuple[int, int]


@pytest.mark.parametrize("turn", [Turn("z", (1, 2)), Turn("y", (0, 2)), Turn("x", (0, 1))], ids=lambda turn: turn.name)
def test_apoferritin_has_its_four_folds_along_the_axes_of_the_box(turn: Turn) -> None:
    volume = potential_volume(model("2w0o.pdb"), 72, 3.0)[1:, 1:, 1:]  # odd, so that the centre voxel stays put
    turned = torch.rot90(volume, 1, turn.axes)
    eighth = torch.roll(volume, 5, turn.axes[0])
    assert correlation(volume, turned) > 0.9999
    assert correlation(volume, eighth) < 0.5


def test_protein_stands_out_of_ice_by_a_few_volts() -> None:
    volume = potential_volume(model("2w0o.pdb"), 64, 3.0, b_extra_A2=400)
    shell = volume > 0.5 * volume.max()
    assert 2.5 < float(volume[shell].mean()) < 4
    assert abs(float(volume[:4].mean())) < 0.05


@dataclass(frozen=True)
class Shells:
    """Mean squared structure factor by shell, over the sum of all atoms' squared form factors at rest."""

    k2: Tensor
    power: Tensor

    def b_factor_A2(self, coarse_A: float, fine_A: float) -> float:
        """Minus twice the slope of the Wilson plot."""
        chosen = (self.k2 > coarse_A**-2) & (self.k2 < fine_A**-2)
        slope, _ = np.polyfit(self.k2[chosen].numpy(), self.power[chosen].log().numpy(), 1)
        return -2 * float(slope)


def wilson(atoms: Atoms, box: int, pixel_size_A: float, b_extra_A2: float) -> Shells:
    volume = potential_volume(atoms, box, pixel_size_A, b_extra_A2, in_ice=False)
    squared = (torch.fft.rfftn(volume) * pixel_size_A**3).abs().square().flatten()
    shell = (frequencies(box, pixel_size_A) * box * pixel_size_A).round().long().flatten()
    power = torch.bincount(shell, squared.double()) / torch.bincount(shell)
    k2 = (torch.arange(len(power)) / (box * pixel_size_A)) ** 2
    particle = scatterers(atoms)
    total = torch.zeros_like(k2)
    for number, kind in enumerate(particle.kinds):
        squares = particle.occupancies[particle.kind_of == number].square().sum()
        total += squares * resting_form_factor_V_A3(kind.element, kind.hydrogens, k2, in_ice=False).square()
    return Shells(k2[: box // 2], (power / total)[: box // 2])


def test_the_wilson_slope_of_betagalactosidase_is_the_b_factor_put_in() -> None:
    atoms = model("5a1a.cif")
    atoms = replace(atoms, b_factors_A2=np.full(len(atoms), 25.0))
    sharp, smooth = (wilson(atoms, 208, 1.0, added) for added in (0.0, 60.0))
    band = (sharp.k2 > 10.0**-2) & (sharp.k2 < 2.5**-2)
    added = torch.log(sharp.power / smooth.power)[band] / sharp.k2[band] * 2
    torch.testing.assert_close(added, torch.full_like(added, 60.0), rtol=0.01, atol=0)
    # Against what independent atoms scatter, absolute scale included: bonds and folds leave waves on the line.
    assert sharp.b_factor_A2(3.5, 2.2) == pytest.approx(25, abs=5)
    assert smooth.b_factor_A2(3.5, 2.2) == pytest.approx(85, abs=5)
    expected = torch.exp(-25 / 2 * sharp.k2)
    level = (sharp.power / expected)[(sharp.k2 > 3.5**-2) & (sharp.k2 < 2.2**-2)].mean()
    assert float(level) == pytest.approx(1, abs=0.25)


def correlation(first: Tensor, second: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1])
