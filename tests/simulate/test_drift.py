"""Movement of the specimen."""

from __future__ import annotations

import numpy as np
import pytest

from scherzer.simulate.drift import Smear, Track, draw_bad_track, draw_track
from scherzer.simulate.field import FieldGrid

GRID = FieldGrid(160, 128, 0, 1.0)
ALL = slice(0, 160)


def usual(frames: int = 5) -> Track:
    return draw_track(np.random.default_rng(3), frames, 40.0, 20.0)


def test_frame_shifts_are_the_means_of_the_path() -> None:
    track = usual(4)
    moments = (np.arange(40_000) + 0.5) / 40_000
    means = track.position_A(moments).reshape(4, -1, 2).mean(1)
    np.testing.assert_allclose(track.frame_shifts_A, means - means[2], atol=1e-3)
    steps = np.linalg.norm(np.diff(means, axis=0), axis=1)
    assert track.total_A == pytest.approx(steps.sum(), abs=1e-2)


def test_movement_is_fast_at_first_and_ends_as_even_drift() -> None:
    path_A = usual().position_A(np.array([0.0, 0.02, 0.5, 0.52, 0.98, 1.0]))
    first, middle, last = np.linalg.norm(path_A[1::2] - path_A[::2], axis=1)
    assert first > 2 * last
    assert middle == pytest.approx(last, rel=0.1)


@pytest.mark.parametrize("length_A", [0.8, 12.0])
def test_even_drift_blurs_by_a_sinc_along_its_direction(length_A: float) -> None:
    found = np.abs(Smear(Track(1, steady_A=(length_A * 0.6, length_A * 0.8)).of_frame(0), GRID).rows(ALL)[0])
    along = GRID.kx * 0.6 + GRID.ky[:, None] * 0.8
    inside = np.hypot(GRID.kx, GRID.ky[:, None]) < 0.25
    np.testing.assert_allclose(found[inside], np.abs(np.sinc(length_A * along))[inside], atol=0.01)


def test_frames_move_by_what_the_track_says() -> None:
    spot = np.zeros((160, 128), np.float32)
    spot[80, 64] = 1
    transform = GRID.transform(spot) * np.exp(-200 * (GRID.kx**2 + GRID.ky[:, None] ** 2))
    y, x = np.mgrid[:160, :128]
    for frame, (dx_A, dy_A) in enumerate(usual().frame_shifts_A):
        moved = GRID.field((transform * Smear(usual().of_frame(frame), GRID).rows(ALL)[0]).astype(np.complex64))
        assert (moved * x).sum() == pytest.approx(64 + dx_A, abs=0.02)
        assert (moved * y).sum() == pytest.approx(80 + dy_A, abs=0.02)
    assert np.all(usual().frame_shifts_A[2] == 0)


@pytest.mark.parametrize("aligned", [True, False])
def test_a_sum_moves_as_the_mean_of_its_frames(aligned: bool) -> None:
    track = usual(24)
    frames = [Smear(track.of_frame(frame), GRID).rows(ALL)[0] for frame in range(24)]
    shifts_A = track.frame_shifts_A
    back_A = shifts_A if aligned else np.broadcast_to(shifts_A.mean(0), (24, 2))
    ramps = [np.exp(2j * np.pi * (GRID.kx * x + GRID.ky[:, None] * y)) for x, y in back_A]
    expected = np.mean([frame * ramp for frame, ramp in zip(frames, ramps, strict=True)], axis=0)
    found = Smear(track.of_sum(aligned), GRID).rows(ALL)[0]
    inside = np.hypot(GRID.kx, GRID.ky[:, None]) < 0.3
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.01)
    kept = np.abs(found)[inside].mean()
    assert kept > 0.9 if aligned else kept < 0.5


def test_moments_and_weights_cover_the_exposure() -> None:
    motion = usual(7).of_sum(True)
    assert motion.weights.sum() == pytest.approx(1)
    assert np.all((motion.moments > 0) & (motion.moments < 1))
    assert (motion.weights * motion.moments).sum() == pytest.approx(0.5)
    last = usual(7).of_frame(6)
    assert last.weights.sum() == pytest.approx(1)
    assert last.moments.min() > 6 / 7


def test_a_still_specimen_is_not_smeared() -> None:
    np.testing.assert_allclose(Smear(Track(1).of_sum(False), GRID).rows(ALL), 1, atol=1e-6)


def test_bad_drift_smears_every_frame_and_usual_drift_hardly() -> None:
    k = np.hypot(GRID.kx, GRID.ky[:, None])
    ring = (k > 0.05) & (k < 0.15)
    bad = draw_bad_track(np.random.default_rng(3), 12)
    assert bad.total_A > 5 * usual(12).total_A
    kept = [np.abs(Smear(track.of_frame(4), GRID).rows(ALL)[0])[ring].mean() for track in (usual(12), bad)]
    assert kept[0] > 0.9
    assert kept[1] < 0.5
