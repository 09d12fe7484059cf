"""The soluble phantom."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from scherzer.formats.errors import BadInput
from scherzer.fourier.filters import lowpass
from scherzer.fourier.grids import real_radius
from scherzer.geometry.point_groups import point_group
from scherzer.physics.potential import potential_volume
from scherzer.physics.scattering import DISPLACED_A3
from scherzer.simulate import phantom
from scherzer.simulate.phantom import phantom_atoms

GROUPS = ("C1", "C2", "C3", "C7", "C12", "C17", "D2", "D3", "D6", "D12", "T", "O", "I")


@pytest.mark.parametrize("diameter_A", [65.0, 100.0])
@pytest.mark.parametrize("symmetry", GROUPS)
def test_phantom_has_its_symmetry_and_a_proteins_density(symmetry: str, diameter_A: float) -> None:
    atoms = phantom_atoms(symmetry, diameter_A)
    assert len(atoms) % len(point_group(symmetry)) == 0
    assert np.linalg.norm(atoms.positions_A, axis=1).max() <= diameter_A / 2
    share = len(atoms) * DISPLACED_A3 / (4 / 3 * np.pi * (diameter_A / 2 - 2) ** 3)
    assert 0.3 < share < 0.55
    for operator in point_group(symmetry).double().numpy():
        distances = cKDTree(atoms.positions_A).query(atoms.positions_A @ operator.T)[0]
        assert distances.max() < 1e-3


@pytest.mark.parametrize("symmetry", ["C1", "C9", "D2", "D7", "T", "O", "I"])
def test_a_diameter_that_is_too_small_is_refused_with_one_that_is_not(symmetry: str) -> None:
    if symmetry == "C1":
        small_A, least_A = 15.0, 20.0
    else:
        small_A = 20.0
        with pytest.raises(BadInput, match="diameter_A: 20 A is too small") as caught:
            phantom_atoms(symmetry, small_A)
        least_A = float(caught.value.remedy.split()[3])
    with pytest.raises(BadInput, match=symmetry):
        phantom_atoms(symmetry, small_A)
    assert len(phantom_atoms(symmetry, least_A)) >= 30 * len(point_group(symmetry))


def test_copies_that_find_no_room_and_groups_that_are_unknown_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom, "ATTEMPTS", 1)
    with pytest.raises(BadInput, match="no room for the 100 copies of symmetry C100"):
        phantom_atoms("C100", 80.0)
    with pytest.raises(BadInput, match="symmetry: 'Q7' is unknown"):
        phantom_atoms("Q7", 100.0)


def test_phantom_is_not_a_shell_and_has_a_hand() -> None:
    volume = potential_volume(phantom_atoms("O", 130), 56, 3.0)
    smooth = lowpass(volume, 3.0, 25.0)
    shells = real_radius(56, 3).round().long()
    mean = torch.zeros(int(shells.max()) + 1).index_add_(0, shells.flatten(), smooth.flatten())
    radial = (mean / torch.bincount(shells.flatten()))[shells]
    angular = (smooth - radial).pow(2).sum() / smooth.pow(2).sum()
    assert float(angular) > 0.2  # of apo-ferritin: about 0.05
    odd = smooth[1:, 1:, 1:]
    mirrored = torch.corrcoef(torch.stack((odd.flatten(), odd.flip(0).flatten())))[0, 1]
    turned = torch.corrcoef(torch.stack((odd.flatten(), torch.rot90(odd, 1, (1, 2)).flatten())))[0, 1]
    assert float(turned) > 0.999
    assert float(mirrored) < 0.9


def test_another_seed_is_another_protein_and_the_same_seed_the_same() -> None:
    first, again, other = (phantom_atoms("D2", 80, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.positions_A, again.positions_A)
    assert first.positions_A.shape != other.positions_A.shape or not np.allclose(first.positions_A, other.positions_A)


def test_phantom_has_detail_to_three_angstrom() -> None:
    volume = potential_volume(phantom_atoms("C1", 60), 64, 1.25)
    power = torch.fft.fftn(volume).abs().pow(2)
    k = torch.fft.fftfreq(64, 1.25)
    radius = (k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2).sqrt()
    fine = power[(radius > 1 / 3.3) & (radius < 1 / 2.9)].mean()
    middle = power[(radius > 1 / 6) & (radius < 1 / 5)].mean()
    # Independent atoms with B = 30 A^2 would give exp(-B/2 (1/9.6 - 1/30)) f^2-ratio, about 0.1; a smooth blob nothing.
    assert 0.02 < float(fine / middle) < 0.8
