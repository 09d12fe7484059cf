"""Crystals and the ring of ice: found where they are, with a known rate of false alarms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scherzer.formats.mrc import read_mrc
from scherzer.micrographs.ice import FALSE_ALARM, MARGIN, chance_level, state_of_ice
from scherzer.micrographs.local_spectra import local_spectra
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.plan import ExposurePlan, Fault
from scherzer.simulate.settings import MicroscopeSettings, ParticleSettings, SimulationSettings
from scherzer.simulate.specimen import load_specimen

REAL = Path(__file__).parents[2] / "../shared/real/apoferritin-10146/micrographs"
SETTINGS = SimulationSettings(
    microscope=MicroscopeSettings(height_px=800, width_px=800, pixel_size_A=1.3),
    particles=ParticleSettings(per_micrograph=15),
)


def noise(side: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((side, side), dtype=np.float32))


def wave(side: int, pixel_size_A: float, spacing_A: float, angle_deg: float) -> Tensor:
    x = torch.arange(side) * pixel_size_A
    kx, ky = (f(math.radians(angle_deg)) / spacing_A for f in (math.cos, math.sin))
    return torch.cos(2 * torch.pi * (kx * x[None, :] + ky * x[:, None]))


def test_noise_raises_as_many_alarms_as_said() -> None:
    heights, searched = [], 0
    for seed in range(150):
        spectra = local_spectra(noise(300, seed), 1.3)
        searched = spectra.searched * spectra.reflection.numel()
        heights.append(state_of_ice(spectra).reflection)
    rate = np.mean(np.array(heights) > chance_level(searched, 0.2))
    assert 0.01 < rate <= 0.2
    # Nor does the margin make it blind.
    assert np.mean(np.array(heights) > chance_level(searched, 0.2) - MARGIN) > 0.1


def test_a_crystal_is_found_where_it_lies() -> None:
    image = noise(1024)
    image[:512, :512] += 0.5 * wave(512, 1.3, 3.67, 25.0)
    found = state_of_ice(local_spectra(image, 1.3))
    assert found.reflection_A == pytest.approx(3.67, abs=0.03)
    assert found.reflection > 100
    # Strong spots are seen from half a tile away.
    assert 0.2 < found.crystalline_fraction < 0.42


@pytest.mark.parametrize("spacing_A", [5.0, 3.0])
def test_other_lattices_are_not_ice(spacing_A: float) -> None:
    found = state_of_ice(local_spectra(noise(768) + wave(768, 1.3, spacing_A, 25.0), 1.3))
    assert found.crystalline_fraction == 0
    assert found.reflection < chance_level(100_000, FALSE_ALARM)


@pytest.mark.parametrize("angle_deg", [5.0, 45.0])
def test_a_reflection_beyond_nyquist_is_known_where_sampling_folds_it_to(angle_deg: float) -> None:
    # Pixels of 2 A that count what falls on them, as a camera's do; Nyquist is at 4 A along the axes.
    fine = noise(1600) + wave(1600, 1.0, 3.67, angle_deg)
    found = state_of_ice(local_spectra(torch.nn.functional.avg_pool2d(fine[None, None], 2)[0, 0], 2.0))
    assert found.reflection_A == pytest.approx(3.67, abs=0.04)
    assert found.crystalline_fraction > 0.9


def test_powder_has_a_ring_everywhere_and_no_spots() -> None:
    k = torch.hypot(torch.fft.fftfreq(1024, 1.0)[:, None], torch.fft.rfftfreq(1024, 1.0)[None, :])
    ring = ((k > 1 / 3.9) & (k < 1 / 3.6)).float()
    powder = torch.fft.irfft2(torch.fft.rfft2(noise(1024, 1)) * ring, s=(1024, 1024))
    found = state_of_ice(local_spectra(noise(1024, 2) + powder, 1.0))
    assert found.ring == pytest.approx(2.0, abs=0.1)
    assert found.crystalline_fraction > 0.9


def test_a_falling_background_is_no_ring() -> None:
    k = torch.hypot(torch.fft.fftfreq(1024, 1.0)[:, None], torch.fft.rfftfreq(1024, 1.0)[None, :])
    damped = torch.fft.irfft2(torch.fft.rfft2(noise(1024)) * torch.exp(-4 * k), s=(1024, 1024))
    found = state_of_ice(local_spectra(damped, 1.0))
    assert found.ring == pytest.approx(1.0, abs=0.02)
    assert found.crystalline_fraction == 0


@pytest.mark.parametrize(
    ("pixel_size_A", "ring", "spots"), [(1.5, True, True), (1.6, False, True), (4.0, False, False)]
)
def test_what_the_pixels_are_too_coarse_for_is_not_measured(pixel_size_A: float, ring: bool, spots: bool) -> None:
    found = state_of_ice(local_spectra(noise(512), pixel_size_A))
    assert math.isnan(found.ring) != ring
    assert math.isnan(found.reflection) != spots
    assert math.isnan(found.crystalline_fraction) != spots


@pytest.mark.parametrize(
    ("index", "fault"), [(1, "crystalline"), (2, "crystalline"), (5, "crystalline"), (1, "ice_balls")]
)
def test_simulated_crystals_are_found_over_about_the_area_they_cover(index: int, fault: Fault) -> None:
    plan = ExposurePlan(index, "x", (fault,), 12100.0, 11900.0, 0.4, 300.0)
    exposure = simulate_exposure(plan, load_specimen(SETTINGS.specimen), SETTINGS)
    found = state_of_ice(local_spectra(torch.from_numpy(next(exposure.frames).astype(np.float32)), 1.3))
    # Grains whose reflections are not excited show none, and strong ones are seen from half a tile away.
    truth = float(exposure.masks["crystalline"].mean()) if fault == "crystalline" else 0.0
    assert 0.5 * truth <= found.crystalline_fraction <= 1.7 * truth


def test_frost_on_real_ice_is_crystalline_and_the_ice_is_not() -> None:
    if not REAL.is_dir():
        pytest.skip("the real apo-ferritin session is not here")
    found = [state_of_ice(local_spectra(torch.from_numpy(read_mrc(path).data), 1.5)) for path in sorted(REAL.iterdir())]
    assert all(ice.crystalline_fraction < 0.1 and 0.95 < ice.ring < 1.1 for ice in found)
    crystals = [ice.reflection_A for ice in found if ice.crystalline_fraction > 0]
    # Hexagonal ice's (002), and cubic ice's (111), lie at 3.67 A; the pixel size is good to about a per cent.
    assert len(crystals) == 2
    assert crystals == pytest.approx([3.67, 3.67], rel=0.02)
