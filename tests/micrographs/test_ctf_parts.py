"""The pieces of the CTF fit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from scherzer.micrographs.ctf_cells import cell_numbers, layout
from scherzer.micrographs.ctf_confidence import Standing, confidence
from scherzer.micrographs.ctf_search import Astigmatic, penalty, separate_peaks
from scherzer.micrographs.fit_resolution import CtfProfile, fit_resolution_A, frequency_of_equal_phase, rings_between
from scherzer.micrographs.ring_model import aberration, aberration_of, flatten
from scherzer.micrographs.ring_picture import centred_power
from scherzer.micrographs.spectrum import (
    PolarSpectrum,
    Spectrum,
    band,
    clip_outliers,
    evened,
    given_spectrum,
    level,
    mean_spectrum,
    polar_average,
    power_spectrum,
)
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import MM_TO_A, Optics


def plane(size: int, pixel_size_A: float) -> tuple[Tensor, Tensor]:
    """Frequencies kx, ky of a centred spectrum."""
    axis = (torch.arange(size) - size // 2) / (size * pixel_size_A)
    ky, kx = torch.meshgrid(axis, axis, indexing="ij")
    return kx, ky


def averaged(spectrum: Spectrum, lowest_per_A: float, highest_per_A: float, sectors: int = 36) -> PolarSpectrum:
    pixels = band(spectrum, 0.5 * lowest_per_A, spectrum.edge_per_A)
    return polar_average(spectrum, pixels, lowest_per_A, highest_per_A, sectors)


@pytest.mark.parametrize("shape", [(512, 512), (480, 620)])
def test_a_wave_appears_at_its_frequency(shape: tuple[int, int]) -> None:
    y, x = torch.meshgrid(torch.arange(float(shape[0])), torch.arange(float(shape[1])), indexing="ij")
    for kx_px, ky_px in ((40, 24), (40, -24)):
        wave = torch.cos(2 * torch.pi * (x * kx_px / shape[1] + y * ky_px / shape[0]))
        spectrum = power_spectrum(level(wave, 1.5), 1.5, 1.5)
        row, column = divmod(int(spectrum.power.argmax()), len(spectrum.kx))
        assert float(spectrum.kx[column]) == pytest.approx(kx_px / (shape[1] * 1.5), abs=0.6 / (shape[1] * 1.5))
        assert float(spectrum.ky[row]) == pytest.approx(ky_px / (shape[0] * 1.5), abs=0.6 / (shape[0] * 1.5))


def test_white_noise_has_a_flat_spectrum_of_its_own_power() -> None:
    image = 5 * torch.randn(1000, 1200, generator=torch.Generator().manual_seed(0)) + 300
    spectrum = power_spectrum(level(image, 1.0), 1.0, 1.0)
    polar = averaged(spectrum, 1 / 30, 1 / 2.2, 6)
    assert float(polar.power.mean()) == pytest.approx(0.93, abs=0.04)  # the taper takes 7 %
    assert float(polar.power[:, :200].mean()) == pytest.approx(float(polar.power[:, 200:].mean()), rel=0.02)


def test_fine_pixels_are_cut_off_at_the_finest() -> None:
    image = torch.randn(2048, 2048, generator=torch.Generator().manual_seed(0))
    spectrum = power_spectrum(level(image, 0.5), 0.5, 1.4)
    assert spectrum.edge_per_A == pytest.approx(1 / 2.8)
    assert 1 / 2.8 - 0.002 < float(spectrum.kx[-1]) <= 1 / 2.8
    assert float(spectrum.ky[0]) == -float(spectrum.ky[-1])


def test_the_mean_of_spectra_is_that_of_their_powers() -> None:
    one, two = (given_spectrum(torch.full((64, 64), value), 1.0) for value in (1.0, 3.0))
    assert torch.equal(mean_spectrum([one, two]).power, torch.full((64, 32), 2.0))


@pytest.mark.parametrize("size", [64, 65])
def test_a_given_spectrum_keeps_its_frequencies(size: int) -> None:
    power = torch.zeros(size, size)
    power[size // 2 - 5, size // 2 + 7] = 1
    spectrum = given_spectrum(power, 1.4)
    row, column = divmod(int(spectrum.power.argmax()), len(spectrum.kx))
    assert float(spectrum.kx[column]) == pytest.approx(7 / (size * 1.4))
    assert float(spectrum.ky[row]) == pytest.approx(-5 / (size * 1.4))
    assert float(spectrum.kx[0]) == 0


def test_levelling_removes_steps_and_ramps_and_evens_contrast() -> None:
    image = torch.randn(600, 600, generator=torch.Generator().manual_seed(0))
    spoiled = image.clone()
    spoiled[:, 300:] *= 5
    spoiled += torch.linspace(0, 10, 600)
    flat = evened(spoiled, 60)
    for part in (flat[:, 60:240], flat[:, 360:540]):
        assert float(part.std()) == pytest.approx(1, abs=0.1)
        assert abs(float(part.mean())) < 0.1
    assert bool(torch.isfinite(evened(torch.zeros(100, 100), 10)).all())


def test_outliers_are_clipped_and_the_rest_is_left() -> None:
    image = torch.randn(200, 200, generator=torch.Generator().manual_seed(0))
    spoiled = image.clone()
    spoiled[3, 4] = 1e5
    clipped = clip_outliers(spoiled)
    assert float(clipped[3, 4]) < 1000
    assert torch.equal(clipped[10:], spoiled[10:])


def test_polar_average_of_a_function_of_angle_and_frequency() -> None:
    kx, ky = plane(256, 1.5)
    power = 2 + torch.cos(2 * torch.atan2(ky, kx)) + 3 * torch.hypot(kx, ky)
    polar = averaged(given_spectrum(power, 1.5), 1 / 20, 1 / 4)
    expected = 2 + torch.cos(2 * polar.angle_rad)[:, None] + 3 * polar.frequency_per_A
    # Bins that the axes' cross takes away hold the mean over directions.
    full = polar.count > 1
    assert float(full.float().mean()) > 0.9
    torch.testing.assert_close(polar.power[full], expected[full], rtol=0, atol=0.15)
    assert float((polar.power - expected)[full].mean().abs()) < 2e-3
    # The pixels of the half plane add up, about pi k a bin, less two by five where a ring meets the axes' cross.
    middle = len(polar.frequency_per_A) // 2
    area = math.pi * float(polar.frequency_per_A[middle]) * 256 * 1.5 - 10
    assert float(polar.count.sum(0)[middle - 5 : middle + 6].mean()) == pytest.approx(area, rel=0.05)


def test_flattening_removes_a_steep_background_and_keeps_rings() -> None:
    kx, ky = plane(512, 1.4)
    k = torch.hypot(kx, ky).clamp_min(1e-4)
    background = torch.exp(-30 * k) + 0.05
    rings = 0.2 * torch.cos(2 * torch.pi * k * 120)
    flat = flatten(averaged(given_spectrum(background * torch.exp(rings), 1.4), 1 / 30, 1 / 4))
    expected = 0.2 * torch.cos(2 * torch.pi * flat.frequency_per_A * 120)
    assert float((flat.modulation.mean(0) - expected)[3:-3].abs().max()) < 0.04


def test_ring_phases_are_those_of_the_ctf() -> None:
    optics = Optics(1.0, 200.0, 2.7, 0.1)
    k = torch.linspace(0.02, 0.3, 50)
    parameters = optics.ctf_parameters(12000, 12000, 0, 0.4)
    phases = aberration(k, float(parameters.wavelength_A), 2.7 * MM_TO_A, 0.1, 0.4)
    expected = 2 * ctf(parameters, k, torch.zeros_like(k))[0].square() - 1
    torch.testing.assert_close(phases.rings(torch.tensor([12000.0])), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("cs_mm", [0.0, 0.001, 2.7])
def test_frequencies_of_equal_phase_have_equal_ctf(cs_mm: float) -> None:
    optics = Optics(1.0, 300.0, cs_mm, 0.1)
    k = torch.linspace(0.03, 0.25, 40)
    here, there = optics.ctf_parameters(15000, 15000), optics.ctf_parameters(15600, 15600)
    cs_wavelength2_A = cs_mm * MM_TO_A * float(here.wavelength_A) ** 2
    other = frequency_of_equal_phase(k, torch.full_like(k, 15000), torch.full_like(k, 15600), cs_wavelength2_A)
    zero = torch.zeros_like(k)
    torch.testing.assert_close(ctf(here, k, zero), ctf(there, other, zero), rtol=0, atol=2e-3)


def test_frequencies_beyond_the_turning_point_stay_finite() -> None:
    k = torch.linspace(0.03, 0.6, 60)
    other = frequency_of_equal_phase(k, torch.full_like(k, 3000.0), torch.full_like(k, 2500.0), 2.7e7 * 0.0370**2)
    assert bool(torch.isfinite(other).all())


def test_fit_resolution_survives_a_dip_and_ends_with_the_rings() -> None:
    k = torch.linspace(1 / 30, 1 / 3, 120)
    agreement = torch.where(k < 1 / 5, 0.9, 0.0)
    agreement[10:16] = 0.1
    flat = torch.zeros_like(k)
    assert fit_resolution_A(CtfProfile(k, flat, flat, agreement)) == pytest.approx(5, rel=0.03)
    assert fit_resolution_A(CtfProfile(k, flat, flat, flat)) == pytest.approx(30)


def test_peaks_are_separate_and_sorted() -> None:
    values = torch.zeros(100)
    values[[20, 23, 60, 90]] = torch.tensor([1.0, 0.9, 0.8, 0.7])
    assert separate_peaks(values, 3, 10) == [20, 60, 90]
    assert separate_peaks(torch.zeros(5), 3, 2)[0] in range(5)


def test_astigmatism_costs_weak_rings_more_than_strong_ones() -> None:
    weak, strong = (float(penalty(500.0, torch.tensor(c), 0.02)) for c in (0.06, 0.6))
    assert weak == pytest.approx(10 * strong)
    assert float(penalty(0.0, torch.tensor(0.06), 0.02)) == 0


def test_defocus_towards_a_direction() -> None:
    defocus = Astigmatic(10000, 300 * math.cos(1.0), 300 * math.sin(1.0))
    towards = defocus.towards(torch.tensor([0.5, 0.5 + math.pi / 2]))
    torch.testing.assert_close(towards, torch.tensor([10300.0, 9700.0]))


def test_cells_hold_the_mean_power_at_the_mean_place_of_their_pixels() -> None:
    kx, ky = plane(300, 1.5)
    spectrum = given_spectrum(1 + 40 * (kx.square() + ky.square()), 1.5)
    found = layout(band(spectrum, 0.03, 0.25), 0.03, 0.25, 48, 60).cells(spectrum.power)
    used = found.count > 0
    ratio = found.power[used] / (1 + 40 * found.k2[used])
    torch.testing.assert_close(ratio / ratio.mean(), torch.ones_like(ratio), rtol=0, atol=1e-5)
    middles = (torch.arange(48) + 0.5) * math.pi / 48
    assert float((found.angle_rad - middles[:, None])[found.count > 3].abs().max()) < math.pi / 96
    assert float(found.count.sum()) == pytest.approx(math.pi / 2 * (0.25**2 - 0.03**2) * 450**2, rel=0.06)


def test_cells_are_finer_for_more_defocus_and_more_astigmatism() -> None:
    spectrum = given_spectrum(torch.ones(2000, 2000), 1.5)
    sectors, bins = cell_numbers(spectrum, 1 / 30, 1 / 4, 0.0197, 10000, 300)
    assert cell_numbers(spectrum, 1 / 30, 1 / 4, 0.0197, 30000, 300)[1] > 2.5 * bins
    assert cell_numbers(spectrum, 1 / 30, 1 / 4, 0.0197, 10000, 2000)[0] > 2 * sectors
    # Nobody needs cells finer than the pixels.
    assert cell_numbers(given_spectrum(torch.ones(200, 200), 1.5), 1 / 30, 1 / 4, 0.0197, 60000, 300)[1] <= 65


def test_confidence_grows_with_the_lead_in_units_of_chance() -> None:
    assert confidence(Standing(0.05, 0.05, 0.01)) == pytest.approx(0.122, abs=1e-3)
    weak, strong = (confidence(Standing(0.05 + lead, 0.05, 0.01)) for lead in (0.01, 0.05))
    assert 0.3 < weak < 0.7
    assert strong > 0.99
    assert confidence(Standing(0.5, 0.25, 0.1)) == pytest.approx(confidence(Standing(0.05, 0.025, 0.01)))
    # A rival that anticorrelates is none, and a search without scatter is no reason to divide by zero.
    assert confidence(Standing(0.05, -0.5, 0.01)) == confidence(Standing(0.05, 0.0, 0.01))
    assert confidence(Standing(0.0, 0.0, 0.0)) < 0.2


def test_rings_are_counted_in_half_turns_of_the_phase() -> None:
    k = torch.linspace(1 / 30, 1 / 3, 2000)
    optics = aberration_of(k, Optics(1.0, 300.0, 0.0, 0.1))
    expected = 0.019687 * 15000 * (1 / 5**2 - 1 / 30**2)
    assert rings_between(optics, 15000, k, 5.0) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("size", [128, 700])
def test_the_picture_of_a_spectrum_is_symmetric_and_in_place(size: int) -> None:
    kx, ky = plane(size, 1.5)
    spectrum = given_spectrum(torch.exp(-30 * (kx + ky).square() - 8 * (kx - ky).square()), 1.5)
    power, px, py = centred_power(spectrum)
    side = len(power)
    assert side == min(size, 512)
    assert float((power - torch.exp(-30 * (px + py).square() - 8 * (px - py).square())).abs()[2:, 2:].max()) < 0.02
    torch.testing.assert_close(power[1:, 1:], power[1:, 1:].flip(0, 1))
    assert int(power.argmax()) == side // 2 * side + side // 2
