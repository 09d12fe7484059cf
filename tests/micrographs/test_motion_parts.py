"""The pieces of motion correction."""

from __future__ import annotations

import pytest
import torch

from scherzer.micrographs.motion_alignment import crop_transform, parabola_peak, peak_shift, translation
from scherzer.micrographs.trajectory import polynomial_fit, smooth


def test_translation_moves_content_towards_positive_y_and_x() -> None:
    image = torch.zeros(32, 40)
    image[5, 7] = 1
    moved = torch.fft.irfft2(torch.fft.rfft2(image) * translation((32, 40), torch.tensor([3 / 32, 4 / 40])), s=(32, 40))
    assert divmod(int(moved.argmax()), 40) == (8, 11)
    assert float(moved[8, 11]) == pytest.approx(1, abs=1e-4)


def test_cropping_a_transform_keeps_a_band_limited_image() -> None:
    y, x = torch.meshgrid(torch.arange(64) / 64, torch.arange(48) / 48, indexing="ij")
    image = torch.cos(2 * torch.pi * (3 * y + 2 * x)) + torch.sin(2 * torch.pi * (5 * x - y))
    small = torch.fft.irfft2(crop_transform(torch.fft.rfft2(image), (32, 24)), s=(32, 24)) / 4
    torch.testing.assert_close(small, image[::2, ::2], rtol=0, atol=1e-4)


def test_parabola_peak_is_exact_for_a_parabola() -> None:
    x = torch.tensor([-1.0, 0.0, 1.0])
    value = 3 - 2 * (x - 0.31).square()
    assert float(parabola_peak(*value)) == pytest.approx(0.31, abs=1e-6)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.2, -4.4), (-6.7, 0.3)])
def test_peak_shift_finds_a_smooth_peak(shift: tuple[float, float]) -> None:
    y, x = torch.fft.fftfreq(40, 1 / 40)[:, None], torch.fft.fftfreq(48, 1 / 48)
    correlation = torch.exp(-((y - shift[0]).square() + (x - shift[1]).square()) / (2 * 3.0**2))
    found = peak_shift(correlation, (12, 12), without_centre=False)
    torch.testing.assert_close(found, torch.tensor(shift), rtol=0, atol=0.02)


def test_the_centre_can_be_left_out() -> None:
    correlation = torch.zeros(40, 40)
    correlation[0, 0] = 10
    correlation[4, 37] = 1
    found = peak_shift(correlation, (12, 12), without_centre=True)
    torch.testing.assert_close(found, torch.tensor([4.0, -3.0]), rtol=0, atol=0.01)


def test_smoothing_takes_noise_away_and_keeps_jitter() -> None:
    generator = torch.Generator().manual_seed(5)
    time = torch.arange(30.0)
    line = torch.stack([0.4 * time, -0.2 * time], dim=1)
    noise = 0.5 * torch.randn(30, 2, generator=generator)
    variance = torch.full((30, 2), 0.25)
    assert (smooth(line + noise, variance) - line).square().mean() < 0.25 * noise.square().mean()

    jitter = torch.cumsum(3 * torch.randn(30, 2, generator=generator), 0)
    kept = smooth(jitter + noise, variance)
    assert (kept - jitter).square().mean() < 1.05 * noise.square().mean()


def test_smoothing_of_a_few_frames_changes_nothing() -> None:
    positions = torch.tensor([[0.0, 1.0], [5.0, -1.0], [2.0, 2.0]])
    assert torch.equal(smooth(positions, torch.ones(3, 2)), positions)


def test_polynomial_fit_returns_a_polynomial_unchanged_and_takes_few_frames() -> None:
    time = torch.linspace(-1, 1, 12)
    positions = torch.stack([1 + time**4, 3 * time - time**2], dim=1)
    torch.testing.assert_close(polynomial_fit(positions, 4), positions, rtol=0, atol=1e-5)
    torch.testing.assert_close(polynomial_fit(positions[:2], 4), positions[:2], rtol=0, atol=1e-5)
