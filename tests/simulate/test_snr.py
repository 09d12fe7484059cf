"""The true signal-to-noise ratio of particles, against noise drawn many times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from scherzer.fourier.shells import shell_mean
from scherzer.geometry.rotations import random_rotations
from scherzer.physics.ctf import ctf
from scherzer.physics.dose import mean_survival
from scherzer.simulate.detector import detector_named, expose, signal_transfer
from scherzer.simulate.ice import mean_power, slab_spectrum, transmission, water_decay_per_e, water_noise_density
from scherzer.simulate.lens import Lens
from scherzer.simulate.placement import Placement
from scherzer.simulate.plan import ExposurePlan
from scherzer.simulate.ring_power import ring_frequencies, ring_power
from scherzer.simulate.settings import (
    DetectorSettings,
    ExposureSettings,
    MicroscopeSettings,
    SimulationSettings,
    SpecimenSettings,
)
from scherzer.simulate.snr import particle_snr, snr_columns, view_power
from scherzer.simulate.specimen import load_specimen, project

PIXEL_A = 1.8
SETTINGS = SimulationSettings(
    specimen=SpecimenSettings(symmetry="D2", diameter_A=90),
    microscope=MicroscopeSettings(pixel_size_A=PIXEL_A, b_factor_A2=80),
    exposure=ExposureSettings(dose_e_per_A2=35),
    detector=DetectorSettings(name="K3", dose_rate_e_per_px_s=8.0),
)
PLAN = ExposurePlan(0, "a", (), 15300.0, 14700.0, 0.4, 320.0)


@pytest.fixture(scope="module")
def specimen():
    return load_specimen(SETTINGS.specimen)


def placed(*heights_A: float) -> Placement:
    count = len(heights_A)
    return Placement(
        x_px=np.full(count, 50.0),
        y_px=np.full(count, 60.0),
        height_A=np.array(heights_A),
        rotations=random_rotations(1, np.random.default_rng(5)).expand(count, 3, 3),
        broken=np.zeros(count, dtype=bool),
        adsorbed=np.zeros(count, dtype=np.int8),
        clumped=np.zeros(count, dtype=bool),
    )


def row(specimen, settings=SETTINGS, plan=PLAN, height_A: float = 0.0, **extra) -> dict[str, float]:
    return particle_snr(specimen, placed(height_A), plan, settings, **extra).iloc[0].to_dict()


def test_noise_drawn_many_times_gives_the_stated_ratios(specimen) -> None:
    """Images of one particle at a height, each with noise of its own, filtered by one who knows the signal."""
    side, height_A, tries = 128, 70.0, 120
    microscope, dose = SETTINGS.microscope, SETTINGS.exposure.dose_e_per_A2
    ky, kx = torch.fft.fftfreq(side, PIXEL_A)[:, None], torch.fft.rfftfreq(side, PIXEL_A)[None]
    kx, ky = torch.broadcast_tensors(kx, ky)
    k = torch.hypot(kx, ky)
    camera = detector_named("K3")
    bright, sharp = (float(share[0]) for share in transmission(np.array([320.0], np.float32), 300, False))
    high = SETTINGS.microscope.optics.ctf_parameters(15300 + height_A, 14700 + height_A, 0.4)
    transfer = sharp * Lens(microscope, PLAN.parameters(SETTINGS)).contrast_per_V_A(k)
    transfer = transfer * signal_transfer(camera, k, PIXEL_A)
    potential = project(specimen, placed(0.0).rotations, torch.zeros(1, 2), side, PIXEL_A)[0]
    signal = potential * transfer * ctf(high, kx, ky)[0] * mean_survival(k, 0.0, dose, 300)
    constant, slope = slab_spectrum(k, float(high.wavelength_A), 320.0)
    middle = ctf(PLAN.parameters(SETTINGS), kx, ky)[0]
    water = water_noise_density(k, 320.0) * mean_power(water_decay_per_e(k, 1.1) * dose)
    ice = transfer**2 * water * (constant + slope * middle**2)
    ice[0, 0] = 0
    noise = ice + 1 / (dose * camera.counted(8.0) * bright)
    found = row(specimen, height_A=height_A)

    rng = np.random.default_rng(8)
    scores: dict[str, list[list[float]]] = {label: [[], []] for label in found if "Detect" in label}
    powers: dict[str, list[float]] = {label: [] for label in found if "Snr" in label}
    own = (2 * specimen.radius_A, 2 * specimen.radius_A / 5)
    bands = {"sczDetectability": own, "sczDetectability100To20": (100, 20), "sczDetectabilityTotal": (1e4, 2)}
    inside = {label: (k >= 1 / low) & (k < 1 / min_A) for label, (low, min_A) in bands.items()}
    inside["sczDetectabilityTotal"] &= k <= 0.5 / PIXEL_A
    twice = torch.full((side // 2 + 1,), 2.0)
    twice[0] = twice[-1] = 1
    template = signal.conj() / noise * twice
    templates = {label: template[band] for label, band in inside.items()}
    y, x = np.ogrid[:side, :side]
    disc = np.hypot(y - side // 2, x - side // 2) * PIXEL_A <= specimen.radius_A
    for number in range(tries):
        white = torch.fft.rfft2(torch.from_numpy(rng.standard_normal((side, side), dtype=np.float32)))
        ground = white * torch.sqrt(ice) / PIXEL_A
        for present in (0, 1):
            contrast = torch.fft.irfft2(ground + present * signal, s=(side, side)).numpy()
            counts = expose(
                np.random.SeedSequence([number, present]), camera, None, dose * PIXEL_A**2 * bright, 8.0, 1 + contrast
            )
            image = counts / (dose * PIXEL_A**2 * bright * camera.counted(8.0)) - 1
            transform = torch.fft.rfft2(torch.from_numpy(image).float())
            for label, known in templates.items():
                scores[label][present].append(float((transform[inside[label]] * known).real.sum()))
            if not present:
                for label, (low, fine) in snr_columns(PIXEL_A).items():
                    passed = torch.fft.irfft2(transform * ((k >= 1 / low) & (k < 1 / fine)), s=(side, side)).numpy()
                    powers[label].append(float((passed[disc] ** 2).sum()))
    for label, (without, with_particle) in scores.items():
        spread = np.sqrt((np.var(without) + np.var(with_particle)) / 2)
        measured = (np.mean(with_particle) - np.mean(without)) / spread
        assert found[label] == pytest.approx(measured, rel=0.10), label
    for label, (low, fine) in snr_columns(PIXEL_A).items():
        passed = signal * ((k >= 1 / low) & (k < 1 / fine))
        energy = float((torch.fft.irfft2(passed, s=(side, side)) ** 2).sum())
        assert found[label] == pytest.approx(energy / np.mean(powers[label]), rel=0.10), label


def test_bands_end_at_nyquist() -> None:
    assert list(snr_columns(1.8)) == ["sczSnr100To30", "sczSnr30To15", "sczSnr15To8", "sczSnr8To5", "sczSnr5To4"]
    assert len(snr_columns(0.8)) == 7


def test_rings_hold_the_power_that_a_large_box_shows(specimen) -> None:
    rotations, box = random_rotations(6, np.random.default_rng(5)), specimen.box_px(PIXEL_A)
    offsets = torch.linspace(-0.5, 0.5, 6)[:, None].expand(6, 2)
    found = ring_power(project(specimen, rotations, offsets, box, PIXEL_A), PIXEL_A)
    large = shell_mean(project(specimen, rotations, offsets, 8 * box, PIXEL_A).abs() ** 2, 2)
    k, shells = ring_frequencies(PIXEL_A), torch.arange(large.shape[1]) / (8 * box * PIXEL_A)
    assert found.shape == (6, len(k))
    for low_A, high_A, tolerance in ((300, 100, 0.03), (100, 30, 0.01), (30, 15, 0.03), (15, 8, 0.03), (8, 3.7, 0.03)):
        here, there = ((f > 1 / low_A) & (f < 1 / high_A) for f in (k, shells))
        ratio = (found * k * here).sum(1) / (large * shells * there).sum(1) * (k[0] / shells[1])
        assert float(ratio.mean()) == pytest.approx(1, abs=tolerance)
        assert float(ratio.std()) < 2 * tolerance


def test_only_shot_noise_makes_the_ratio_proportional_to_dose(specimen) -> None:
    """Without ice (a film of no thickness) and with next to no damage, twice the electrons are twice the ratio."""
    thin = replace(PLAN, thickness_A=1e-3)
    low, high = (
        row(specimen, replace(SETTINGS, exposure=ExposureSettings(dose_e_per_A2=dose)), thin) for dose in (0.01, 0.02)
    )
    for label in low:
        power = 0.5 if "Detect" in label else 1.0
        assert high[label] / low[label] == pytest.approx(2**power, rel=5e-3)


def test_thicker_ice_and_less_defocus_hide_particles(specimen) -> None:
    thick = row(specimen, plan=replace(PLAN, thickness_A=1200.0))
    near = row(specimen, plan=replace(PLAN, defocus_u_A=5000.0, defocus_v_A=5000.0))
    usual = row(specimen)
    assert usual["sczDetectability"] > 1.2 * thick["sczDetectability"]
    assert usual["sczDetectability"] > 1.5 * near["sczDetectability"]
    local = row(specimen, film_A=np.array([1200.0], np.float32))
    assert local["sczDetectability"] == pytest.approx(thick["sczDetectability"], rel=0.05)


def test_a_particle_has_the_ctf_of_its_own_height(specimen) -> None:
    thin = replace(PLAN, thickness_A=1e-3)  # ice, whose noise is that of the film's middle, apart
    high = row(specimen, plan=thin, height_A=4000.0)
    moved = row(specimen, plan=replace(thin, defocus_u_A=19300.0, defocus_v_A=18700.0))
    usual = row(specimen, plan=thin)
    for label in ("sczSnr100To30", "sczSnr30To15", "sczSnr8To5", "sczDetectability"):
        assert high[label] == pytest.approx(moved[label], rel=0.02)
    assert high["sczSnr100To30"] > 1.15 * usual["sczSnr100To30"]


def test_given_powers_count_and_broken_particles_without_one_have_no_ratio(specimen) -> None:
    placement = placed(0.0, 0.0)
    power = view_power(specimen, placement.rotations, PIXEL_A)
    with pytest.raises(ValueError, match="frequencies"):
        particle_snr(specimen, placement, PLAN, SETTINGS, power[:, 1:])
    given = particle_snr(specimen, placement, PLAN, SETTINGS, power * torch.tensor([[1.0], [4.0]]))
    ratio = (given.iloc[1] / given.iloc[0]).to_dict()
    for label, value in ratio.items():
        assert value == pytest.approx(2.0 if "Detect" in label else 4.0, rel=1e-6)
    assert given.iloc[0].to_dict() == pytest.approx(row(specimen))
    broken = particle_snr(specimen, replace(placement, broken=np.array([False, True])), PLAN, SETTINGS)
    assert broken.isna().all(axis=1).tolist() == [False, True]
    assert len(particle_snr(specimen, placement[np.array([False, False])], PLAN, SETTINGS)) == 0
