"""Whole exposures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from scherzer.physics.ctf import ctf
from scherzer.physics.dose import critical_dose_e_per_A2, mean_survival
from scherzer.physics.thickness import aperture_mean_free_path_A, inelastic_mean_free_path_A
from scherzer.simulate.detector import detector_named, signal_transfer
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.ice import mean_power, slab_spectrum, water_noise_density
from scherzer.simulate.lens import Lens
from scherzer.simulate.plan import ExposurePlan, Fault
from scherzer.simulate.ring_power import RING_PER_A, ring_frequencies
from scherzer.simulate.sensor import draw_sensor
from scherzer.simulate.settings import IceSettings, MicroscopeSettings, SimulationSettings, SpecimenSettings
from scherzer.simulate.specimen import Specimen, load_specimen

BARE = SimulationSettings(
    specimen=SpecimenSettings(symmetry="D2", diameter_A=90),
    microscope=MicroscopeSettings(
        height_px=256, width_px=320, pixel_size_A=2.0, b_factor_A2=0, beam_semiangle_mrad=0, focal_spread_A=0
    ),
    ice=IceSettings(wedge=0, meniscus=0, frost_per_um2=0),
)


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return load_specimen(BARE.specimen)


def changed(**sections: dict[str, object]) -> SimulationSettings:
    """Return the bare settings with some fields of some sections changed."""
    return replace(BARE, **{name: replace(getattr(BARE, name), **values) for name, values in sections.items()})


def plan(*faults: Fault, defocus_A: float = 15000.0, thickness_A: float = 300.0) -> ExposurePlan:
    return ExposurePlan(0, "a", faults, defocus_A, defocus_A, 0.0, thickness_A)


def frames_of(specimen: Specimen, settings: SimulationSettings, what: ExposurePlan | None = None) -> np.ndarray:
    return np.stack(list(simulate_exposure(what or plan(), specimen, settings).frames))


def test_an_exposure_has_the_dose_it_should(specimen: Specimen) -> None:
    settings = changed(exposure={"frames": 3, "output": "movies"}, particles={"per_micrograph": 5})
    found = frames_of(specimen, settings)
    assert found.shape == (3, 256, 320)
    counted = detector_named("K2").counted(settings.detector.dose_rate_e_per_px_s)
    left = np.exp(-300 / aperture_mean_free_path_A(300.0))
    expected = settings.exposure.dose_per_frame_e_per_A2 * 4.0 * counted * left
    np.testing.assert_allclose(found.mean(axis=(1, 2)), expected, rtol=0.02)
    summed = frames_of(specimen, replace(settings, exposure=replace(settings.exposure, output="sums")))
    assert summed.shape == (1, 256, 320)
    assert summed.mean() == pytest.approx(3 * expected, rel=0.02)


def test_a_filter_costs_electrons_and_saves_contrast(specimen: Specimen) -> None:
    means, contrasts = [], []
    for energy_filter in (False, True):
        settings = changed(microscope={"energy_filter": energy_filter}, particles={"per_micrograph": 12})
        image = frames_of(specimen, settings, plan(thickness_A=1500.0))[0].astype(float)
        means.append(image.mean())
        smooth = np.fft.rfft2(image / image.mean())
        smooth[np.hypot(np.fft.fftfreq(256, 2.0)[:, None], np.fft.rfftfreq(320, 2.0)) > 1 / 30] = 0
        contrasts.append(np.fft.irfft2(smooth).std())
    assert means[1] < 0.75 * means[0]
    assert contrasts[1] > 1.25 * contrasts[0]


@pytest.mark.parametrize("output", ["sums", "movies"])
def test_an_exposure_does_not_depend_on_threads_and_frames_come_one_by_one(specimen: Specimen, output: str) -> None:
    settings = changed(exposure={"frames": 3, "output": output, "aligned": False}, particles={"per_micrograph": 20})
    one, two = (simulate_exposure(plan(), specimen, settings, threads=threads) for threads in (1, 2))
    assert isinstance(one.frames, Iterator)
    first, second = list(one.frames), list(two.frames)
    assert len(first) == (3 if output == "movies" else 1)
    for a, b in zip(first, second, strict=True):
        assert a.dtype == np.uint8 if output == "movies" else a.dtype in (np.uint8, np.uint16)
        assert np.array_equal(a, b)


def test_a_sum_from_an_uneven_sensor_is_corrected(specimen: Specimen) -> None:
    settings = changed(detector={"gain_spread": 0.2, "hot_px": 50, "dead_px": 50}, particles={"per_micrograph": 0})
    sensor = draw_sensor(settings)
    assert sensor is not None
    raw = settings.exposure.dose_e_per_A2 * 4 * 0.8
    image = next(simulate_exposure(plan(), specimen, settings, sensor).frames)
    assert image.dtype == np.float32
    assert image.min() > 0.3 * raw
    assert image.std() < 0.15 * raw  # the gains' spread alone would be 0.2


def ring_agreement(image: np.ndarray, defocus_A: float, settings: SimulationSettings) -> float:
    """Correlation of the rotational average of a spectrum with the CTF's square, slow changes removed."""
    height, width = image.shape
    power = torch.fft.rfft2(torch.from_numpy(image - image.mean())).abs().pow(2)
    kx, ky = torch.arange(width // 2 + 1) / (width * 2.0), torch.fft.fftfreq(height, 2.0)[:, None]
    shell = (torch.hypot(kx, ky) * 256 * 2.0).round().long().flatten()
    curve = torch.log(torch.bincount(shell, power.flatten().float()) / torch.bincount(shell))[8:90]
    k = torch.arange(8, 90) / (256 * 2.0)
    model = ctf(settings.microscope.optics.ctf_parameters(defocus_A, defocus_A), k, 0 * k)[0] ** 2
    window = torch.ones(1, 1, 17) / 17
    flat = [c - torch.conv1d(c[None, None].float(), window, padding=8)[0, 0] for c in (curve, model)]
    return float(torch.corrcoef(torch.stack([c[9:-9] for c in flat]))[0, 1])


def test_ice_alone_shows_thon_rings_at_the_true_defocus(specimen: Specimen) -> None:
    settings = changed(microscope={"height_px": 768, "width_px": 768}, exposure={"dose_e_per_A2": 100.0})
    image = frames_of(specimen, settings, plan("empty", defocus_A=9000.0))[0].astype(np.float32)
    scores = {
        defocus: ring_agreement(image, defocus, settings) for defocus in (6000.0, 7500.0, 9000.0, 10500.0, 12000.0)
    }
    assert max(scores, key=lambda defocus: scores[defocus]) == 9000.0
    assert scores[9000.0] > 0.4


def test_the_noise_of_ice_in_an_image_has_the_energy_that_the_formulas_give(specimen: Specimen) -> None:
    # So many electrons that those hardly add noise, and water that keeps still.
    settings = changed(
        microscope={"height_px": 512, "width_px": 512, "pixel_size_A": 1.2, "cs_mm": 0.0},
        ice={"water_motion_A2_per_e": 0.0},
        exposure={"dose_e_per_A2": 9000.0},
        detector={"dose_rate_e_per_px_s": 0.02},
    )
    image = frames_of(specimen, settings, plan("empty", thickness_A=500.0))[0].astype(float)
    k = np.hypot(np.fft.fftfreq(512, 1.2)[:, None], np.fft.fftfreq(512, 1.2))
    ring = (k > 1 / 4.2) & (k < 1 / 3.3)
    found = (np.abs(np.fft.fft2(image / image.mean())) ** 2)[ring].sum() / image.size**2
    radius = torch.from_numpy(k[ring])
    lens = Lens(settings.microscope, plan().parameters(settings))
    constant, slope = slab_spectrum(radius, lens.wavelength_A, 500.0)
    chi = np.pi * lens.wavelength_A * radius**2 * 15000 + np.arcsin(0.07)
    camera = signal_transfer(detector_named("K2"), radius, 1.2)
    power = water_noise_density(radius, 500.0) * (lens.contrast_per_V_A(radius) * camera) ** 2
    sharp = np.exp(-500 / inelastic_mean_free_path_A(300.0))
    expected = float((power * (constant + slope * torch.sin(chi) ** 2)).sum()) / (512 * 1.2) ** 2 * sharp**2
    expected += ring.mean() / image.mean()
    assert found == pytest.approx(expected, rel=0.05)


def test_contrast_grows_with_defocus_and_falls_with_ice(specimen: Specimen) -> None:
    settings = changed(particles={"per_micrograph": 12}, microscope={"b_factor_A2": 60})

    def contrast(defocus_A: float, thickness_A: float) -> float:
        exposure = simulate_exposure(plan(defocus_A=defocus_A, thickness_A=thickness_A), specimen, settings)
        image = next(exposure.frames).astype(float)
        image = image / image.mean() - 1
        inside = exposure.particles.inside(256, 320)
        x, y = (np.round(c[inside]).astype(int) for c in (exposure.particles.x_px, exposure.particles.y_px))
        keep = (x > 8) & (x < 311) & (y > 8) & (y < 247)
        spots = [image[b - 6 : b + 7, a - 6 : a + 7].mean() for a, b in zip(x[keep], y[keep], strict=True)]
        return float(image.mean() - np.mean(spots))

    thin, near, thick = contrast(22000, 150), contrast(6000, 150), contrast(22000, 1500)
    assert thin > 1.5 * near > 0
    assert thin > 1.3 * thick
    assert 0.02 < thin < 0.3


def between_frames(frames: np.ndarray, low_A: float, high_A: float) -> float:
    """Signal-to-noise ratio in a band, from what two frames have in common and what they have not."""
    first, second = np.fft.rfft2(frames / frames.mean() - 1)
    k = np.hypot(np.fft.fftfreq(frames.shape[1], 2.0)[:, None], np.fft.rfftfreq(frames.shape[2], 2.0))
    inside = (k > 1 / low_A) & (k < 1 / high_A)
    common = (first * second.conj()).real[inside].sum()
    noise = (np.abs(first - second) ** 2)[inside].sum() / 2
    return float(common / noise)


def test_signal_to_noise_is_proportional_to_dose(specimen: Specimen) -> None:
    ratios = []
    for dose_e_per_A2 in (6.0, 24.0):
        settings = changed(
            microscope={"height_px": 1024, "width_px": 1024},
            exposure={"frames": 2, "output": "movies", "dose_e_per_A2": dose_e_per_A2, "drift_A": 0.0},
            particles={"per_micrograph": 250},
        )
        ratios.append(between_frames(frames_of(specimen, settings).astype(float), 80, 40))
    left = [float(mean_survival(torch.tensor(1 / 52), 0, dose_e_per_A2, 300.0)) for dose_e_per_A2 in (6.0, 24.0)]
    assert ratios[1] / ratios[0] == pytest.approx(4 * (left[1] / left[0]) ** 2, rel=0.12)


def band_power(image: np.ndarray, low_A: float, high_A: float) -> float:
    """Variance of an image, relative to its mean, that lies in a band."""
    k = np.hypot(np.fft.fftfreq(image.shape[0], 2.0)[:, None], np.fft.fftfreq(image.shape[1], 2.0))
    inside = (k > 1 / low_A) & (k < 1 / high_A)
    return float((np.abs(np.fft.fft2(image / image.mean())) ** 2)[inside].sum() / image.size**2)


def test_a_sum_of_frames_that_were_not_aligned_is_smeared(specimen: Specimen) -> None:
    powers = []
    for aligned in (True, False):
        settings = changed(
            exposure={"frames": 40, "drift_A": 100.0, "aligned": aligned}, particles={"per_micrograph": 30}
        )
        powers.append(band_power(frames_of(specimen, settings)[0].astype(float), 60, 20))
    assert powers[1] < 0.7 * powers[0]


def test_damaged_particles_keep_scattering(specimen: Specimen) -> None:
    low_A, high_A, dose_e_per_A2 = 22.0, 12.0, 150.0
    settings = changed(
        microscope={"height_px": 512, "width_px": 512},
        exposure={"dose_e_per_A2": dose_e_per_A2},
        particles={"per_micrograph": 80, "broken": 0.0},
        detector={"dose_rate_e_per_px_s": 0.02},
    )
    exposure = simulate_exposure(plan(thickness_A=150.0), specimen, settings)
    empty = frames_of(specimen, settings, plan("empty", thickness_A=150.0))[0].astype(float)
    found = band_power(next(exposure.frames).astype(float), low_A, high_A) - band_power(empty, low_A, high_A)
    # What the structure that is left would give, with the mean of the CTF's square over its oscillations.
    k = ring_frequencies(2.0)
    band = (k > 1 / low_A) & (k < 1 / high_A)
    transfer = Lens(settings.microscope, plan().parameters(settings)).contrast_per_V_A(k)
    transfer *= signal_transfer(detector_named("K2"), k, 2.0) * np.exp(-150 / inelastic_mean_free_path_A(300.0))
    inside = exposure.particles.inside(512, 512)
    views = exposure.power[inside].sum(0) * 2.0**4 * transfer**2 / 2 * 2 * np.pi * k * RING_PER_A / (512 * 2.0) ** 2

    def of(left: torch.Tensor) -> float:
        return float((views * left)[band].sum())

    structure = of(mean_survival(k, 0, dose_e_per_A2, 300.0) ** 2)
    atoms = of(mean_power(dose_e_per_A2 / (2 * critical_dose_e_per_A2(k, 300.0))))
    assert atoms > 2.5 * structure
    assert found == pytest.approx(atoms, rel=0.25)


def test_radiation_takes_fine_detail_first(specimen: Specimen) -> None:
    settings = changed(
        exposure={"frames": 4, "dose_e_per_A2": 4000.0, "drift_A": 0.0, "output": "movies"},
        particles={"per_micrograph": 20},
    )
    quiet = replace(settings, particles=replace(settings.particles, per_micrograph=0))
    with_protein, without = (frames_of(specimen, s).astype(np.float64) for s in (settings, quiet))
    signal = np.abs(np.fft.rfft2((with_protein - without) / without.mean())) ** 2
    k = np.hypot(np.fft.fftfreq(256, 2.0)[:, None], np.fft.rfftfreq(320, 2.0))
    coarse = k < 0.02
    assert signal[0][coarse].sum() > 1.5 * signal[-1][coarse].sum()


def test_the_field_grows_with_what_is_delocalised(specimen: Specimen) -> None:
    settings = changed(microscope={"b_factor_A2": 60}, particles={"per_micrograph": 60})
    near, far = (simulate_exposure(plan(defocus_A=defocus_A), specimen, settings) for defocus_A in (5e3, 6e4))
    assert far.particles.x_px.min() < near.particles.x_px.min() - 20
    assert len(near.film_A) == len(near.particles) == len(near.power)
    assert np.all(near.film_A == 300)


def test_drift_is_told_and_an_aligned_single_frame_has_none(specimen: Specimen) -> None:
    assert simulate_exposure(plan(), specimen, BARE).track.total_A == 0
    moved = changed(exposure={"frames": 8, "drift_A": 20.0})
    assert simulate_exposure(plan(), specimen, moved).track.total_A > 3
    assert simulate_exposure(plan("drift"), specimen, moved).track.total_A > 100
