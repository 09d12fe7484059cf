"""The orientation of a gain reference, found on simulated cameras whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from scherzer.micrographs.gain_orientation import Float32Array, GainOrientation, find_gain_orientation, turned

ORIENTATIONS = [(rotation, flip) for flip in (0, 1) for rotation in range(4)]


def camera(rng: np.random.Generator, shape: tuple[int, int] = (320, 320), spread: float = 0.03) -> Float32Array:
    """Return a gain reference: pixels, columns and amplifiers."""
    gain = 1 + rng.normal(0, 0.8 * spread, shape) + rng.normal(0, 0.3 * spread, (1, shape[1]))
    amplifiers = np.kron(rng.normal(0, 0.5 * spread, (2, 16)), np.ones((shape[0] // 2, shape[1] // 16)))
    return (gain + amplifiers).astype(np.float32)


def sums(rng: np.random.Generator, response: Float32Array, electrons: float) -> tuple[Float32Array, Float32Array]:
    """Return two sums of counts that show other specimens."""
    halves = []
    for _ in range(2):
        specimen = 1 + ndimage.gaussian_filter(rng.normal(size=response.shape), 4) * 0.8
        halves.append(rng.poisson(electrons / 2 * np.clip(specimen, 0.2, None) * response).astype(np.float32))
    return halves[0], halves[1]


@pytest.mark.parametrize(("rotation", "flip"), ORIENTATIONS)
def test_each_of_the_eight_orientations_is_found(rotation: int, flip: int) -> None:
    rng = np.random.default_rng(10 * rotation + flip)
    gain = camera(rng)
    found = find_gain_orientation(sums(rng, 1 / turned(gain, rotation, flip), 15.0), gain)
    assert (found.finding, found.rotation, found.flip, found.inverse) == ("found", rotation, flip, False)
    assert found.lead_sigma > 8
    assert abs(found.share - 1) < 5 * found.share_error
    assert found.reference_pattern == pytest.approx(0.03, rel=0.25)


@pytest.mark.parametrize("shape", [(256, 384), (384, 256)])
@pytest.mark.parametrize(("rotation", "flip"), ORIENTATIONS)
def test_a_shape_that_is_not_square_admits_four(shape: tuple[int, int], rotation: int, flip: int) -> None:
    rng = np.random.default_rng(3)
    gain = camera(rng, shape)
    found = find_gain_orientation(sums(rng, 1 / turned(gain, rotation, flip), 15.0), gain)
    assert (found.finding, found.rotation, found.flip) == ("found", rotation, flip)


def test_a_gain_that_fits_in_no_orientation_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="in no orientation"):
        find_gain_orientation(sums(rng, np.ones((128, 128), np.float32), 5.0), camera(rng, (128, 256)))


def test_turned_is_what_relion_does() -> None:
    """RELION 3.1.3's gain_rot 1 moves the first row of the array to the last column; flip 1 turns rows, 2 columns."""
    gain = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert turned(gain, 1, 0).tolist() == [[3, 0], [4, 1], [5, 2]]
    assert turned(gain, 3, 0).tolist() == [[2, 5], [1, 4], [0, 3]]
    assert turned(gain, 0, 1).tolist() == [[3, 4, 5], [0, 1, 2]]
    assert turned(gain, 0, 2).tolist() == [[2, 1, 0], [5, 4, 3]]
    assert turned(gain, 1, 1).tolist() == [[5, 2], [4, 1], [3, 0]]
    assert np.array_equal(turned(gain, 2, 1), turned(gain, 0, 2))


def test_frames_without_the_pattern_are_told_and_never_turned() -> None:
    """Forty cameras whose frames were corrected: none may be said to have an orientation."""
    findings = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        gain = camera(rng, (160, 160))
        found = find_gain_orientation(sums(rng, np.ones((160, 160), np.float32), 40.0), gain)
        assert (found.rotation, found.flip, found.own_pattern) == (0, 0, 0.0)
        findings.append(found.finding)
    assert set(findings) == {"not in the frames"}


def test_another_cameras_reference_is_not_in_the_frames_but_a_pattern_is() -> None:
    rng = np.random.default_rng(5)
    found = find_gain_orientation(sums(rng, 1 / camera(rng), 40.0), camera(rng))
    assert found.finding == "not in the frames"
    assert found.own_pattern == pytest.approx(0.03, rel=0.4)


def test_too_few_electrons_tell_nothing() -> None:
    rng = np.random.default_rng(6)
    gain = camera(rng, (128, 128))
    assert find_gain_orientation(sums(rng, 1 / gain, 0.1), gain).finding == "not told"


def test_a_reference_to_divide_by_is_recognised() -> None:
    rng = np.random.default_rng(7)
    gain = camera(rng)
    found = find_gain_orientation(sums(rng, turned(gain, 3, 1), 15.0), gain)
    assert (found.finding, found.rotation, found.flip, found.inverse) == ("found", 3, 1, True)


def test_a_flat_reference_tells_nothing() -> None:
    rng = np.random.default_rng(8)
    found = find_gain_orientation(sums(rng, 1 / camera(rng), 15.0), np.ones((320, 320), np.float32))
    assert found.finding == "not told"


def test_defects_on_either_side_do_not_decide() -> None:
    """Hot pixels of the frames and zeros of the reference lie where neither helps nor hurts."""
    rng = np.random.default_rng(9)
    gain = camera(rng)
    first, second = sums(rng, 1 / turned(gain, 1, 0), 15.0)
    for y, x in rng.integers(0, 320, (200, 2)):
        first[y, x] = second[y, x] = 5000
    for y, x in rng.integers(0, 320, (200, 2)):
        gain[y, x] = 0
    found = find_gain_orientation((first, second), gain)
    assert (found.finding, found.rotation, found.flip) == ("found", 1, 0)


def test_float_frames_in_other_units_are_no_different() -> None:
    rng = np.random.default_rng(11)
    gain = camera(rng)
    halves = sums(rng, 1 / turned(gain, 2, 1), 15.0)
    found: list[GainOrientation] = [
        find_gain_orientation((halves[0] * unit, halves[1] * unit), gain) for unit in (np.float32(1), np.float32(37.5))
    ]
    assert [(one.finding, one.rotation, one.flip) for one in found] == [("found", 2, 1)] * 2
