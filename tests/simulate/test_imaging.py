"""Particles in the field, and their contrast."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scherzer.geometry.rotations import random_rotations
from scherzer.physics.ctf import ctf
from scherzer.physics.dose import critical_dose_e_per_A2, mean_survival
from scherzer.physics.envelopes import interaction_rad_per_V_A
from scherzer.simulate.field import FieldGrid, field_grid
from scherzer.simulate.ice import mean_power
from scherzer.simulate.image_formation import Contrast, Depths, Particles, form_contrast, particle_fields
from scherzer.simulate.lens import Lens
from scherzer.simulate.placement import Placement
from scherzer.simulate.ring_power import RING_PER_A, ring_frequencies
from scherzer.simulate.settings import MicroscopeSettings, SpecimenSettings
from scherzer.simulate.specimen import Specimen, load_specimen
from scherzer.simulate.threads import thread_pool

WAVELENGTH_A = 0.019687
MICROSCOPE = MicroscopeSettings(
    height_px=256, width_px=320, pixel_size_A=2.0, b_factor_A2=0, beam_semiangle_mrad=0, focal_spread_A=0
)
GRID = field_grid(256, 320, 2.0, 160.0)


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return load_specimen(SpecimenSettings(symmetry="D2", diameter_A=90))


def particles(*heights_A: float, broken: bool = False) -> Placement:
    """Return one particle at a place off the grid, or several in a row."""
    count = len(heights_A)
    return Placement(
        x_px=150.3 + 80 * np.arange(count) - (80 if count > 1 else 0),
        y_px=np.full(count, 120.8),
        height_A=np.array(heights_A),
        rotations=random_rotations(count, np.random.default_rng(5)),
        broken=np.full(count, broken),
        adsorbed=np.zeros(count, np.int8),
        clumped=np.zeros(count, bool),
    )


def projected(specimen: Specimen, placement: Placement, threads: int = 1) -> Particles:
    with thread_pool(threads) as pool:
        return particle_fields(pool, np.random.default_rng(1), specimen, placement, GRID, WAVELENGTH_A)


def imaged(found: Particles, defocus_A: float, astigmatism_A: float = 0.0, dose_e_per_A2: float = 0.0) -> Contrast:
    half = astigmatism_A / 2
    lens = Lens(MICROSCOPE, MICROSCOPE.optics.ctf_parameters(defocus_A + half, defocus_A - half, 0.4))
    with thread_pool(1) as pool:
        transforms = found.transforms(pool, GRID)
        return form_contrast(pool, lens, GRID, transforms, None, 300.0, dose_e_per_A2, lambda k, _: torch.ones_like(k))


def test_protein_is_dark_and_imaged_by_the_ctf(specimen: Specimen) -> None:
    found = projected(specimen, particles(0.0))
    contrast = imaged(found, 14500.0, 1000.0)
    kx, ky = np.broadcast_arrays(GRID.kx, GRID.ky[:, None])
    parameters = MICROSCOPE.optics.ctf_parameters(15000, 14000, 0.4)
    transfer = ctf(parameters, torch.from_numpy(kx.copy()), torch.from_numpy(ky.copy()))[0].numpy()
    expected = -2 * interaction_rad_per_V_A(300) * transfer * GRID.transform(np.asarray(found.structure.sine))
    np.testing.assert_allclose(contrast.protein, expected, atol=2e-3 * np.abs(expected).max())
    image = GRID.cut(GRID.field(contrast.protein), 256, 320)
    assert image[111:131, 140:160].mean() < -0.01
    assert image.min() > -0.6


def test_the_particle_lies_where_its_coordinates_say(specimen: Specimen) -> None:
    potential = GRID.cut(projected(specimen, particles(0.0)).structure.sine, 256, 320).clip(min=0)
    y, x = np.mgrid[:256, :320]
    assert (potential * x).sum() / potential.sum() == pytest.approx(150.3, abs=0.35)
    assert (potential * y).sum() / potential.sum() == pytest.approx(120.8, abs=0.35)


def test_height_is_defocus(specimen: Specimen) -> None:
    found = imaged(projected(specimen, particles(180.0)), 8900.0, 200.0).protein
    flat = projected(specimen, particles(0.0))
    errors = []
    for defocus_A in (9080.0, 8900.0):
        other = imaged(flat, defocus_A, 200.0).protein
        errors.append((np.abs(found - other) ** 2).sum() / (np.abs(found) ** 2).sum())
    assert errors[0] < 1e-3
    assert errors[1] > 30 * errors[0]


def test_what_is_broken_is_a_part(specimen: Specimen) -> None:
    whole, part = (projected(specimen, particles(0.0, broken=kind)).structure.sine for kind in (False, True))
    assert 0.2 < np.square(part).sum() / np.square(whole).sum() < 0.9


def test_power_is_that_of_the_projections(specimen: Specimen) -> None:
    found = projected(specimen, particles(0.0, 0.0))
    k = ring_frequencies(2.0)
    # Parseval; corners beyond Nyquist hold little.
    energy = float((found.power * 2 * np.pi * k * RING_PER_A).sum()) * 2.0**2
    assert energy == pytest.approx(float(np.square(found.structure.sine).sum()), rel=0.04)


def test_what_fades_comes_back_as_disorder_that_is_not_the_particle(specimen: Specimen) -> None:
    found = projected(specimen, particles(0.0, 0.0, 0.0, 0.0))
    dose_e_per_A2 = 40.0
    contrast = imaged(found, 15000.0, dose_e_per_A2=dose_e_per_A2)
    k = np.hypot(GRID.kx, GRID.ky[:, None])
    fine = (k > 0.1) & (k < 0.16)
    own, back = contrast.protein[fine], contrast.still[fine]
    likeness = np.abs((own * back.conj()).sum()) / np.sqrt((np.abs(own) ** 2).sum() * (np.abs(back) ** 2).sum())
    assert likeness < 0.2
    radius = torch.tensor(0.13)
    decays = dose_e_per_A2 / (2 * critical_dose_e_per_A2(radius, 300.0))
    expected = float(mean_power(decays) - mean_survival(radius, 0, dose_e_per_A2, 300.0).double() ** 2)
    assert expected > 0.2
    assert (np.abs(back) ** 2).sum() / (np.abs(own) ** 2).sum() == pytest.approx(expected, rel=0.35)
    assert np.abs(imaged(found, 15000.0).still).max() < 1e-6 * np.abs(own).max()


def test_fields_do_not_depend_on_threads(specimen: Specimen) -> None:
    one, two = (projected(specimen, particles(0.0, 30.0, -40.0), threads) for threads in (1, 2))
    assert np.array_equal(one.structure.sine, two.structure.sine)
    assert np.array_equal(one.structure.cosine, two.structure.cosine)
    assert np.array_equal(one.disorder, two.disorder)


def test_potential_at_rest_and_a_tilted_beam() -> None:
    """What lies still is imaged like the particles; a tilted beam moves it by its coma alone."""
    grid = FieldGrid(96, 80, 0, 1.0)
    potential = np.random.default_rng(3).standard_normal((96, 80), dtype=np.float32)
    images = []
    for tilt_mrad in ((0.0, 0.0), (2.0, 0.0)):
        microscope = MicroscopeSettings(pixel_size_A=1.0, beam_tilt_mrad=tilt_mrad)
        lens = Lens(microscope, microscope.optics.ctf_parameters(9000.0, 9000.0))
        nothing = np.zeros((3, 96, 41), np.complex64)
        with thread_pool(1) as pool:
            still = grid.transform(potential)
            empty = Particles(Depths(*nothing[:2]), nothing[2], torch.zeros(0))
            images.append(
                form_contrast(pool, lens, grid, empty, still, 300.0, 0.0, lambda k, _: torch.ones_like(k)).still
            )
            factor = np.concatenate([lens.coma(grid, rows) for rows in grid.blocks]) if tilt_mrad[0] else 1.0
    np.testing.assert_allclose(images[1], images[0] * factor, atol=1e-4 * np.abs(images[0]).max())
    np.testing.assert_allclose(np.abs(images[1]), np.abs(images[0]), atol=1e-4 * np.abs(images[0]).max())
    assert np.abs(images[1] - images[0]).max() > 0.1 * np.abs(images[0]).max()
    assert images[0].any()
