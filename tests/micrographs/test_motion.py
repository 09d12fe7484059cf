"""Motion correction of movies whose drift is known."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from scherzer.micrographs import motion_frames
from scherzer.micrographs.motion import MotionResult, MotionSettings, correct_motion
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


@functools.cache
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


def corrected(frames: Tensor, dose: float | None, settings: MotionSettings | None = None) -> MotionResult:
    count, height, width = frames.shape
    return correct_motion(lambda: (frame.clone() for frame in frames), (count, height, width), OPTICS, dose, settings)


def rms_error_px(shifts_A: Tensor, drift_px: Tensor) -> float:
    error = shifts_A / OPTICS.pixel_size_A - drift_px
    return math.sqrt(float((error - error.mean(0)).square().sum(1).mean()))


@pytest.mark.parametrize("gain_error", [0.0, 0.02])
def test_a_smooth_drift_is_found_to_a_thirtieth_of_a_pixel_and_the_error_told(gain_error: float) -> None:
    drift = smooth_drift(16)
    result = corrected(movie(1280, drift, 1.0, 1, gain_error), 1.0)
    error = rms_error_px(result.shifts_A, drift)
    assert error < 0.033
    assert result.error_A / 2 < error < 2 * result.error_A
    torch.testing.assert_close(result.shifts_A[8], torch.zeros(2))
    assert result.used.all()


def test_thin_frames_are_aligned() -> None:
    drift = smooth_drift(40)
    result = corrected(movie(1024, drift, 0.1, 1), 0.3)
    assert rms_error_px(result.shifts_A, drift) < 0.2


def test_jitter_is_not_smoothed_away() -> None:
    generator = torch.Generator().manual_seed(3)
    drift = torch.cumsum(torch.randn(16, 2, generator=generator), 0)
    drift = drift - drift[8]
    result = corrected(movie(1280, drift, 1.0, 1), 1.0)
    assert rms_error_px(result.shifts_A, drift) < 0.12


def test_a_still_movie_stays_still_in_spite_of_a_fixed_pattern() -> None:
    drift = torch.zeros(12, 2)
    result = corrected(movie(1024, drift, 1.0, 2, 0.02), 1.0)
    assert rms_error_px(result.shifts_A, drift) < 0.05
    assert result.total_A < 0.5


@pytest.mark.parametrize(("dose", "early_steps"), [(2.0, 1), (1.3, 2), (4.5, 0)])
def test_path_lengths_are_split_as_by_relion(dose: float, early_steps: int) -> None:
    """A step is early if the frame it leads into, numbered from 1, is at most 4 e/A2 over the dose of a frame."""
    result = corrected(movie(512, smooth_drift(8), 2.0, 1), dose)
    steps = (result.shifts_A[1:] - result.shifts_A[:-1]).norm(dim=1)
    assert result.total_A == pytest.approx(float(steps.sum()))
    assert result.early_A == pytest.approx(float(steps[:early_steps].sum()))
    assert result.late_A == pytest.approx(float(steps[early_steps:].sum()))


def test_the_sum_is_sharp_again() -> None:
    drift = smooth_drift(12)
    frames = movie(1024, drift, 1.0, 4)
    truth = 1 + specimen(1024, 4)

    def likeness(image: Tensor) -> float:
        return float(torch.corrcoef(torch.stack([image.flatten(), truth.flatten()]))[0, 1])

    result = corrected(frames, None)
    ideal = movie(1024, torch.zeros(12, 2), 1.0, 4).float().sum(0)
    assert result.sums.weighted is None
    assert result.early_A is None
    assert likeness(result.sums.unweighted) > 0.98 * likeness(ideal)
    assert likeness(frames.float().sum(0)) < 0.9 * likeness(ideal)
    assert float(result.sums.unweighted.mean()) == pytest.approx(float(frames.float().sum(0).mean()), rel=1e-4)


def test_dose_weighting_keeps_the_noise_and_follows_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(1, 64, 64, generator=generator).expand(6, 64, 64).contiguous()
    # Six copies of one frame: the ratio of the two sums' spectra is the formula's.
    result = corrected(frames, 3.0)
    assert result.sums.weighted is not None
    ky, kx = torch.fft.fftfreq(64)[:, None], torch.fft.rfftfreq(64)
    weights = dose_weights(torch.hypot(ky, kx), 3.0 * torch.arange(1, 7), 300.0)
    expected = weights.sum(0) * torch.sqrt(6 / weights.square().sum(0)) / 6
    ratio = torch.fft.rfft2(result.sums.weighted) / torch.fft.rfft2(result.sums.unweighted)
    torch.testing.assert_close(ratio.real, expected, rtol=2e-3, atol=2e-3)


def test_even_and_odd_frames_are_summed_where_they_belong() -> None:
    drift = smooth_drift(7)
    frames = movie(512, drift, 2.0, 1)
    sums = corrected(frames, 1.0, MotionSettings(even_odd_sums=True)).sums
    assert sums.even is not None
    assert sums.odd is not None
    torch.testing.assert_close(sums.even + sums.odd, sums.unweighted, rtol=0, atol=1e-3)
    for image, own in ((sums.even, frames[0::2]), (sums.odd, frames[1::2])):
        assert float(image.mean()) == pytest.approx(float(own.float().sum(0).mean()), rel=1e-4)
    assert corrected(frames, 1.0).sums.even is None


def test_one_frame_passes_through_and_two_are_aligned() -> None:
    drift = torch.tensor([[-2.0, 1.5], [0.0, 0.0]])
    frames = movie(1024, drift, 4.0, 1)
    result = corrected(frames[:1], None)
    torch.testing.assert_close(result.sums.unweighted, frames[0].float(), rtol=1e-4, atol=1e-4)
    assert result.total_A == 0.0
    assert result.shifts_A.shape == (1, 2)
    assert rms_error_px(corrected(frames, 1.0).shifts_A, drift) < 0.1


def test_frames_with_odd_and_unequal_sides_are_aligned() -> None:
    drift = torch.tensor([[-2.0, 3.0], [0.0, 0.0], [2.5, -3.0]])
    square = movie(1024, drift, 4.0, 5)
    result = corrected(square[:, :731, :977], 1.0)
    assert result.sums.unweighted.shape == (731, 977)
    assert rms_error_px(result.shifts_A, drift) < 0.2


@pytest.mark.parametrize("blank", [0, 3])
def test_frames_without_a_picture_are_left_out_and_their_positions_interpolated(blank: int) -> None:
    drift = smooth_drift(16)
    frames = movie(1024, drift, 1.0, 1)
    frames[[0, 6]] = blank
    result = corrected(frames, 1.0, MotionSettings(even_odd_sums=True))
    assert (~result.used).nonzero()[:, 0].tolist() == [0, 6]
    seen = result.used
    assert rms_error_px(result.shifts_A[seen], drift[seen]) < 0.05
    error = result.shifts_A - drift
    assert float((error - error[seen].mean(0))[6].norm()) < 0.15
    counted = frames[seen].float().sum(0).mean()
    assert float(result.sums.unweighted.mean()) == pytest.approx(float(counted), rel=1e-4)
    assert result.sums.even is not None
    even = frames[[2, 4, 8, 10, 12, 14]].float().sum(0).mean()
    assert float(result.sums.even.mean()) == pytest.approx(float(even), rel=1e-4)


def test_many_thin_frames_are_aligned_in_groups() -> None:
    drift = smooth_drift(130) / 4
    frames = movie(768, drift, 0.2, 1)
    result = corrected(frames, 0.25)
    assert result.shifts_A.shape == (130, 2)
    assert rms_error_px(result.shifts_A, drift) < 0.2


def test_hot_pixels_do_not_hold_the_frames() -> None:
    drift = smooth_drift(12)
    frames = movie(1024, drift, 1.0, 1)
    frames[:, 100:103, 200] = 255
    assert rms_error_px(corrected(frames, 1.0).shifts_A, drift) < 0.08
    assert float(motion_frames.replace_outliers(frames[0].float(), 12).max()) < 20


@pytest.mark.parametrize("kept_bytes", [2**30, 0])
def test_one_frame_at_a_time_is_in_memory(monkeypatch: pytest.MonkeyPatch, kept_bytes: int) -> None:
    monkeypatch.setattr(motion_frames, "KEPT_BYTES", kept_bytes)
    frames = movie(256, smooth_drift(9), 4.0, 1)
    most, times, alive = 0, 0, weakref.WeakSet[Tensor]()

    def read() -> Iterator[Tensor]:
        nonlocal most, times
        times += 1
        for frame in frames:
            fresh = frame.float()
            alive.add(fresh)
            most = max(most, len(alive))
            yield fresh

    result = correct_motion(read, (9, 256, 256), OPTICS, 1.0)
    assert most <= 3
    assert times == (1 if kept_bytes else 2)
    assert torch.equal(result.sums.unweighted, corrected(frames, 1.0).sums.unweighted)


def test_frames_are_corrected_before_they_are_aligned_and_summed() -> None:
    frames = movie(512, smooth_drift(6), 4.0, 1)
    gain = 1 + 0.3 * torch.rand(512, 512, generator=torch.Generator().manual_seed(1))
    plain = corrected(frames * gain, 1.0)
    numbers: list[int] = []

    def prepare(frame: Tensor, number: int) -> Tensor:
        numbers.append(number)
        return frame.mul_(gain)

    result = correct_motion(lambda: frames.clone(), (6, 512, 512), OPTICS, 1.0, prepare=prepare)
    assert torch.equal(result.shifts_A, plain.shifts_A)
    assert torch.equal(result.sums.unweighted, plain.sums.unweighted)
    assert numbers == 2 * [0, 1, 2, 3, 4, 5]


def test_threads_change_nothing() -> None:
    frames = movie(1024, smooth_drift(8), 1.0, 1)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(corrected(frames, 1.0))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0].shifts_A, results[1].shifts_A)
    assert torch.equal(results[0].sums.unweighted, results[1].sums.unweighted)


@pytest.mark.parametrize(
    ("shape", "dose"), [((4, 16, 64), 1.0), ((0, 64, 64), 1.0), ((4, 64, 64), 0.0), ((4, 64, 64), 1.0)]
)
def test_what_is_not_a_movie_is_refused(shape: tuple[int, ...], dose: float) -> None:
    with pytest.raises(ValueError, match=r"movie|dose"):
        corrected(torch.zeros(shape), dose)


@pytest.mark.parametrize("seed", [0, 3, 6])
def test_a_movie_of_noise_alone_stays_where_it_is(seed: int) -> None:
    frames = torch.poisson(torch.full((10, 192, 256), 3.0), generator=torch.Generator().manual_seed(seed))
    assert corrected(frames, 1.0).total_A < 10


def test_values_that_are_not_numbers_are_refused() -> None:
    frames = torch.poisson(torch.ones(3, 64, 64), generator=torch.Generator().manual_seed(1))
    frames[1, 5, 5] = torch.nan
    with pytest.raises(ValueError, match="not numbers"):
        corrected(frames, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "allowed_px"), [(1.0, 0.05), (0.1, 0.15)])
def test_full_size_movies_at_full_and_low_counts(counts: float, allowed_px: float) -> None:
    drift = smooth_drift(20)
    result = corrected(movie(4096, drift, counts, 0, 0.01), 1.0)
    assert rms_error_px(result.shifts_A, drift) < allowed_px
