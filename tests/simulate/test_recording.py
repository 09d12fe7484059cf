"""From contrast at rest to sums and frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scherzer.physics.dose import mean_survival
from scherzer.simulate.drift import Track, draw_track
from scherzer.simulate.field import FieldGrid
from scherzer.simulate.ice import mean_power, water_decay_per_e
from scherzer.simulate.image_formation import Contrast
from scherzer.simulate.recording import Recording, _WaterPower, record_frames, record_sum
from scherzer.simulate.threads import thread_pool

GRID = FieldGrid(192, 160, 0, 1.5)
SHAPE = (192, 81)
MOTION_A2_PER_E = 1.1


def recording(track: Track, dose_e_per_A2: float = 40.0) -> Recording:
    return Recording(GRID, track, dose_e_per_A2, 300.0, MOTION_A2_PER_E, np.ones((192, 160), np.float32))


def contrast(protein: float = 0.0, still: float = 0.0, water: float = 0.0) -> Contrast:
    """Contrast of spots in the middle of the field, and of noise that is white at one moment."""
    spot = np.zeros((192, 160), np.float32)
    spot[96, 80] = 1
    transform = GRID.transform(spot)
    amounts = (transform * np.complex64(protein), transform * np.complex64(still))
    return Contrast(*amounts, np.full(SHAPE, water, np.float32))


def the_sum(what: Contrast, how: Recording, aligned: bool = True, seed: int = 1) -> np.ndarray:
    with thread_pool(1) as pool:
        return GRID.transform(record_sum(pool, np.random.default_rng(seed), what, how, aligned))


def the_frames(what: Contrast, how: Recording, seed: int = 1) -> np.ndarray:
    with thread_pool(1) as pool:
        return np.stack([GRID.transform(f) for f in record_frames(pool, np.random.default_rng(seed), what, how)])


def test_what_radiation_leaves_of_a_sum_is_the_mean_over_the_exposure() -> None:
    found = np.abs(the_sum(contrast(protein=1.0), recording(Track(1))))
    k = torch.sqrt(torch.from_numpy(GRID.kx**2 + GRID.ky[:, None] ** 2))
    np.testing.assert_allclose(found, mean_survival(k, 0.0, 40.0, 300.0), atol=3e-3)
    assert found.min() < 0.3 < 0.9 < found.max()


def test_each_frame_has_what_is_left_during_it_and_what_keeps_still_stays() -> None:
    k = torch.sqrt(torch.from_numpy(GRID.kx**2 + GRID.ky[:, None] ** 2))
    frames = the_frames(contrast(protein=1.0), recording(Track(4)))
    for number, frame in enumerate(frames):
        expected = mean_survival(k, 10.0 * number, 10.0 * (number + 1), 300.0)
        np.testing.assert_allclose(np.abs(frame), expected, atol=3e-3)
    for frame in the_frames(contrast(still=1.0), recording(Track(2))):
        np.testing.assert_allclose(np.abs(frame), 1, atol=1e-4)


@pytest.mark.parametrize("aligned", [True, False])
def test_a_sum_is_the_mean_of_the_frames_of_a_movie(aligned: bool) -> None:
    track = draw_track(np.random.default_rng(2), 24, 40.0, 12.0)
    frames = the_frames(contrast(protein=1.0, still=0.3), recording(track))
    shifts_A = track.frame_shifts_A
    back_A = shifts_A if aligned else np.broadcast_to(shifts_A.mean(0), shifts_A.shape)
    ramps = np.stack([np.exp(2j * np.pi * (GRID.kx * x + GRID.ky[:, None] * y)) for x, y in back_A])
    found = the_sum(contrast(protein=1.0, still=0.3), recording(track), aligned)
    inside = np.hypot(GRID.kx, GRID.ky[:, None]) < 0.25
    error = np.abs(found - (frames * ramps).mean(0))[inside]
    assert error.max() < 0.02
    assert np.abs(found)[inside].max() > 0.5


def band(k: np.ndarray) -> np.ndarray:
    return (k > 0.19) & (k < 0.21)


def test_noise_of_moving_water_fades_between_frames_and_in_sums_as_it_should() -> None:
    k = np.hypot(GRID.kx, GRID.ky[:, None])
    inside, frames_count, dose = band(k), 5, 10.0
    how = recording(Track(frames_count), dose)
    found = np.zeros((frames_count, frames_count))
    sums = 0.0
    for seed in range(6):
        frames = the_frames(contrast(water=1.0), how, seed)[:, inside] / np.sqrt(192 * 160)
        found += (frames @ frames.conj().T).real / inside.sum() / 6
        sums += (np.abs(the_sum(contrast(water=1.0), how, seed=seed)[inside]) ** 2).mean() / (192 * 160) / 6
    x = float(water_decay_per_e(torch.tensor(0.2), MOTION_A2_PER_E)) * dose / frames_count
    apart = np.abs(np.subtract.outer(np.arange(frames_count), np.arange(frames_count)))
    expected = ((1 - np.exp(-x)) / x) ** 2 * np.exp(-(apart - 1) * x)
    np.fill_diagonal(expected, float(mean_power(torch.tensor(x))))
    assert 0.3 < x < 1.5
    np.testing.assert_allclose(found, expected, atol=0.035)
    whole = float(mean_power(torch.tensor(x * frames_count)))
    assert expected.mean() == pytest.approx(whole, rel=1e-3)  # the process and the formula agree
    assert sums == pytest.approx(whole, rel=0.06)


@pytest.mark.parametrize("dose_e_per_A2", [2.0, 40.0])
def test_water_that_moves_with_the_specimen_has_the_power_of_the_double_sum(dose_e_per_A2: float) -> None:
    track = draw_track(np.random.default_rng(4), 10, dose_e_per_A2, 15.0)
    how, motion = recording(track, dose_e_per_A2), track.of_sum(False)
    rows = slice(0, 64)
    place = GRID.place(rows)
    still = np.ones(place.shape, np.complex64)
    found = _WaterPower(motion, how, aligned=False).rows(rows, place, still)
    for row, column in ((3, 5), (10, 30), (40, 12), (25, 60)):
        kx, ky = float(GRID.kx[column]), float(GRID.ky[row])
        rate = float(water_decay_per_e(torch.tensor(np.hypot(kx, ky)), MOTION_A2_PER_E)) * dose_e_per_A2
        moments = (np.arange(2000) + 0.5) / 2000
        path = track.position_A(moments) @ np.array([kx, ky])
        wave = np.exp(2j * np.pi * path)
        correlation = np.exp(-rate * np.abs(moments[:, None] - moments))
        expected = (wave @ correlation @ wave.conj()).real / 2000**2
        assert found[row, column] == pytest.approx(expected, rel=0.08, abs=1e-4)
    unmoved = _WaterPower(Track(1).of_sum(False), how, aligned=False).rows(rows, place, still)
    assert 0 < found.mean() < unmoved.mean()


def test_noise_is_local() -> None:
    white = np.zeros((192, 160), np.float32)
    white[:, 80:] = 1
    how = Recording(GRID, Track(2), 40.0, 300.0, MOTION_A2_PER_E, white)
    with thread_pool(1) as pool:
        fields = list(record_frames(pool, np.random.default_rng(1), contrast(water=1.0), how))
        fields.append(record_sum(pool, np.random.default_rng(1), contrast(water=1.0), how, True))
    for field in fields:
        assert field[:, 95:145].std() > 5 * field[:, 15:65].std()
