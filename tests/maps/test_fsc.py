"""Crossings are interpolated, and the correction takes out what the mask put in, and nothing else."""

import pytest
import torch

from scherzer.fourier.filters import apply_radial, lowpass
from scherzer.fourier.grids import centred_rfftn, real_radius, rfft_radius
from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.maps.fsc import crossing_A, fsc_curves, randomise_phases
from scherzer.maps.reconstruction import spherical_mask

BOX, PIXEL_SIZE_A = 40, 2.0
FREQUENCY = torch.arange(6) / 100.0


def noise(seed: int) -> torch.Tensor:
    return torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(seed))


def test_crossing_is_interpolated_between_shells() -> None:
    curve = torch.tensor([1.0, 0.9, 0.8, 0.2, 0.0, 0.0])
    assert crossing_A(FREQUENCY, curve, 0.5) == pytest.approx(1 / 0.025)
    assert crossing_A(FREQUENCY, curve, 0.35) == pytest.approx(1 / 0.0275)
    assert crossing_A(FREQUENCY, curve, 0.19) == pytest.approx(1 / 0.0305)


def test_first_crossing_counts() -> None:
    curve = torch.tensor([1.0, 0.9, 0.1, 0.9, 0.9, 0.0])
    assert crossing_A(FREQUENCY, curve, 0.5) == pytest.approx(1 / 0.015)


def test_curve_that_never_falls_is_limited_by_nyquist() -> None:
    assert crossing_A(FREQUENCY, torch.ones(6), 0.143) == pytest.approx(20)


def test_curve_that_never_rises_has_no_resolution() -> None:
    assert crossing_A(FREQUENCY, torch.tensor([1.0, 0.1, 0.9, 0.9, 0.9, 0.9]), 0.143) is None
    assert crossing_A(FREQUENCY, torch.zeros(6), 0.5) is None


def test_lower_threshold_is_crossed_later() -> None:
    curve = torch.tensor([1.0, 0.95, 0.7, 0.4, 0.1, 0.0])
    at = [crossing_A(FREQUENCY, curve, threshold) for threshold in (0.5, 0.143)]
    assert at[0] > at[1]


def test_random_phases_keep_amplitudes_and_what_lies_below() -> None:
    volume = noise(0)
    changed = randomise_phases(volume, 8, torch.Generator().manual_seed(1))
    before, after = centred_rfftn(volume), centred_rfftn(changed)
    radius = rfft_radius(BOX, 3)
    inner = radius < 8
    assert torch.allclose(after[inner], before[inner], atol=1e-2)
    generic = (torch.arange(BOX // 2 + 1) > 0) & (torch.arange(BOX // 2 + 1) < BOX // 2)
    outer = ~inner & generic
    assert torch.allclose(after[outer].abs(), before[outer].abs(), rtol=1e-2, atol=1e-2)
    assert fourier_shell_correlation(volume, changed)[9:].abs().max() < 0.1


def leaking() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Half-maps with strong common low frequencies and independent weak noise beyond, and a sharp mask."""
    common = lowpass(noise(1), 1.0, BOX / 5) * 12
    first, second = common + 0.15 * noise(2), common + 0.15 * noise(3)
    return first, second, (real_radius(BOX, 3) < 8).float()


def test_correlation_that_the_mask_makes_is_taken_out() -> None:
    curves = fsc_curves(*leaking(), PIXEL_SIZE_A)
    assert curves.unmasked[10:].abs().mean() < 0.05
    assert curves.masked[10:].mean() > 0.4
    assert abs(float(curves.corrected[10:].mean())) < 0.1
    assert curves.resolution_A(0.5) > PIXEL_SIZE_A * BOX / 10
    assert curves.randomised[10:].mean() == pytest.approx(float(curves.masked[10:].mean()), abs=0.1)


def test_common_detail_survives_the_correction() -> None:
    decay = torch.exp(-((torch.arange(BOX // 2 + 1) / 9.0) ** 2))
    common = apply_radial(noise(4), decay) * (real_radius(BOX, 3) < 11)
    first, second = common + 0.12 * noise(5), common + 0.12 * noise(6)
    mask = spherical_mask(BOX, 1.0, 22.0, 6.0, torch.device("cpu"))
    curves = fsc_curves(first, second, mask, PIXEL_SIZE_A)
    ideal = fourier_shell_correlation(common + 0.12 * noise(5) * mask, common + 0.12 * noise(6) * mask)
    assert curves.unmasked[10] < 0.8 * float(curves.corrected[10])
    assert (curves.corrected[4:14] - ideal[4:14]).abs().max() < 0.15
    assert curves.resolution_A(0.143) < PIXEL_SIZE_A * BOX / 11


def test_independent_noise_has_no_resolution_under_a_mask() -> None:
    mask = spherical_mask(BOX, 1.0, 20.0, 6.0, torch.device("cpu"))
    curves = fsc_curves(noise(7), noise(8), mask, PIXEL_SIZE_A)
    assert curves.corrected[4:].abs().max() < 0.35
    assert abs(float(curves.corrected[4:].mean())) < 0.08
    at = curves.resolution_A(0.5)
    assert at is None or at > PIXEL_SIZE_A * BOX / 4


def test_identical_maps_reach_nyquist() -> None:
    curves = fsc_curves(noise(9), 3 * noise(9), torch.ones(BOX, BOX, BOX), PIXEL_SIZE_A)
    assert curves.resolution_A(0.143) == pytest.approx(2 * PIXEL_SIZE_A)
    assert float(curves.frequency_per_A[-1]) == pytest.approx(1 / (2 * PIXEL_SIZE_A))
    assert len(curves.frequency_per_A) == len(curves.corrected) == BOX // 2 + 1


def test_curves_depend_on_the_seed_alone() -> None:
    given = leaking()
    assert torch.equal(fsc_curves(*given, 2.0, 3).corrected, fsc_curves(*given, 2.0, 3).corrected)
    assert not torch.equal(fsc_curves(*given, 2.0, 3).randomised, fsc_curves(*given, 2.0, 4).randomised)
