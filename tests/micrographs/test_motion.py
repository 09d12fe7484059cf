"""Full-frame motion correction of movies whose drift is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from scherzer.micrographs.motion import MotionSettings, correct_motion, replace_outliers
from scherzer.micrographs.motion_alignment import translation
from scherzer.physics.ctf import ctf
from scherzer.physics.dose import dose_weights
from scherzer.physics.optics import Optics

OPTICS = Optics(pixel_size_A=1.0, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1)


def smooth_drift(frames: int) -> Tensor:
    """Fast at first, then slow: ``(n, 2)``, x and y in px, zero in the middle frame."""
    time = torch.arange(frames, dtype=torch.float32)
    drift = torch.stack([8 * torch.exp(-time / 4) + 0.2 * time, -5 * torch.exp(-time / 5) - 0.1 * time], dim=1)
    return drift - drift[frames // 2]


def specimen(size: int, seed: int) -> Tensor:
    """Relative contrast of textured discs of 120 A in ice, 1.5 um underfocus; sd 0.1, mean 0."""
    generator = torch.Generator().manual_seed(seed)
    ky, kx = torch.fft.fftfreq(size, OPTICS.pixel_size_A)[:, None], torch.fft.rfftfreq(size, OPTICS.pixel_size_A)
    ky, kx = ky.expand(size, len(kx)), kx.expand(size, len(kx))
    centres = torch.zeros(size, size)
    picks = torch.randint(0, size, ((size // 250) ** 2, 2), generator=generator)
    centres[picks[:, 0], picks[:, 1]] = 1
    argument = 2 * torch.pi * 60 * torch.hypot(kx, ky) + 1e-6
    disc = 2 * torch.special.bessel_j1(argument) / argument
    discs = torch.fft.irfft2(torch.fft.rfft2(centres) * disc, s=(size, size))
    texture = torch.randn(size, size, generator=generator)
    density = discs / discs.max() * (1 + texture) + 0.3 * torch.randn(size, size, generator=generator)
    transfer = ctf(OPTICS.ctf_parameters(15000, 15000), kx, ky)[0] * torch.exp(-150 / 4 * (kx**2 + ky**2))
    image = torch.fft.irfft2(torch.fft.rfft2(density) * transfer, s=(size, size))
    return -0.1 * (image - image.mean()) / image.std()


def movie(size: int, drift_px: Tensor, counts: float, seed: int, gain_error: float = 0.0) -> Tensor:
    """Poisson frames of a drifting specimen on a detector with a fixed pattern; ``(n, h, w)`` uint8."""
    generator = torch.Generator().manual_seed(seed + 1000)
    transform = torch.fft.rfft2(specimen(size, seed))
    gain = 1 + gain_error * torch.randn(size, size, generator=generator)
    frames = []
    for shift in drift_px:
        image = torch.fft.irfft2(transform * translation((size, size), shift.flip(0) / size), s=(size, size))
        frames.append(torch.poisson((counts * (1 + image) * gain).clamp_min(0), generator=generator).to(torch.uint8))
    return torch.stack(frames)


def rms_error_px(shifts_A: Tensor, drift_px: Tensor) -> float:
    error = shifts_A / OPTICS.pixel_size_A - drift_px
    return math.sqrt(float((error - error.mean(0)).square().sum(1).mean()))


@pytest.mark.parametrize("gain_error", [0.0, 0.02])
def test_a_smooth_drift_is_found_to_a_twentieth_of_a_pixel(gain_error: float) -> None:
    drift = smooth_drift(16)
    result = correct_motion(movie(1280, drift, 1.0, 1, gain_error), OPTICS, 1.0)
    assert rms_error_px(result.shifts_A, drift) < 0.05
    torch.testing.assert_close(result.shifts_A[8], torch.zeros(2))


def test_jitter_is_not_smoothed_away() -> None:
    generator = torch.Generator().manual_seed(3)
    drift = torch.cumsum(torch.randn(16, 2, generator=generator), 0)
    drift = drift - drift[8]
    result = correct_motion(movie(1280, drift, 1.0, 1), OPTICS, 1.0)
    assert rms_error_px(result.shifts_A, drift) < 0.12


def test_a_still_movie_stays_still_in_spite_of_a_fixed_pattern() -> None:
    drift = torch.zeros(12, 2)
    result = correct_motion(movie(1024, drift, 1.0, 2, 0.02), OPTICS, 1.0)
    assert rms_error_px(result.shifts_A, drift) < 0.05
    assert result.total_A < 0.5


def test_path_lengths_are_split_at_the_early_dose() -> None:
    drift = smooth_drift(16)
    result = correct_motion(movie(1024, drift, 1.0, 1), OPTICS, 2.0)
    steps = (drift[1:] - drift[:-1]).norm(dim=1)
    assert result.total_A == pytest.approx(float(steps.sum()), abs=0.6)
    assert result.early_A == pytest.approx(float(steps[:2].sum()), abs=0.4)
    assert result.late_A is not None
    assert result.early_A is not None
    assert result.early_A + result.late_A == pytest.approx(result.total_A)


def test_the_sum_is_sharp_again() -> None:
    drift = smooth_drift(12)
    frames = movie(1024, drift, 1.0, 4)
    truth = 1 + torch.fft.irfft2(torch.fft.rfft2(specimen(1024, 4)), s=(1024, 1024))

    def likeness(image: Tensor) -> float:
        return float(torch.corrcoef(torch.stack([image.flatten(), truth.flatten()]))[0, 1])

    result = correct_motion(frames, OPTICS, None)
    ideal = movie(1024, torch.zeros(12, 2), 1.0, 4).float().sum(0)
    assert result.weighted is None
    assert result.early_A is None
    assert likeness(result.unweighted) > 0.98 * likeness(ideal)
    assert likeness(frames.float().sum(0)) < 0.9 * likeness(ideal)
    assert float(result.unweighted.mean()) == pytest.approx(float(frames.float().sum(0).mean()), rel=1e-4)


def test_dose_weighting_keeps_the_noise_and_follows_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(1, 64, 64, generator=generator).expand(6, 64, 64).contiguous()
    # Six copies of one frame, not aligned: the ratio of the two sums' spectra is the formula's.
    result = correct_motion(frames, OPTICS, 3.0, MotionSettings(max_iterations=0))
    assert result.weighted is not None
    ky, kx = torch.fft.fftfreq(64)[:, None], torch.fft.rfftfreq(64)
    weights = dose_weights(torch.hypot(ky, kx), 3.0 * torch.arange(1, 7), 300.0)
    expected = weights.sum(0) * torch.sqrt(6 / weights.square().sum(0)) / 6
    ratio = torch.fft.rfft2(result.weighted) / torch.fft.rfft2(result.unweighted)
    torch.testing.assert_close(ratio.real, expected, rtol=2e-3, atol=2e-3)


def test_one_frame_passes_through() -> None:
    frame = movie(256, torch.zeros(1, 2), 1.0, 1)
    result = correct_motion(frame, OPTICS, None)
    torch.testing.assert_close(result.unweighted, frame[0].float(), rtol=1e-4, atol=1e-4)
    assert result.total_A == 0.0
    assert result.shifts_A.shape == (1, 2)


def test_frames_with_odd_and_unequal_sides_are_aligned() -> None:
    drift = torch.tensor([[-2.0, 3.0], [0.0, 0.0], [2.5, -3.0]])
    square = movie(1024, drift, 4.0, 5)
    result = correct_motion(square[:, :731, :977], OPTICS, 1.0)
    assert result.unweighted.shape == (731, 977)
    assert rms_error_px(result.shifts_A, drift) < 0.3


def test_hot_pixels_do_not_hold_the_frames() -> None:
    drift = smooth_drift(12)
    frames = movie(1024, drift, 1.0, 1)
    frames[:, 100:103, 200] = 255
    assert rms_error_px(correct_motion(frames, OPTICS, 1.0).shifts_A, drift) < 0.08
    assert float(replace_outliers(frames[0].float(), 12).max()) < 20


@pytest.mark.parametrize(
    ("shape", "dose"), [((4, 16, 64), 1.0), ((64, 64), 1.0), ((0, 64, 64), 1.0), ((4, 64, 64), 0.0)]
)
def test_what_is_not_a_movie_is_refused(shape: tuple[int, ...], dose: float) -> None:
    with pytest.raises(ValueError, match=r"movie|dose"):
        correct_motion(torch.zeros(shape), OPTICS, dose)


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "allowed_px"), [(1.0, 0.05), (0.1, 0.15)])
def test_full_size_movies_at_full_and_low_counts(counts: float, allowed_px: float) -> None:
    drift = smooth_drift(20)
    result = correct_motion(movie(4096, drift, counts, 0, 0.01), OPTICS, 1.0)
    assert rms_error_px(result.shifts_A, drift) < allowed_px
