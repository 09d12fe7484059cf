"""The gap junction channel in its belts of detergent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from scherzer.formats.errors import BadInput
from scherzer.formats.models import Atoms
from scherzer.geometry.point_groups import point_group
from scherzer.physics.potential import potential_volume
from scherzer.simulate.membrane_phantom import BELT_B_FACTOR_A2, membrane_atoms
from scherzer.simulate.settings import SpecimenSettings
from scherzer.simulate.specimen import load_specimen

PIXEL_A, BOX = 2.5, 80


@pytest.fixture(scope="module")
def channel() -> Atoms:
    return membrane_atoms("D6", 174.0)


def part(atoms: Atoms, detergent: bool) -> Atoms:
    chosen = (atoms.b_factors_A2 == BELT_B_FACTOR_A2) == detergent
    columns = (atoms.positions_A, atoms.elements, atoms.b_factors_A2, atoms.occupancies)
    return Atoms(*(column[chosen] for column in columns))


def cylinder() -> tuple[np.ndarray, np.ndarray]:
    """Distance from the axis and height of every voxel, A."""
    z, y, x = np.indices((BOX,) * 3) - BOX // 2
    return np.hypot(x, y) * PIXEL_A, np.abs(z) * PIXEL_A


def test_protein_and_detergent_have_d6(channel: Atoms) -> None:
    for detergent in (False, True):
        points = part(channel, detergent).positions_A
        assert len(points) % 12 == 0
        for operator in point_group("D6").double().numpy():
            assert cKDTree(points).query(points @ operator.T)[0].max() < 1e-3


def test_the_channel_has_the_proportions_of_a_gap_junction(channel: Atoms) -> None:
    protein, detergent = (part(channel, which).positions_A for which in (False, True))
    radius = np.hypot(protein[:, 0], protein[:, 1])
    assert 145 < np.ptp(protein[:, 2]) < 165
    assert 84 < 2 * radius.max() < 100
    assert 50 < 2 * radius[np.abs(protein[:, 2]) < 10].max() < 60
    assert radius.min() > 4  # the pore is open from end to end
    height = np.abs(detergent[:, 2])
    assert 2 * height.min() == pytest.approx(35, abs=3)  # between the two membranes
    assert height.max() < np.abs(protein[:, 2]).max()
    assert 120 < 2 * np.hypot(detergent[:, 0], detergent[:, 1]).max() < 140


@pytest.mark.parametrize("diameter_A", [160.0, 174.0, 200.0])
def test_the_diameter_is_the_largest(diameter_A: float) -> None:
    reach = np.linalg.norm(membrane_atoms("D6", diameter_A).positions_A, axis=1).max()
    assert 0.97 * diameter_A < 2 * reach <= diameter_A


def test_detergent_is_smooth_and_lies_between_ice_and_protein(channel: Atoms) -> None:
    belts = potential_volume(part(channel, True), BOX, PIXEL_A).numpy()
    radius, height = cylinder()
    core = (np.hypot((radius - 39) / 14, (height - 40) / 12) < 1) & (radius > 44)
    assert belts[core].mean() == pytest.approx(1.4, abs=0.2)
    assert belts[core].std() < 0.15
    heads = np.abs(np.hypot((radius - 39) / 25, (height - 40) / 23) - 0.8) < 0.05
    assert 1.3 < belts[heads & (radius > 44)].mean() < 2.1
    assert np.abs(belts[(radius > 75) | (height < 8)]).max() < 0.05
    protein = potential_volume(part(channel, False), BOX, PIXEL_A, b_extra_A2=300).numpy()
    inside = (radius > 14) & (radius < 30) & (height > 28) & (height < 60)
    assert 2.0 < protein[inside].mean() < 4.0
    assert np.abs(protein[(radius < 2) & (height < 60)]).max() < 0.6  # the pore holds ice


def test_helices_stand_across_the_membrane(channel: Atoms) -> None:
    # Across the membrane the power of the potential is that of upright rods, which repeat sideways and not along z.
    volume = potential_volume(part(channel, False), BOX, PIXEL_A)
    power = torch.fft.fftn(volume).abs().square()
    k = torch.fft.fftfreq(BOX, PIXEL_A)
    radius = (k[:, None, None] ** 2 + k[:, None] ** 2 + k**2).sqrt()
    ring = (radius > 1 / 13) & (radius < 1 / 9)
    upright = k[:, None, None].abs().expand_as(radius) / radius.clamp(min=1e-6)
    assert float(power[ring & (upright < 0.25)].mean()) > 2 * float(power[ring & (upright > 0.75)].mean())


def test_the_seed_decides_the_protein_and_not_the_belts() -> None:
    first, again, other = (membrane_atoms("D6", 174.0, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.positions_A, again.positions_A)
    np.testing.assert_array_equal(part(first, True).positions_A, part(other, True).positions_A)
    assert not np.array_equal(part(first, False).positions_A, part(other, False).positions_A)


def test_what_it_cannot_be_is_refused() -> None:
    for symmetry in ("O", "C6", "D7", "nonsense"):
        with pytest.raises(BadInput, match="symmetry: the membrane phantom has D6"):
            membrane_atoms(symmetry, 174.0)
    for diameter_A in (60.0, 400.0, float("nan")):
        with pytest.raises(BadInput, match=r"diameter_A: .* give 160 to 230 A"):
            membrane_atoms("D6", diameter_A)


def test_it_is_a_specimen_like_others() -> None:
    settings = SpecimenSettings(phantom="membrane", symmetry="D6", diameter_A=180.0, flexibility_A=1.0)
    specimen = load_specimen(settings)
    assert specimen.radius_A == pytest.approx(90, rel=0.03)
    assert 0.3 < len(specimen.fragment(0).scatterers) / len(specimen.scatterers) < 0.7
    assert specimen.draw_deformations(np.random.default_rng(1), 3) is not None
    with pytest.raises(BadInput, match="D6"):
        load_specimen(replace(settings, symmetry="O"))
