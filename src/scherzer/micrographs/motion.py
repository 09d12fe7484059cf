"""From a movie to a micrograph: full-frame motion correction and dose weighting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from scherzer.micrographs.motion_alignment import align, crop_transform, translation
from scherzer.physics.dose import critical_dose_e_per_A2
from scherzer.physics.optics import Optics


@dataclass(frozen=True)
class MotionSettings:
    """How frames are aligned.

    Attributes
    ----------
    alignment_pixel_A : float
        Frames are Fourier-cropped to about this pixel size for the alignment.
    bfactor_A2 : float
        Damps the high frequencies of the correlation. On simulated movies 500 (cryoSPARC's) errs 30 % less than 1500
        (unblur's).
    max_shift_A : float
        Largest displacement found in one pass.
    tolerance_px : float
        The iteration ends when no frame moves by more, in pixels of the frames.
    max_iterations : int
        Or after so many passes.
    early_dose_e_per_A2 : float
        Dose up to which motion is called early (as RELION).
    outlier_sigma : float
        Pixels further from the frame's mean take its value.
    """

    alignment_pixel_A: float = 3.0
    bfactor_A2: float = 500.0
    max_shift_A: float = 100.0
    tolerance_px: float = 0.02
    max_iterations: int = 20
    early_dose_e_per_A2: float = 4.0
    outlier_sigma: float = 12.0


@dataclass(frozen=True)
class MotionResult:
    """A corrected movie.

    Attributes
    ----------
    shifts_A : Tensor
        ``(n, 2)``, x and y: where the specimen is in each frame relative to the middle frame.
    unweighted : Tensor
        ``(h, w)``, sum of the aligned frames. Content that drifted over one edge comes in at the opposite one.
    weighted : Tensor or None
        ``(h, w)``, dose-weighted, with the noise power of the unweighted sum; None where the dose is unknown.
    total_A : float
        Length of the path.
    early_A, late_A : float or None
        Lengths of its parts up to and after the early dose; None where the dose is unknown.
    """

    shifts_A: Tensor
    unweighted: Tensor
    weighted: Tensor | None
    total_A: float
    early_A: float | None
    late_A: float | None


def correct_motion(
    frames: Tensor, optics: Optics, dose_per_frame_e_per_A2: float | None, settings: MotionSettings | None = None
) -> MotionResult:
    """Align the frames of a movie, and sum them with and without dose weights.

    Frames are taken one at a time, so that a memory-mapped movie need not be held; besides it, some five complex
    transforms of one frame and the cropped transforms of all are in memory.

    Parameters
    ----------
    frames : Tensor
        ``(n, h, w)`` of any real type, gain-corrected.
    optics : Optics
        With the pixel size of the frames.
    dose_per_frame_e_per_A2 : float or None
        None for unknown: then nothing is weighted.

    Raises
    ------
    ValueError
        When frames are not ``(n, h, w)`` with at least one frame of 32 x 32 pixels, or a dose is not positive.
    """
    settings = settings or MotionSettings()
    if frames.ndim != 3 or len(frames) == 0 or min(frames.shape[1:]) < 32:
        raise ValueError(f"a movie is (frames, height, width) of at least 32 x 32 pixels, not {tuple(frames.shape)}")
    if dose_per_frame_e_per_A2 is not None and not dose_per_frame_e_per_A2 > 0:
        raise ValueError(f"dose per frame must be positive, not {dose_per_frame_e_per_A2} e/A2")
    shifts_yx_A = _measure(frames, optics.pixel_size_A, settings)
    unweighted, weighted = _sums(frames, optics, shifts_yx_A, dose_per_frame_e_per_A2, settings)
    steps_A = (shifts_yx_A[1:] - shifts_yx_A[:-1]).norm(dim=1)
    total_A = float(steps_A.sum())
    early_A = late_A = None
    if dose_per_frame_e_per_A2 is not None:
        frames_early = int(settings.early_dose_e_per_A2 / dose_per_frame_e_per_A2)
        early_A = float(steps_A[:frames_early].sum())
        late_A = total_A - early_A
    return MotionResult(shifts_yx_A.flip(1), unweighted, weighted, total_A, early_A, late_A)


def replace_outliers(frame: Tensor, sigma: float) -> Tensor:
    """Give pixels further from the mean than so many standard deviations the mean's value."""
    mean, reach = frame.mean(), sigma * frame.std()
    low, high = torch.aminmax(frame)
    if low >= mean - reach and high <= mean + reach:
        return frame
    return torch.where((frame - mean).abs() > reach, mean, frame)


def _transforms(frames: Tensor, settings: MotionSettings) -> Iterator[Tensor]:
    for frame in frames:
        yield torch.fft.rfft2(replace_outliers(frame.float(), settings.outlier_sigma))


def _measure(frames: Tensor, pixel_size_A: float, settings: MotionSettings) -> Tensor:
    """Return the displacement of each frame, ``(n, 2)``, y and x, A."""
    count, height, width = frames.shape
    if count == 1:
        return torch.zeros(1, 2, device=frames.device)
    factor = max(1.0, settings.alignment_pixel_A / pixel_size_A)
    shape = (_cropped_size(height, factor), _cropped_size(width, factor))
    cropped = torch.stack([crop_transform(transform, shape) for transform in _transforms(frames, settings)])
    return align(
        cropped,
        shape,
        (height * pixel_size_A, width * pixel_size_A),
        settings.bfactor_A2,
        settings.max_shift_A,
        settings.tolerance_px * pixel_size_A,
        settings.max_iterations,
    )


def _cropped_size(size: int, factor: float) -> int:
    """Return an even length, fast to transform, at least ``size / factor`` and at most the even part of size."""
    return min(2 * int(next_fast_len(math.ceil(size / factor / 2))), size - size % 2)


def _sums(
    frames: Tensor, optics: Optics, shifts_yx_A: Tensor, dose_per_frame: float | None, settings: MotionSettings
) -> tuple[Tensor, Tensor | None]:
    """Return the aligned sum and the dose-weighted one (Grant and Grigorieff 2015, eq. 5 and 9)."""
    _, height, width = frames.shape
    shape = (height, width)
    extent = torch.tensor([height, width], device=frames.device) * optics.pixel_size_A
    total = torch.zeros(height, width // 2 + 1, dtype=torch.complex64, device=frames.device)
    weighted_total, fading, weight_power = torch.zeros_like(total), None, None
    if dose_per_frame is not None:
        ky = torch.fft.fftfreq(height, optics.pixel_size_A, device=frames.device)[:, None]
        kx = torch.fft.rfftfreq(width, optics.pixel_size_A, device=frames.device)
        fading = torch.exp(-dose_per_frame / (2 * critical_dose_e_per_A2(torch.hypot(ky, kx), optics.voltage_kV)))
        weight, weight_power = torch.ones_like(fading), torch.zeros_like(fading)
    for index, transform in enumerate(_transforms(frames, settings)):
        transform *= translation(shape, -shifts_yx_A[index] / extent)
        total += transform
        if fading is not None and weight_power is not None:
            # Equal doses: the weight at the end of a frame is that of the frame before, faded once more.
            weight *= fading
            weighted_total += transform.mul_(weight)
            weight_power += weight.square()
    weighted = None
    if weight_power is not None:
        weighted_total *= torch.sqrt(len(frames) / weight_power.clamp_min(1e-30))
        weighted = torch.fft.irfft2(weighted_total, s=shape)
    return torch.fft.irfft2(total, s=shape), weighted
