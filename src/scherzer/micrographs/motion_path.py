"""Where the specimen is in each frame of a movie: roughly, then exactly, then part by part."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline
from torch import Tensor

from scherzer.micrographs.motion_alignment import coarse_path
from scherzer.micrographs.motion_frames import Crops
from scherzer.micrographs.motion_likelihood import Rings, measure, noise_level
from scherzer.micrographs.motion_local import LocalMotion, local_motion
from scherzer.micrographs.trajectory import FloatArray, IntArray, Trajectory, most_probable_path

# Most passes of the refinement: from a poor start fine detail comes in slowly; thin frames may need more than five.
PASSES = 15
# A largest step of this share of the finest detail ends it.
SMALL_STEP = 1 / 64
# Patches of coarse crops smaller than this hold too little.
LEAST_SIDE_PX = 128


@dataclass(frozen=True)
class Movement:
    """How the specimen moved.

    Attributes
    ----------
    path : Trajectory
        Of the whole field: y and x of all frames.
    local : LocalMotion or None
        Of its parts relative to it; None where it was not measured.
    """

    path: Trajectory
    local: LocalMotion | None


def find_movement(crops: Crops, dose_per_frame_e_per_A2: float, max_shift_A: float, with_local: bool) -> Movement:
    """Find how the specimen moved; the crops are used up.

    Parameters
    ----------
    crops : Crops
        Of the frames; at least one of them is used.
    dose_per_frame_e_per_A2 : float
        Decides for how long frames are taken to be alike.
    max_shift_A : float
        Largest step found at first.
    with_local : bool
        Measure also how parts of the field move.
    """
    count, pictures = len(crops.used), len(crops.fine)
    begins = range(0, count, crops.group)
    seen = np.array([bool(crops.used[begin : begin + crops.group].any()) for begin in begins]).nonzero()[0]
    if len(seen) == 1:
        return Movement(Trajectory(np.zeros((count, 2)), 0.0), None)
    fine, coarse = (crop if len(seen) == pictures else crop[seen] for crop in (crops.fine, crops.coarse))
    level = noise_level(fine, crops.rings)
    for number, value in enumerate(level):
        fine[number] /= value
        coarse[number] /= value
    strength = level / level.mean()
    dose: FloatArray = np.asarray(dose_per_frame_e_per_A2 * crops.group * (np.arange(pictures) + 0.5), np.float64)
    positions_A = coarse_path(coarse, crops.coarse_shape, crops.extent_A, max_shift_A, seen, dose)
    path = _refined(fine, crops.rings, positions_A, strength, seen, dose)
    local = None
    if with_local and min(crops.coarse_shape) >= LEAST_SIDE_PX:
        at_A = path.positions_A[seen]
        local = local_motion(coarse, crops.coarse_shape, crops.extent_A, at_A, strength, seen, dose)
    if crops.group == 1:
        return Movement(path, local)
    middles, frames = crops.group * (np.arange(pictures) + 0.5) - 0.5, np.arange(count)
    path = replace(path, positions_A=CubicSpline(middles, path.positions_A)(frames))
    if local is not None:
        local = replace(local, terms_A=CubicSpline(middles, local.terms_A)(frames))
    return Movement(path, local)


def _refined(
    frames: Tensor,
    rings: Rings,
    positions_A: FloatArray,
    strength: Tensor,
    seen: IntArray,
    dose_e_per_A2: FloatArray,
) -> Trajectory:
    """Climb to the most probable path; frames are moved in place."""
    path, undone_A = Trajectory(positions_A, np.inf), np.zeros((len(seen), 2))
    for _ in range(PASSES):
        tried_A = path.positions_A[seen]
        measured = measure(frames, rings, tried_A, undone_A - tried_A, strength, dose_e_per_A2[seen])
        better = most_probable_path(measured.positions_A, measured.information, seen, dose_e_per_A2)
        update = better.positions_A - path.positions_A
        undone_A, path = tried_A, better
        if np.abs(update - update.mean(axis=0)).max() < SMALL_STEP * rings.finest_A:
            break
    return path
