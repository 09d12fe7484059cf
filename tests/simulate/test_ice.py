"""Vitreous ice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scherzer.physics.envelopes import interaction_rad_per_V_A
from scherzer.physics.thickness import inelastic_mean_free_path_A, lost_mean_free_path_A
from scherzer.simulate.drift import Track
from scherzer.simulate.field import FieldGrid
from scherzer.simulate.ice import (
    mean_power,
    slab_spectrum,
    thickness_map,
    transmission,
    water_decay_per_e,
    water_noise_density,
    water_structure_factor,
)
from scherzer.simulate.image_formation import Depths, Particles, form_contrast
from scherzer.simulate.lens import Lens
from scherzer.simulate.recording import Recording, record_sum
from scherzer.simulate.settings import IceSettings, MicroscopeSettings
from scherzer.simulate.threads import thread_pool

WAVELENGTH_A = 0.019687
MICROSCOPE = MicroscopeSettings(
    pixel_size_A=1.0, cs_mm=0.0, b_factor_A2=0, beam_semiangle_mrad=0, focal_spread_A=0, amplitude_contrast=0.07
)


def water_field(grid: FieldGrid, defocus_A: float, thickness_A: float, dose_e_per_A2: float) -> np.ndarray:
    """Relative contrast of a film of pure ice."""
    lens = Lens(MICROSCOPE, MICROSCOPE.optics.ctf_parameters(defocus_A, defocus_A))
    shape = (grid.height, grid.width // 2 + 1)
    nothing = np.zeros((3, *shape), np.complex64)
    recording = Recording(grid, Track(1), dose_e_per_A2, 300.0, 1.1, np.ones((grid.height, grid.width), np.float32))
    with thread_pool(1) as pool:
        particles = Particles(Depths(*nothing[:2]), nothing[2], torch.zeros(0))
        contrast = form_contrast(
            pool, lens, grid, particles, None, thickness_A, dose_e_per_A2, lambda k, _: torch.ones_like(k)
        )
        return record_sum(pool, np.random.default_rng(2), contrast, recording, True)


def test_the_main_peak_is_at_3_7_angstrom() -> None:
    k = torch.linspace(0.05, 0.6, 2000)
    curve = water_structure_factor(k)
    assert float(1 / k[curve.argmax()]) == pytest.approx(3.7, abs=0.06)
    assert 1.5 < float(curve.max()) < 2.5
    assert float(curve[(k < 0.12)].max()) < 0.15
    assert float(water_structure_factor(torch.tensor(2.0))) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("dose_e_per_A2", [0.01, 40.0])
def test_the_ring_has_the_energy_that_the_formulas_give(dose_e_per_A2: float) -> None:
    grid, thickness_A, defocus_A = FieldGrid(600, 640, 1, 1.0), 300.0, 12000.0
    field = water_field(grid, defocus_A, thickness_A, dose_e_per_A2)
    k = np.hypot(np.fft.fftfreq(600)[:, None], np.fft.fftfreq(640))
    ring = (k > 1 / 4.2) & (k < 1 / 3.3)
    found = (np.abs(np.fft.fft2(field)) ** 2)[ring].sum() / field.size**2
    # Mean square of the ring: the integral of its density over frequency.
    radius = torch.from_numpy(k[ring])
    density = water_noise_density(radius, thickness_A) * (2 * interaction_rad_per_V_A(300)) ** 2
    density *= mean_power(water_decay_per_e(radius, 1.1) * dose_e_per_A2)
    chi = np.pi * WAVELENGTH_A * radius**2 * defocus_A + np.arcsin(0.07)
    constant, slope = slab_spectrum(radius, WAVELENGTH_A, thickness_A)
    expected = float((density * (constant + slope * torch.sin(chi) ** 2)).sum()) / (600 * 640)
    assert found == pytest.approx(expected, rel=0.03)


def test_the_spectrum_of_ice_is_that_of_a_slab() -> None:
    grid, thickness_A = FieldGrid(960, 960, 1, 1.0), 900.0
    field = water_field(grid, 12000.0, thickness_A, 0.01)
    k = torch.sqrt(torch.from_numpy(grid.kx**2 + grid.ky[:, None] ** 2))
    density = water_noise_density(k, thickness_A) * (2 * interaction_rad_per_V_A(300)) ** 2
    white = torch.from_numpy(np.abs(np.fft.rfft2(field)) ** 2) / density / field.size
    chi = np.pi * WAVELENGTH_A * k**2 * 12000.0 + np.arcsin(0.07)
    expected = (1 - torch.sinc(WAVELENGTH_A * k**2 * thickness_A) * torch.cos(2 * chi)) / 2
    shell = (k * 960).round().long()
    inside = (k > 0.02) & (k < 0.3)
    count = torch.bincount(shell[inside])
    keep = count > 0
    curves = [torch.bincount(shell[inside], x[inside].double())[keep] / count[keep] for x in (white, expected)]
    assert float(torch.corrcoef(torch.stack(curves))[0, 1]) > 0.97
    assert float(curves[0].mean() / curves[1].mean()) == pytest.approx(1, abs=0.03)


def test_a_slab_is_the_mean_over_its_depths() -> None:
    k, chi = torch.tensor([0.05, 0.15, 0.25, 0.35]), torch.tensor([0.3, 1.0, 2.0, 2.6])
    z = torch.linspace(-450, 450, 20001)
    depth = torch.sin(chi + np.pi * WAVELENGTH_A * k**2 * z[:, None]) ** 2
    constant, slope = slab_spectrum(k, WAVELENGTH_A, 900.0)
    torch.testing.assert_close(constant + slope * torch.sin(chi) ** 2, depth.mean(0), atol=2e-4, rtol=0)


@pytest.mark.parametrize("decays", [0.01, 0.7, 5.0, 60.0])
def test_mean_power_is_the_double_integral_of_the_correlation(decays: float) -> None:
    moments = (np.arange(2000) + 0.5) / 2000
    correlation = np.exp(-decays * np.abs(moments[:, None] - moments))
    assert float(mean_power(torch.tensor(decays))) == pytest.approx(correlation.mean(), rel=2e-3)


def test_rings_of_ice_are_clearest_near_four_electrons_per_image() -> None:
    # Signal over noise in a mean of spectra at a given total dose (McMullan et al. 2015: 4.0 e/A2).
    dose = torch.linspace(0.5, 20, 400)
    clarity = dose.sqrt() * mean_power(water_decay_per_e(torch.tensor(1 / 3.7), 1.1) * dose)
    assert float(dose[clarity.argmax()]) == pytest.approx(4.0, abs=0.4)


def test_electrons_are_lost_exponentially_with_thickness() -> None:
    film_A = np.array([0, 400, 800], np.float32)
    for voltage_kV, low_A, high_A in ((300.0, 3000, 4000), (200.0, 2000, 3000)):
        assert low_A <= inelastic_mean_free_path_A(voltage_kV) <= high_A
        bright, sharp = transmission(film_A, voltage_kV, energy_filter=False)
        assert bright[0] == sharp[0] == 1
        np.testing.assert_allclose([bright[2], sharp[2]], [bright[1] ** 2, sharp[1] ** 2], rtol=1e-5)
        assert sharp[1] == pytest.approx(np.exp(-400 / inelastic_mean_free_path_A(voltage_kV)))
        filtered, even = transmission(film_A, voltage_kV, energy_filter=True)
        assert even is None
        np.testing.assert_allclose(filtered, bright * sharp, rtol=1e-5)
        assert filtered[1] == pytest.approx(np.exp(-400 / lost_mean_free_path_A(voltage_kV, True)), rel=1e-5)


def test_thickness_varies_mildly_around_its_mean_and_can_be_even() -> None:
    for seed in range(5):
        thickness = thickness_map(np.random.default_rng(seed), (60, 80), 300.0, IceSettings(wedge=0.08, meniscus=0.1))
        assert thickness.shape == (60, 80)
        assert abs(thickness.mean() / 300 - 1) < 0.02
        assert 0.7 < thickness.min() / 300 < thickness.max() / 300 < 1.4
        assert thickness.std() > 1
    flat = thickness_map(np.random.default_rng(1), (60, 80), 300.0, IceSettings(wedge=0, meniscus=0))
    assert np.all(flat == 300)
