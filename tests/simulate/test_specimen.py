"""The phantom and its projections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from scherzer.formats.models import Atoms
from scherzer.fourier.grids import centred_rfft2
from scherzer.fourier.slices import slice_table
from scherzer.geometry.rotations import from_euler, random_rotations
from scherzer.physics.potential import potential_volume
from scherzer.simulate.settings import SpecimenSettings
from scherzer.simulate.specimen import FRAGMENT_KINDS, load_specimen, project, specimen_of

PIXEL_A = 2.5


@pytest.fixture(scope="module")
def specimen():
    return load_specimen(SpecimenSettings(symmetry="C3", diameter_A=90, contrast=1.0))


def images(specimen, rotations: torch.Tensor, offsets: torch.Tensor, box: int) -> torch.Tensor:
    return torch.fft.irfft2(project(specimen, rotations, offsets, box, PIXEL_A), s=(box, box))


def direct_projection(particle, rotation, offset_px, box: int, pixel_size_A: float) -> torch.Tensor:
    """The plain twin: one exponential for every atom and frequency; ``(b, b // 2 + 1)``."""
    k = torch.fft.fftfreq(box, pixel_size_A, dtype=torch.float64)
    ky, kx = k[:, None], k[: box // 2 + 1].abs()
    points = particle.positions_A.double() @ rotation[:, :2].double() + (offset_px + box // 2) * pixel_size_A
    along_x, along_y = (
        torch.exp(-2j * torch.pi * p[:, None] * q.flatten()) for p, q in zip(points.T, (kx, ky), strict=True)
    )
    total = torch.zeros((box, box // 2 + 1), dtype=torch.complex128)
    for number, kind in enumerate(particle.kinds):
        chosen = particle.kind_of == number
        weighted = along_x[chosen] * particle.occupancies[chosen, None]
        total += kind.form_factor_V_A3(kx**2 + ky**2) * (along_y[chosen].T @ weighted)
    return total / pixel_size_A**2


def relative_error(found: torch.Tensor, expected: torch.Tensor, box: int, low: float = 0.0, high: float = 0.8) -> float:
    """Root mean square error over the amplitude in a band of frequencies, in units of Nyquist's."""
    k = torch.fft.fftfreq(box, 0.5)
    radius = torch.hypot(k[:, None], k[: box // 2 + 1])
    inside = (radius >= low) & (radius < high)
    error = (found - expected)[..., inside].abs().square().sum() / expected[..., inside].abs().square().sum()
    return float(error.sqrt())


@pytest.fixture(scope="module")
def small():
    """A few hundred atoms, for sums that take a while."""
    rng = np.random.default_rng(8)
    elements = rng.choice(["C", "N", "O", "S"], 400, p=[0.62, 0.17, 0.2, 0.01])
    return specimen_of(
        Atoms(rng.normal(0, 9, (400, 3)), elements, rng.choice([9.0, 14.0, 22.0, 40.0, 70.0], 400), np.ones(400))
    )


@pytest.mark.parametrize("pixel_size_A", [1.0, 2.5])
def test_projections_equal_the_direct_sum_over_atoms(small, pixel_size_A: float) -> None:
    box = small.box_px(pixel_size_A)
    rotations = random_rotations(3, np.random.default_rng(1))
    offsets = torch.tensor([[0.0, 0.0], [0.4, -0.2], [-3.3, 2.6]])
    found = project(small, rotations, offsets, box, pixel_size_A)
    for number in range(3):
        expected = direct_projection(small.scatterers, rotations[number], offsets[number], box, pixel_size_A)
        for low, high in ((0, 0.3), (0.3, 0.6), (0.6, 0.8)):
            assert relative_error(found[number], expected, box, low, high) < 0.01


def test_contrast_scales_projections_fragments_and_map_alike(small) -> None:
    pale = specimen_of(small.atoms, contrast=0.6)
    box = small.box_px(PIXEL_A)
    rotations, offsets = random_rotations(2, np.random.default_rng(3)), torch.zeros(2, 2)
    for found, whole in ((pale, small), (pale.fragment(1), small.fragment(1))):
        full = project(whole, rotations, offsets, box, PIXEL_A)
        torch.testing.assert_close(project(found, rotations, offsets, box, PIXEL_A), 0.6 * full)
    torch.testing.assert_close(pale.map(PIXEL_A), 0.6 * small.map(PIXEL_A))


def test_parseval_of_a_projection(small) -> None:
    # The energy of the image is that of the structure factors, which are summed without any grid.
    box, pixel_size_A = small.box_px(2.5), 2.5
    rotations = random_rotations(1, np.random.default_rng(2))
    image = torch.fft.irfft2(project(small, rotations, torch.zeros(1, 2), box, pixel_size_A)[0], s=(box, box))
    expected = direct_projection(small.scatterers, rotations[0], torch.zeros(2), box, pixel_size_A).abs().square()
    expected[box // 2] = 0
    expected[:, box // 2] = 0
    energy = (2 * expected.sum() - expected[:, 0].sum()) / box**2
    assert float(image.double().square().sum() / energy) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_the_transform_of_a_projection_is_the_central_slice_of_the_volumes(specimen, axis: str) -> None:
    box = 56
    volume = torch.fft.fftn(torch.fft.ifftshift(potential_volume(specimen.atoms, box, PIXEL_A))) * PIXEL_A
    # Image axes x and y lie along these axes of the specimen (x, y, z), the beam along the one named.
    image_x, image_y = {"z": (0, 1), "x": (1, 2), "y": (2, 0)}[axis]
    rotation = torch.zeros(1, 3, 3)
    rotation[0, image_x, 0] = rotation[0, image_y, 1] = rotation[0, 3 - image_x - image_y, 2] = 1
    expected = volume.permute(2, 1, 0).select(3 - image_x - image_y, 0)  # as (x, y, z), that axis at frequency 0
    expected = expected.T if image_x < image_y else expected  # rows are the image's y
    found = project(specimen, rotation, torch.zeros(1, 2), box, PIXEL_A)[0]
    sign = (-1.0) ** (torch.arange(box)[:, None] + torch.arange(box // 2 + 1))  # the image is centred on box // 2
    assert relative_error(found * sign, expected[:, : box // 2 + 1], box) < 0.005


def test_projection_without_rotation_is_the_sum_over_z(specimen) -> None:
    box = 56
    image = images(specimen, torch.eye(3)[None], torch.zeros(1, 2), box)[0]
    expected = potential_volume(specimen.atoms, box, PIXEL_A).sum(0) * PIXEL_A
    assert float((image - expected).abs().max()) < 0.02 * float(expected.max())
    assert float((image - expected).pow(2).mean().sqrt()) < 0.003 * float(expected.std())


def test_a_projection_depends_neither_on_the_others_nor_on_threads(specimen) -> None:
    rotations = random_rotations(6, np.random.default_rng(3))
    together = project(specimen, rotations, torch.zeros(6, 2), 48, PIXEL_A)
    with ThreadPoolExecutor(3) as pool:
        alone = list(pool.map(lambda r: project(specimen, r[None], torch.zeros(1, 2), 48, PIXEL_A)[0], rotations))
    assert torch.equal(together, torch.stack(alone))
    assert project(specimen, rotations[:0], torch.zeros(0, 2), 48, PIXEL_A).shape == (0, 48, 25)


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


def test_fragments_are_different_parts(specimen) -> None:
    whole, parts = len(specimen.scatterers), [specimen.fragment(kind) for kind in range(FRAGMENT_KINDS)]
    shares = [len(part.scatterers) / whole for part in parts]
    assert all(0.34 < share < 0.66 for share in shares[::2])
    assert all(0.64 < share < 0.86 for share in shares[1::2])
    assert len(set(shares)) == FRAGMENT_KINDS
    assert {part.radius_A for part in parts} == {specimen.radius_A}
    positions = specimen.scatterers.positions_A[:, 0]
    assert all(torch.isin(part.scatterers.positions_A[:, 0], positions).all() for part in parts)
    torch.testing.assert_close(specimen.fragment(3).scatterers.positions_A, parts[3].scatterers.positions_A)


def test_a_cut_particle_lies_on_one_side_and_a_lost_lobe_was_in_one_place(specimen) -> None:
    whole = specimen.scatterers.positions_A
    for kind in range(FRAGMENT_KINDS):
        kept = specimen.fragment(kind).scatterers.positions_A
        centre = kept.mean(0)
        lost = whole[~torch.isin(whole[:, 0], kept[:, 0])]
        # What was lost lies together, on the other side of the centre from what was kept.
        assert float(lost.mean(0) @ centre) < 0
        assert float(lost.std(0).norm()) < float(whole.std(0).norm())


def test_a_model_file_is_the_specimen(tmp_path: Path) -> None:
    line = "ATOM  {0:5d}  CA  ALA A{0:4d}    {1:8.3f}{2:8.3f}{3:8.3f}  1.00 12.50           C\n"
    points = np.random.default_rng(0).normal(0, 12, (50, 3)) + 30
    (tmp_path / "a.pdb").write_text("".join(line.format(i + 1, *point) for i, point in enumerate(points)))
    loaded = load_specimen(SpecimenSettings(model=tmp_path / "a.pdb"))
    expected = np.linalg.norm(points - points.mean(0), axis=1).max()
    assert loaded.radius_A == pytest.approx(expected, abs=0.01)
