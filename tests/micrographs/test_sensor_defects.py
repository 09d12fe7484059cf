"""Defects of a camera: found where they are, and replaced without a trace in the noise."""

from __future__ import annotations

import numpy as np
import torch

from scherzer.micrographs.gain_orientation import Float32Array
from scherzer.micrographs.sensor_defects import find_defects, stand_ins


def counts(seed: int, electrons: float = 60.0, side: int = 256) -> tuple[Float32Array, Float32Array]:
    rng = np.random.default_rng(seed)
    first, second = rng.poisson(electrons / 2, (2, side, side)).astype(np.float32)
    return first, second


def test_hot_dead_and_feeble_pixels_are_found_and_no_others() -> None:
    first, second = counts(0)
    truth = np.zeros(first.shape, bool)
    rng = np.random.default_rng(1)
    for kind in range(3):
        for y, x in rng.integers(0, 256, (40, 2)):
            truth[y, x] = True
            for values in (first, second):
                values[y, x] = (400.0, 0.0, rng.poisson(85.0))[kind]
    assert np.array_equal(find_defects((first, second)), truth)


def test_sound_cameras_have_no_defects() -> None:
    assert sum(int(find_defects(counts(seed, electrons)).sum()) for seed, electrons in enumerate((4, 12, 60, 500))) == 0


def test_a_speck_of_one_movie_is_no_defect() -> None:
    first, second = counts(2)
    first[100, 100] = 2000.0
    assert not find_defects((first, second)).any()


def test_the_pattern_of_the_gain_is_no_defect_and_its_zeros_are() -> None:
    rng = np.random.default_rng(3)
    gain = np.clip(rng.normal(1, 0.03, (256, 256)), 0.5, 2).astype(np.float32)
    gain[:, 60] = 0.4  # a feeble column that the reference makes good
    gain[10, 20] = 0
    first, second = (rng.poisson(30 / np.where(gain > 0, gain, 1)).astype(np.float32) for _ in range(2))
    defects = find_defects((first, second), gain)
    assert np.argwhere(defects).tolist() == [[10, 20]]
    assert find_defects((first, second))[:, 60].sum() > 200


def test_frames_that_are_no_counts_do_not_lose_a_hundredth_of_their_pixels() -> None:
    rng = np.random.default_rng(4)
    wild = np.where(rng.random((256, 256)) < 0.03, 5000.0, 50.0 + rng.normal(size=(256, 256))).astype(np.float32)
    assert not find_defects((wild, wild)).any()


def test_stand_ins_are_the_nearest_good_pixels_and_take_turns() -> None:
    defects = np.zeros((64, 64), bool)
    defects[20, 30] = defects[20, 31] = defects[0, 0] = True
    filling = stand_ins(defects)
    assert len(filling.lost) == 0
    for defect, sources in zip(filling.defects.tolist(), filling.sources.tolist(), strict=True):
        y, x = divmod(defect, 64)
        distances = [np.hypot(source // 64 - y, source % 64 - x) for source in sources]
        assert len(set(sources)) == 4
        assert max(distances) <= 2
        assert not defects.ravel()[sources].any()
    frames = [torch.arange(64 * 64, dtype=torch.float32).reshape(64, 64) for _ in range(5)]
    for number, frame in enumerate(frames):
        filling.fill(frame, number)
    values = [float(frame[20, 30]) for frame in frames]
    assert len(set(values[:4])) == 4
    assert values[4] == values[0]


def test_the_noise_of_a_filled_pixel_is_that_of_any_other() -> None:
    rng = np.random.default_rng(5)
    defects = rng.random((128, 128)) < 0.02
    filling = stand_ins(defects)
    frames = torch.from_numpy(rng.poisson(1.0, (40, 128, 128)).astype(np.float32))
    frames[:, torch.from_numpy(defects)] = 1e6
    for number, frame in enumerate(frames):
        filling.fill(frame, number)
    filled = frames[:, torch.from_numpy(defects)]
    assert abs(float(filled.mean()) - 1) < 0.03
    assert abs(float(filled.var()) - 1) < 0.1


def test_a_hole_without_neighbours_takes_the_mean() -> None:
    defects = np.zeros((64, 64), bool)
    defects[10:40, 10:40] = True
    filling = stand_ins(defects)
    assert len(filling.lost) > 0
    frame = torch.ones(64, 64)
    filling.fill(frame, 0)
    assert bool((frame == 1).all())


def test_without_defects_nothing_changes() -> None:
    filling = stand_ins(np.zeros((64, 64), bool))
    frame = torch.rand(64, 64)
    before = frame.clone()
    filling.fill(frame, 0)
    assert torch.equal(frame, before)
