"""The pieces of motion correction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scherzer.micrographs.motion_alignment import parabola_peak, peak_shift, translation
from scherzer.micrographs.motion_frames import crop_transform, low_frequencies
from scherzer.micrographs.motion_likelihood import measure, rings_of
from scherzer.micrographs.trajectory import most_probable_path, polynomial_fit


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
    found, height = peak_shift(correlation, (12, 12), without_centre=False)
    assert 0.9 < height <= 1
    torch.testing.assert_close(found, torch.tensor(shift), rtol=0, atol=0.02)


def test_the_centre_can_be_left_out() -> None:
    correlation = torch.zeros(40, 40)
    correlation[0, 0] = 10
    correlation[4, 37] = 1
    found, height = peak_shift(correlation, (12, 12), without_centre=True)
    assert height == 1
    torch.testing.assert_close(found, torch.tensor([4.0, -3.0]), rtol=0, atol=0.01)


def path(positions: np.ndarray, sigma: float, seen: list[int] | None = None, count: int | None = None) -> np.ndarray:
    numbers = np.arange(len(positions)) if seen is None else np.array(seen)
    dose = np.arange(count or len(positions)) + 0.5
    return most_probable_path(positions, np.eye(len(positions)) / sigma**2, numbers, dose).positions_A


def test_smoothing_takes_noise_away_and_keeps_jitter() -> None:
    generator = np.random.default_rng(5)
    time = np.arange(30.0)
    line = np.stack([0.4 * time, -0.2 * time], axis=1)
    noise = generator.normal(0, 0.5, (30, 2))
    assert np.square(path(line + noise, 0.5) - line).mean() < 0.25 * np.square(noise).mean()

    jitter = np.cumsum(generator.normal(0, 3, (30, 2)), axis=0)
    assert np.square(path(jitter + noise, 0.5) - jitter).mean() < 1.05 * np.square(noise).mean()


def test_the_error_of_a_path_is_told() -> None:
    generator = np.random.default_rng(6)
    time = np.arange(30.0)
    true = np.stack([6 * np.exp(-time / 4), 0.1 * time], axis=1)
    errors, told = [], []
    for _ in range(30):
        seen = true + generator.normal(0, 0.3, true.shape)
        found = most_probable_path(seen, np.eye(30) / 0.09, np.arange(30), time + 0.5)
        error = found.positions_A - true
        errors.append(np.square(error - error.mean(axis=0)).sum(axis=1).mean())
        told.append(found.error_A**2)
    assert np.sqrt(np.mean(told)) == pytest.approx(np.sqrt(np.mean(errors)), rel=0.2)


def test_a_few_frames_are_not_smoothed_and_lost_ones_lie_between() -> None:
    positions = np.array([[0.0, 1.0], [5.0, -1.0], [2.0, 2.0]])
    np.testing.assert_array_equal(path(positions, 1.0), positions)
    np.testing.assert_allclose(path(positions[:2], 1.0, [0, 2], 3)[1], positions[:2].mean(axis=0))
    line = np.stack([0.4 * np.arange(12), -np.arange(12)], axis=1)
    seen = [0, 1, 3, 4, 5, 6, 7, 8, 11]
    np.testing.assert_allclose(path(line[seen], 0.1, seen, 12), line, atol=0.01)


def test_polynomial_fit_returns_a_polynomial_unchanged_and_takes_few_frames() -> None:
    time = np.linspace(-1, 1, 12)
    positions = np.stack([1 + time**4, 3 * time - time**2], axis=1)
    some = np.array([0, 1, 3, 4, 5, 9, 11])
    np.testing.assert_allclose(polynomial_fit(positions[some], some, 12, 4), positions, atol=1e-8)
    np.testing.assert_allclose(polynomial_fit(positions[:2], np.arange(2), 2, 4), positions[:2], atol=1e-8)


def test_low_frequencies_are_those_of_the_whole_transform() -> None:
    frame = torch.randn(50, 61, generator=torch.Generator().manual_seed(1))
    expected = crop_transform(torch.fft.rfft2(frame), (24, 30))
    torch.testing.assert_close(low_frequencies(frame, (24, 30)), expected, rtol=0, atol=1e-3)


def test_rings_hold_every_frequency_once_and_no_axis() -> None:
    rings = rings_of((64, 48), (128.0, 96.0))
    k = torch.hypot(rings.ky[rings.rows], rings.kx[rings.columns])
    assert len(rings.index.unique()) == len(rings.index) == rings.edges[-1]
    assert (rings.rows > 0).all()
    assert (rings.columns > 0).all()
    assert float(k.max()) < 1 / rings.finest_A
    widths = [float(k[place].max() - k[place].min()) for place in rings.places]
    assert max(widths) <= 1 / rings.finest_A / 48 + 1e-6


def test_the_likelihood_finds_shifts_and_states_their_information() -> None:
    """Of noisy copies of one picture; the scatter of what is found is the inverse of the information."""
    generator = torch.Generator().manual_seed(2)
    rings = rings_of((96, 96), (96.0, 96.0))
    count, frames = len(rings.index), 6
    ky, kx = rings.ky[rings.rows], rings.kx[rings.columns]
    true = np.random.default_rng(1).normal(0, 0.3, (frames, 2))
    errors, told = [], []
    for _ in range(20):
        picture = torch.randn(count, dtype=torch.complex64, generator=generator)
        noise = 2.0 * torch.randn(frames, count, dtype=torch.complex64, generator=generator)
        turn = torch.from_numpy(true).float() @ torch.stack([ky, kx])
        seen = picture * torch.polar(torch.ones_like(turn), -2 * torch.pi * turn) + noise
        at, undone = np.zeros((frames, 2)), np.zeros((frames, 2))
        for _ in range(3):
            found = measure(seen, rings, at, undone - at, torch.ones(frames), np.zeros(frames))
            undone, at = at, found.positions_A
        error = at - true
        errors.append(np.square(error - error.mean(axis=0)).mean())
        told.append(np.trace(np.linalg.pinv(found.information)) / frames)
    assert np.mean(errors) == pytest.approx(np.mean(told), rel=0.25)
