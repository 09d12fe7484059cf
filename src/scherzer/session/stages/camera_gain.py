"""The gain reference as it lies on the frames, and how that is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scherzer.formats.errors import BadInput
from scherzer.formats.gain import fitted_gain, load_gain, read_gain
from scherzer.micrographs.gain_orientation import Float32Array, GainOrientation, turned
from scherzer.session.stages.camera_frames import SeenFrames

# Of the reference's own: that much of another pattern in the frames is no rest of a correction. Our own choice.
FOREIGN_PATTERN = 0.5


def fitting(path: Path, seen: SeenFrames) -> Float32Array:
    """Read a gain reference that fits the frames in some orientation.

    Raises
    ------
    BadInput
        If it cannot be read, or fits in none.
    """
    gain = load_gain(path, seen.electron_events)
    if seen.electron_events:
        gain = fitted_gain(gain, seen.shape)
    if sorted(gain.shape) != sorted(seen.shape):
        read_gain(path, seen.shape, seen.electron_events)  # says what does not fit
    return gain


def as_it_lies(
    gain: Float32Array, found: GainOrientation, rotation: int | None, flip: int | None, seen: SeenFrames
) -> tuple[Float32Array, str]:
    """Turn a gain reference as stated or else as found, and say so.

    Raises
    ------
    BadInput
        If the orientation stated, or used for want of another, does not fit the frames.
    """
    shown = f"turned by {90 * found.rotation} degrees{', then flipped top to bottom' if found.flip else ''}"
    if (found.rotation, found.flip) == (0, 0):
        shown = "as it is"
    if (found.rotation, found.flip) == (0, 1):
        shown = "flipped top to bottom"
    words = f"--gain_rot {found.rotation} --gain_flip {found.flip} in RELION"
    seen_in = (
        f"{seen.movies} movie{'s' if seen.movies > 1 else ''}, {found.lead_sigma:.0f} standard errors before any other"
    )
    if rotation is not None or flip is not None:
        lying = _turned(gain, rotation or 0, flip or 0, seen.shape, "--gain-rot")
        as_stated = f"gain reference turned as stated (--gain_rot {rotation or 0} --gain_flip {flip or 0} in RELION)"
        truth = None if found.finding != "found" else turned(gain, found.rotation, found.flip)
        if truth is not None and not (truth.shape == lying.shape and np.array_equal(truth, lying)):
            as_stated += f", though the frames show it {shown} ({words}; {seen_in})"
        return lying, as_stated
    if found.finding == "found":
        lying = _turned(gain, found.rotation, found.flip, seen.shape, "--gain")
        note = f"gain reference fits {shown} ({words}; found from {seen_in})"
        if found.inverse:
            works = lying > 0
            lying = np.divide(1.0, lying, out=np.zeros_like(lying), where=works)
            note += "; the frames are divided by it, for they follow it"
        return lying, note
    lying = _turned(gain, 0, 0, seen.shape, "--gain")
    if found.finding == "not told":
        lead = f"the likeliest orientation is {found.lead_sigma:.1f} standard errors before the next"
        return lying, f"how the gain reference lies on the frames cannot be told ({lead}); used as given"
    strength = f"{100 * found.share:.0f} +- {100 * found.share_error:.0f} % of it"
    if seen.movies > 1 and found.own_pattern > FOREIGN_PATTERN * found.reference_pattern:
        why = "they have another pattern: is it the reference of this camera and mode?"
    else:
        why = "they look corrected already: if so, leave --gain out"
    return lying, f"the gain reference is used as given, but its pattern is not in the frames ({strength}); {why}"


def _turned(gain: Float32Array, rotation: int, flip: int, shape: tuple[int, int], option: str) -> Float32Array:
    lying = turned(gain, rotation, flip)
    if lying.shape != shape:
        found = f"{lying.shape[0]} x {lying.shape[1]}"
        problem = f"the gain reference is {found} (rows x columns), the movies are {shape[0]} x {shape[1]}"
        raise BadInput(option, problem, "give --gain-rot 1 or 3 with --gain-flip as this camera needs them")
    return np.ascontiguousarray(lying)
