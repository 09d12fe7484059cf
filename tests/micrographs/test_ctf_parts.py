"""The pieces of the CTF fit."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from scherzer.micrographs.ctf_search import Astigmatic, penalty, separate_peaks
from scherzer.micrographs.fit_resolution import CtfProfile, fit_resolution_A, frequency_of_equal_phase
from scherzer.micrographs.ring_model import aberration, flatten
from scherzer.micrographs.spectrum import (
    Spectrum,
    clip_outliers,
    frequency_grid,
    polar_average,
    power_spectrum,
    tile_size_px,
    tile_starts,
)
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import MM_TO_A, Optics


@pytest.mark.parametrize(("length", "tile"), [(512, 512), (513, 512), (1240, 478), (4096, 512), (1000, 600)])
def test_tiles_cover_the_image_and_overlap_by_half(length: int, tile: int) -> None:
    starts = tile_starts(length, tile)
    assert starts[0] == 0
    assert starts[-1] == length - tile
    assert all(b - a <= (tile + 1) // 2 for a, b in pairwise(starts))


def test_tile_sizes_are_even_and_within_the_image() -> None:
    assert tile_size_px(4096, 1.0, 717, 1434) == 1440
    assert tile_size_px(511, 1.0, 717, 1434) == 510
    for side in (64, 700, 1200, 5000):
        for pixel_size_A in (0.5, 1.1, 3.0):
            tile = tile_size_px(side, pixel_size_A, 717, 1434)
            assert tile % 2 == 0
            assert tile <= side


def test_a_wave_appears_at_its_frequency_and_at_its_negative() -> None:
    y, x = torch.meshgrid(torch.arange(512.0), torch.arange(512.0), indexing="ij")
    spectrum = power_spectrum(torch.cos(2 * torch.pi * (x * 40 + y * 24) / 512), 1.5, 717, 1434, 1.5)
    size = spectrum.power.shape[0]
    kx, ky = frequency_grid(size, spectrum.pixel_size_A)
    peaks = torch.topk(spectrum.power.flatten(), 2).indices
    found = torch.stack([kx.flatten()[peaks], ky.flatten()[peaks]], dim=1)
    expected = torch.tensor([[40.0, 24.0], [-40.0, -24.0]]) / (512 * 1.5)
    found = found[torch.argsort(found[:, 0], descending=True)]
    torch.testing.assert_close(found, expected, rtol=0, atol=1.1 / (size * spectrum.pixel_size_A))


def test_fine_pixels_are_cut_off_at_the_finest() -> None:
    image = torch.randn(2048, 2048, generator=torch.Generator().manual_seed(0))
    spectrum = power_spectrum(image, 0.5, 717, 1434, 1.4)
    assert spectrum.pixel_size_A == pytest.approx(1.4, rel=0.01)
    assert spectrum.power.std() / spectrum.power.mean() < 1


def test_outliers_are_clipped_and_the_rest_is_left() -> None:
    image = torch.randn(200, 200, generator=torch.Generator().manual_seed(0))
    spoiled = image.clone()
    spoiled[3, 4] = 1e5
    clipped = clip_outliers(spoiled)
    assert float(clipped[3, 4]) < 1000
    assert torch.equal(clipped[10:], spoiled[10:])


def test_polar_average_of_a_function_of_angle_and_frequency() -> None:
    kx, ky = frequency_grid(256, 1.5)
    power = 2 + torch.cos(2 * torch.atan2(ky, kx)) + 3 * torch.hypot(kx, ky)
    polar = polar_average(Spectrum(power, 1.5), 1 / 20, 1 / 4, 36)
    expected = 2 + torch.cos(2 * polar.angle_rad)[:, None] + 3 * polar.frequency_per_A
    # Bins that the axes' cross takes away hold the mean over directions.
    full = polar.count > 1
    assert float(full.float().mean()) > 0.95
    torch.testing.assert_close(polar.power[full], expected[full], rtol=0, atol=0.15)
    assert float((polar.power - expected)[full].mean().abs()) < 2e-3
    # The shared pixels of the half plane add up: about pi k bins of area one a bin.
    middle = len(polar.frequency_per_A) // 2
    area = math.pi * float(polar.frequency_per_A[middle]) * 256 * 1.5
    assert float(polar.count.sum(0)[middle]) == pytest.approx(area, rel=0.1)


def test_flattening_removes_a_steep_background_and_keeps_rings() -> None:
    kx, ky = frequency_grid(512, 1.4)
    k = torch.hypot(kx, ky).clamp_min(1e-4)
    background = torch.exp(-30 * k) + 0.05
    rings = 0.2 * torch.cos(2 * torch.pi * k * 120)
    flat = flatten(polar_average(Spectrum(background * torch.exp(rings), 1.4), 1 / 30, 1 / 4, 36))
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
