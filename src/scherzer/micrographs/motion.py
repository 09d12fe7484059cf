"""From a movie to a micrograph: motion correction and dose weighting."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.motion_frames import Frames, Prepare, ReadFrames, crop_frames
from scherzer.micrographs.motion_local import LocalMotion
from scherzer.micrographs.motion_path import find_movement
from scherzer.micrographs.motion_sums import Exposures, Sums, sum_frames, sum_tiles
from scherzer.micrographs.threads import one_thread
from scherzer.physics.optics import Optics

# Pixels of the first, coarse alignment.
COARSE_PIXEL_A = 8.0
# Frames are aligned in crops of at most this side, and at most so many of them: more are added up in groups.
MOST_SIDE_PX, MOST_PICTURES = 2560, 64
# Exposure of a movie of which it is not stated: decides only for how long frames are taken to be alike.
USUAL_DOSE_E_PER_A2 = 40.0


@dataclass(frozen=True)
class MotionSettings:
    """How frames are aligned and summed.

    Attributes
    ----------
    alignment_pixel_A : float
        Frames are Fourier-cropped to about this pixel size for the alignment. On simulated movies of 1 e/px/frame, 2 A
        errs a third less than 3 A and 1.6 A 8 % less than 2 A: neighbouring frames share the water's structure at 3 to
        6 A.
    max_shift_A : float
        Largest displacement found in one pass of the coarse alignment.
    early_dose_e_per_A2 : float
        Dose up to which motion is called early (as RELION).
    outlier_sigma : float
        Pixels further from the frame's mean take its value.
    local_motion : bool
        Measure how parts of the field move, and undo it where it matters (`least_blur_A`).
    least_blur_A : float
        Local motion is undone where, over field and frames, it blurs by more than this root mean square, and by more
        than three times its expected error. 0.25 A costs 4 % of the signal at 4 A.
    even_odd_sums : bool
        Also sum the even and the odd frames, for even/odd comparisons and denoising. They double what is written.
    """

    alignment_pixel_A: float = 1.6
    max_shift_A: float = 100.0
    early_dose_e_per_A2: float = 4.0
    outlier_sigma: float = 12.0
    local_motion: bool = True
    least_blur_A: float = 0.25
    even_odd_sums: bool = False


@dataclass(frozen=True)
class MotionResult:
    """A corrected movie.

    Attributes
    ----------
    shifts_A : Tensor
        ``(n, 2)``, x and y: where the specimen is in each frame relative to the middle frame.
    used : Tensor
        ``(n,)`` bool, false for frames that hold no picture. They are in no sum; their position is interpolated.
    error_A : float
        Root mean square error to be expected of the positions, from the frames' noise.
    local : LocalMotion or None
        Movement of parts of the field, where it was measured.
    local_undone : bool
        Whether the sums were made with it.
    sums : Sums
        Of the aligned frames.
    total_A : float
        Length of the path over the frames' positions.
    early_A, late_A : float or None
        Its parts up to the frame at whose end the early dose is reached, and after it; None without a dose.
    """

    shifts_A: Tensor
    used: Tensor
    error_A: float
    local: LocalMotion | None
    local_undone: bool
    sums: Sums
    total_A: float
    early_A: float | None
    late_A: float | None


def correct_motion(
    read: ReadFrames,
    shape: tuple[int, int, int],
    optics: Optics,
    dose_per_frame_e_per_A2: float | None,
    settings: MotionSettings | None = None,
    prepare: Prepare | None = None,
) -> MotionResult:
    """Align the frames of a movie, and sum them with and without dose weights.

    The movie is gone through twice, one frame at a time. Frames of whole counts are kept as bytes meanwhile, up to
    1 GiB; others are read again. Besides, some 20 arrays of a frame's size and the low frequencies of at most 64
    frames, at most 21 MB each, are in memory. All of it is on the processor: reading and two transforms of every frame
    are most of the time, and a session's movies go to as many processes as there are.

    Parameters
    ----------
    read : callable
        Begins the movie anew and gives its frames one after the other, ``(h, w)``, as recorded; those of float32 may be
        changed.
    shape : tuple of int
        ``(n, h, w)``.
    optics : Optics
        With the pixel size of the frames.
    dose_per_frame_e_per_A2 : float or None
        None for unknown: then nothing is weighted.
    settings : MotionSettings, optional
        How.
    prepare : callable, optional
        ``(frame, number)`` to a frame corrected for gain and defects; may work in place.

    Raises
    ------
    ValueError
        When frames are not at least one of 32 x 32 pixels, none holds a picture, values are not numbers, or a dose is
        not positive.
    """
    settings = settings or MotionSettings()
    count, height, width = shape
    if count == 0 or min(height, width) < 32:
        raise ValueError(f"a movie is (frames, height, width) of at least 32 x 32 pixels, not {shape}")
    if dose_per_frame_e_per_A2 is not None and not dose_per_frame_e_per_A2 > 0:
        raise ValueError(f"dose per frame must be positive, not {dose_per_frame_e_per_A2} e/A2")
    with one_thread():
        return _correct(Frames(read, prepare, settings.outlier_sigma), shape, optics, dose_per_frame_e_per_A2, settings)


def _correct(
    frames: Frames,
    shape: tuple[int, int, int],
    optics: Optics,
    dose_per_frame_e_per_A2: float | None,
    settings: MotionSettings,
) -> MotionResult:
    count, height, width = shape
    pixel_size_A = optics.pixel_size_A
    finest_A = max(settings.alignment_pixel_A, pixel_size_A * max(height, width) / MOST_SIDE_PX)
    crops = crop_frames(frames, count, (height, width), pixel_size_A, finest_A, COARSE_PIXEL_A, MOST_PICTURES)
    if not crops.used.any():
        raise ValueError("no frame of the movie holds a picture")
    used = crops.used
    dose_A = dose_per_frame_e_per_A2 or USUAL_DOSE_E_PER_A2 / count
    moved = find_movement(crops, dose_A, settings.max_shift_A, settings.local_motion)
    del crops
    positions_A, local = moved.path.positions_A, moved.local
    shifts_yx_A = torch.from_numpy(positions_A - positions_A[count // 2]).float()
    exposures = Exposures(used, optics, dose_per_frame_e_per_A2, settings.even_odd_sums)
    undone = local is not None and local.significant and local.blur_A > settings.least_blur_A
    if undone and local is not None:
        sums = sum_tiles(frames, (height, width), shifts_yx_A, local, exposures)
    else:
        sums = sum_frames(frames, (height, width), shifts_yx_A, exposures)
    steps_A = (shifts_yx_A[1:] - shifts_yx_A[:-1]).norm(dim=1)
    total_A = float(steps_A.sum())
    early_A = late_A = None
    if dose_per_frame_e_per_A2 is not None:
        # The step into a frame is early if that frame ends within the early dose (RELION's motioncorr_runner.cpp).
        frames_early = math.floor(settings.early_dose_e_per_A2 / dose_per_frame_e_per_A2 + 1e-6)
        early_A = float(steps_A[: max(0, frames_early - 1)].sum())
        late_A = total_A - early_A
    return MotionResult(shifts_yx_A.flip(1), used, moved.path.error_A, local, undone, sums, total_A, early_A, late_A)
