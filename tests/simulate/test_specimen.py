"""The phantom and its projections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from scherzer.fourier.filters import lowpass
from scherzer.fourier.grids import centred_rfft2, real_radius
from scherzer.fourier.slices import slice_table
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import from_euler, random_rotations
from scherzer.physics.scattering import DISPLACED_A3, potential_volume
from scherzer.simulate.phantom import phantom_atoms
from scherzer.simulate.settings import SpecimenSettings
from scherzer.simulate.specimen import load_specimen, project

PIXEL_A = 2.5


@pytest.fixture(scope="module")
def specimen():
    return load_specimen(SpecimenSettings(symmetry="C3", diameter_A=90))


def images(specimen, rotations: torch.Tensor, offsets: torch.Tensor, box: int) -> torch.Tensor:
    return torch.fft.irfft2(project(specimen, rotations, offsets, box, PIXEL_A), s=(box, box))


@pytest.mark.parametrize(("symmetry", "order"), [("C1", 1), ("D2", 4), ("O", 24), ("T", 12), ("I", 60)])
def test_phantom_has_its_symmetry_and_a_proteins_density(symmetry: str, order: int) -> None:
    atoms = phantom_atoms(symmetry, 100)
    assert len(atoms) % order == 0
    assert np.linalg.norm(atoms.positions_A, axis=1).max() <= 50
    share = len(atoms) * DISPLACED_A3 / (4 / 3 * np.pi * 48**3)
    assert 0.35 < share < 0.55
    for operator in point_group(symmetry).double().numpy():
        distances = cKDTree(atoms.positions_A).query(atoms.positions_A @ operator.T)[0]
        assert distances.max() < 1e-3


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
    assert 0.02 < float(fine / middle) < 0.6


def test_projection_without_rotation_is_the_sum_over_z(specimen) -> None:
    box = 56
    image = images(specimen, torch.eye(3)[None], torch.zeros(1, 2), box)[0]
    expected = potential_volume(specimen.atoms, box, PIXEL_A).sum(0) * PIXEL_A
    assert float((image - expected).abs().max()) < 0.02 * float(expected.max())
    assert float((image - expected).pow(2).mean().sqrt()) < 0.003 * float(expected.std())


def test_projections_follow_relions_angles(specimen) -> None:
    box, band = 56, 14
    rotations = from_euler(*torch.tensor([[0.3, -1.9], [0.9, 2.2], [-0.4, 2.8]]))
    found = centred_rfft2(images(specimen, rotations, torch.zeros(2, 2), box))
    k = torch.fft.fftfreq(box, 1 / box)
    ky, kx = torch.meshgrid(k, torch.arange(box // 2 + 1.0), indexing="ij")
    inside = torch.hypot(kx, ky) < band
    volume = potential_volume(specimen.atoms, box, PIXEL_A) * PIXEL_A
    expected = slice_table(volume, band).slices(rotations, kx[inside], ky[inside])
    error = (found[:, inside] - expected).abs().pow(2).sum() / expected.abs().pow(2).sum()
    assert float(error.sqrt()) < 0.03
    wrong = slice_table(volume, band).slices(rotations.transpose(1, 2), kx[inside], ky[inside])
    other = (found[:, inside] - wrong).abs().pow(2).sum() / expected.abs().pow(2).sum()
    assert float(other) > 20 * float(error)


def test_an_offset_moves_the_projection(specimen) -> None:
    rotation = random_rotations(1, np.random.default_rng(1))
    still, moved = (images(specimen, rotation, torch.tensor([offset]), 64)[0] for offset in ([0.0, 0.0], [3.0, -2.0]))
    error = moved - torch.roll(still, (-2, 3), (0, 1))
    assert float(error.std() / still.std()) < 0.02
    assert float((moved - still).std() / still.std()) > 0.3


def test_a_fragment_is_a_part(specimen) -> None:
    whole = sum(len(group.positions_A) for group in specimen.groups)
    part = sum(len(group.positions_A) for group in specimen.fragment().groups)
    assert 0.1 * whole < part < 0.6 * whole


def test_a_model_file_is_the_specimen(tmp_path: Path) -> None:
    line = "ATOM  {0:5d}  CA  ALA A{0:4d}    {1:8.3f}{2:8.3f}{3:8.3f}  1.00 12.50           C\n"
    points = np.random.default_rng(0).normal(0, 12, (50, 3)) + 30
    (tmp_path / "a.pdb").write_text("".join(line.format(i + 1, *point) for i, point in enumerate(points)))
    loaded = load_specimen(SpecimenSettings(model=tmp_path / "a.pdb"))
    expected = np.linalg.norm(points - points.mean(0), axis=1).max()
    assert loaded.radius_A == pytest.approx(expected, abs=0.01)
