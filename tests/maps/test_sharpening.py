"""A known fall-off is found, weighted by what is reproducible, and undone."""

import math

import pytest
import torch

from scherzer.fourier.filters import apply_radial
from scherzer.fourier.grids import centred_rfftn
from scherzer.fourier.shells import fourier_shell_correlation, shell_mean
from scherzer.maps.sharpening import figure_of_merit, guinier, sharpen

BOX, PIXEL_SIZE_A = 48, 1.5
FREQUENCY = torch.arange(BOX // 2 + 1) / (BOX * PIXEL_SIZE_A)
ONES = torch.ones(BOX // 2 + 1)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(seed))


def falling(b_factor_A2: float) -> torch.Tensor:
    return apply_radial(noise(0), torch.exp(-b_factor_A2 * FREQUENCY**2 / 4))


def amplitude(volume: torch.Tensor) -> torch.Tensor:
    return shell_mean(centred_rfftn(volume).abs(), 3)


@pytest.mark.parametrize("b_factor_A2", [40.0, 120.0, 250.0])
def test_known_b_factor_is_found(b_factor_A2: float) -> None:
    found = guinier(falling(b_factor_A2), PIXEL_SIZE_A, ONES, 3.2)
    assert found.bfactor_A2 == pytest.approx(-b_factor_A2, abs=6)
    assert found.window_A == (10.0, 3.2)
    assert found.reason == ""
    assert torch.allclose(found.inverse_square_per_A2, FREQUENCY.double() ** 2)


def test_noise_of_the_halves_is_discounted() -> None:
    """Without the weight by the FSC the noise floor would flatten the slope."""
    first, second = (falling(120) + 0.12 * noise(seed) for seed in (1, 2))
    mean, fsc = (first + second) / 2, fourier_shell_correlation(first, second)
    weighted = guinier(mean, PIXEL_SIZE_A, fsc, 4.0).bfactor_A2
    plain = guinier(mean, PIXEL_SIZE_A, ONES, 4.0).bfactor_A2
    assert weighted == pytest.approx(-120, abs=15)
    assert abs(weighted + 120) < abs(plain + 120)


@pytest.mark.parametrize(("resolution_A", "word"), [(None, "not known"), (9.0, "9.0 A"), (7.6, "7.6 A")])
def test_no_b_factor_at_low_resolution_and_it_says_why(resolution_A: float | None, word: str) -> None:
    found = guinier(falling(120), PIXEL_SIZE_A, ONES, resolution_A)
    assert found.bfactor_A2 is None
    assert found.window_A is None
    assert word in found.reason
    assert len(found.log_amplitude) == BOX // 2 + 1


def test_too_few_shells_are_no_window() -> None:
    box = 24  # 36 A wide: shells 4 and 5 lie between 10 and 7.2 A
    volume = torch.randn(box, box, box, generator=torch.Generator().manual_seed(3))
    found = guinier(volume, 1.5, torch.ones(box // 2 + 1), 7.2)
    assert found.bfactor_A2 is None
    assert "shells" in found.reason


def test_figure_of_merit() -> None:
    found = figure_of_merit(torch.tensor([1.0, 0.143, 0.5, 0.0, -0.3, 1.2]))
    expected = [1, 0.5, math.sqrt(2 / 3), 0, 0, 1]
    assert torch.allclose(found, torch.tensor(expected), atol=1e-3)


def test_sharpened_spectrum_is_flat_to_the_resolution_and_empty_beyond() -> None:
    volume = falling(150)
    found = guinier(volume, PIXEL_SIZE_A, ONES, 4.0)
    sharp = amplitude(sharpen(volume, PIXEL_SIZE_A, found.bfactor_A2, ONES, 4.0))
    last = int(BOX * PIXEL_SIZE_A / 4.0)
    assert torch.allclose(sharp[4 : last - 1], sharp[4 : last - 1].mean(), rtol=0.12)
    assert (sharp[last + 2 :] < 1e-3 * sharp[5]).all()


def test_without_a_b_factor_the_map_is_weighted_and_cut() -> None:
    volume = falling(0)
    fsc = torch.full_like(ONES, 0.143)
    gain = amplitude(sharpen(volume, PIXEL_SIZE_A, None, fsc, 6.0)) / amplitude(volume)
    assert torch.allclose(gain[1:10], torch.full((9,), 0.5).double(), atol=0.02)
    assert gain[14:].max() < 1e-3
    whole = sharpen(volume, PIXEL_SIZE_A, None, ONES, None)
    assert torch.allclose(whole, volume, atol=1e-4)
