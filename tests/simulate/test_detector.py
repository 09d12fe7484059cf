"""Cameras: efficiency, transfer, counting, coincidence, gains and defects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_mrc
from scherzer.simulate.counting import count_electrons
from scherzer.simulate.detector import DETECTORS, detector_named, expose, signal_transfer
from scherzer.simulate.sensor import Sensor, draw_sensor, write_sensor
from scherzer.simulate.settings import DetectorSettings, MicroscopeSettings, SimulationSettings

SEED = np.random.SeedSequence(7)
K2 = DETECTORS["K2"]


def flat(value: float, side: int = 512) -> np.ndarray:
    return np.full((side, side), value, np.float32)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("binning", [1.0, 2.0, 0.5])
def test_the_transfer_goes_through_the_stated_efficiencies(name: str, binning: float) -> None:
    detector = DETECTORS[name]
    nyquist = binning / (2 * 1.3)  # of the physical pixels, 1/A
    k = torch.tensor([0.0, nyquist / 2, nyquist])
    found = detector.dqe_zero * signal_transfer(detector, k, 1.3, binning) ** 2
    torch.testing.assert_close(
        found, torch.tensor([detector.dqe_zero, detector.dqe_half, detector.dqe_nyquist]), rtol=1e-5, atol=0
    )
    curve = signal_transfer(detector, torch.linspace(0, 2 * nyquist, 50), 1.3, binning)
    assert torch.all(curve.diff() < 0)


def test_names_are_found_as_users_write_them() -> None:
    assert detector_named("falcon iii") == DETECTORS["Falcon III"]
    assert detector_named("Falcon4") == DETECTORS["Falcon 4"]
    with pytest.raises(BadInput, match=r"K9.*Falcon III, Falcon 4, Falcon 4i, K2, K3"):
        detector_named("K9")


def test_a_lower_voltage_costs_fine_detail_only() -> None:
    low = detector_named("K3", 200)
    assert low.dqe_zero == DETECTORS["K3"].dqe_zero
    # Gatan's reference MTFs at 200 kV: 0.855 and 0.594 of the signal at half and full Nyquist.
    assert low.dqe_half / low.dqe_zero == pytest.approx(0.855**2, rel=0.08)
    assert low.dqe_nyquist / low.dqe_zero == pytest.approx(0.594**2, rel=0.08)
    assert detector_named("K3", 300) == DETECTORS["K3"]


@pytest.mark.parametrize("mean", [0.05, 0.7, 4.0, 20.0, 90.0, 149.0, 400.0])
def test_counts_are_poisson_in_moments_and_tails(mean: float) -> None:
    counts = count_electrons(SEED, flat(mean)).ravel().astype(np.int64)
    observed = np.bincount(counts)
    expected = len(counts) * stats.poisson.pmf(np.arange(len(observed)), mean)
    # Tails pooled so that every class expects 8 or more.
    order = np.cumsum(expected)
    classes = np.searchsorted([order[expected >= 8][0], order[expected >= 8][-2]], order, side="left")
    inner = np.arange(len(observed))[classes == 1]
    groups = [np.arange(0, inner[0]), *([i] for i in inner), np.arange(inner[-1] + 1, len(observed))]
    found = np.array([observed[g].sum() for g in groups], float)
    model = np.array([expected[g].sum() for g in groups])
    model[-1] += len(counts) - model.sum()
    assert stats.chisquare(found[model > 0], model[model > 0]).pvalue > 1e-3
    assert counts.mean() == pytest.approx(mean, abs=4 * (mean / len(counts)) ** 0.5)


def test_every_pixel_has_its_own_expectation() -> None:
    """Over a wide range, whose levels are far apart, means and variances stay those of each pixel."""
    ramp = np.repeat(np.linspace(0.0, 60.0, 64, dtype=np.float32)[:, None], 8192, axis=1) ** 1.01
    counts = count_electrons(SEED, ramp).astype(np.float64)
    expected = ramp[:, 0].astype(np.float64)
    scores = (counts.mean(1) - expected)[1:] / np.sqrt(expected[1:] / 8192)
    assert np.abs(scores).max() < 4
    assert scores.var() == pytest.approx(1, abs=0.6)
    np.testing.assert_allclose(counts.var(1)[1:], expected[1:] + 0.01, rtol=0.08)
    assert not counts[0].any()


def test_counts_do_not_depend_on_threads_and_neighbouring_frames_differ() -> None:
    image = flat(2.0, 1024) + np.random.default_rng(1).random((1024, 1024), dtype=np.float32)
    alone = count_electrons(SEED, image)
    with ThreadPoolExecutor(3) as pool:
        np.testing.assert_array_equal(count_electrons(SEED, image, pool), alone)
        exposed = expose(SEED, K2, None, 2.0, 8.0, image, 1.0, pool)
    np.testing.assert_array_equal(exposed, expose(SEED, K2, None, 2.0, 8.0, image))
    other = count_electrons(np.random.SeedSequence(7, spawn_key=(1,)), image)
    assert abs(np.corrcoef(alone.ravel(), other.ravel())[0, 1]) < 0.05  # the image itself correlates them by 0.03
    halves = alone[:512] - image[:512], alone[512:] - image[512:]
    assert abs(np.corrcoef(halves[0].ravel(), halves[1].ravel())[0, 1]) < 0.01


def test_counts_take_the_smallest_type() -> None:
    assert count_electrons(SEED, flat(20.0, 64)).dtype == np.uint8
    assert count_electrons(SEED, flat(900.0, 64)).dtype == np.uint16
    assert count_electrons(SEED, flat(1e6, 64)).max() == 65535
    assert not count_electrons(SEED, flat(0.0, 64)).any()
    assert not expose(SEED, K2, None, 5.0, 1.0, flat(-1.0, 64)).any()


def binary_cells(rng: np.random.Generator, electrons: np.ndarray, raw_frames: int) -> np.ndarray:
    """Sum of raw frames in which cells hit by one or more electrons count one; ``electrons`` a cell and frame."""
    return sum((rng.poisson(electrons) > 0).astype(np.int64) for _ in range(raw_frames))


@pytest.mark.parametrize("rate", [2.0, 12.0])
def test_coincidence_loses_what_cells_lose_that_count_once_a_raw_frame(rate: float) -> None:
    """Mean, coarse contrast and coarse noise against the cells simulated raw frame by raw frame."""
    raw_frames = 60
    electrons = rate / K2.frame_rate_hz * raw_frames
    bright = np.float32(1.1)
    found = [
        expose(np.random.SeedSequence(s), K2, None, electrons, rate, flat(b, 1023)) for s, b in ((1, 1), (2, bright))
    ]
    a_cell = K2.event_px * K2.dqe_zero * rate / K2.frame_rate_hz
    rng = np.random.default_rng(3)
    twin = [binary_cells(rng, np.full(200_000, a_cell * b), raw_frames) / K2.event_px for b in (1, bright)]
    assert found[0].mean() == pytest.approx(twin[0].mean(), rel=0.004)
    assert found[0].mean() == pytest.approx(electrons * K2.counted(rate), rel=0.003)
    assert found[1].mean() / found[0].mean() == pytest.approx(twin[1].mean() / twin[0].mean(), rel=0.004)
    # Noise in squares much larger than an event.
    squares = found[0].reshape(31, 33, 31, 33).sum((1, 3))
    expected = twin[0].var() * K2.event_px * 33**2
    assert squares.var() == pytest.approx(expected, rel=4 * (2 / 31**2) ** 0.5)
    assert expected < found[0].mean() * 33**2


def test_coincidence_takes_coarse_noise_and_leaves_fine_noise() -> None:
    counts = expose(SEED, K2, None, 3.0, 12.0, flat(1.0, 1024)).astype(np.float64)
    power = np.abs(np.fft.rfft2(counts - counts.mean())) ** 2 / counts.size / counts.mean()
    k = np.hypot(np.fft.fftfreq(1024)[:, None], np.fft.rfftfreq(1024))
    x = K2.occupancy(12.0)
    assert power[(k > 0) & (k < 0.06)].mean() == pytest.approx(np.exp(-x), abs=0.03)
    assert power[k > 0.5].mean() == pytest.approx(1.0, abs=0.03)
    still = replace(K2, event_px=0.0)
    counts = expose(SEED, still, None, 3.0, 20.0, flat(1.0, 1024)).astype(np.float64)
    assert counts.mean() == pytest.approx(3 * K2.dqe_zero, rel=0.003)


def test_coincidence_costs_about_half_its_occupancy_in_signal_to_noise() -> None:
    """Coarse signal is weaker, but so is the noise it stands in (Li et al. 2013)."""
    rate, electrons = 12.0, 4.0
    x = K2.occupancy(rate)
    y = np.arange(1024)[:, None]
    wave = np.cos(2 * np.pi * y / 64) * np.ones((1, 1024))
    signal, noise = [], []
    for number in range(6):
        counts = expose(
            np.random.SeedSequence(number), K2, None, electrons, rate, (1 + 0.2 * wave).astype(np.float32)
        ).astype(np.float64)
        transform = np.fft.rfft2(counts)
        signal.append(2 * np.real(transform[16, 0]) / counts.size)
        k = np.hypot(np.fft.fftfreq(1024)[:, None], np.fft.rfftfreq(1024))
        noise.append((np.abs(transform) ** 2 / counts.size)[(k > 0.017) & (k < 0.06)].mean())
    ratio = np.mean(signal) ** 2 / np.mean(noise) / (0.2**2 * electrons * K2.dqe_zero)
    assert ratio == pytest.approx(x / np.expm1(x), rel=0.03)


def settings(**changes: float) -> SimulationSettings:
    return SimulationSettings(
        microscope=MicroscopeSettings(height_px=192, width_px=256), detector=DetectorSettings(**changes)
    )


def test_perfect_pixels_need_no_reference() -> None:
    assert draw_sensor(settings()) is None


def test_gains_have_the_spread_asked_for_and_structure() -> None:
    sensor = draw_sensor(settings(gain_spread=0.04))
    assert sensor is not None
    assert sensor.gain.dtype == np.float32
    assert sensor.gain.shape == (192, 256)
    assert sensor.gain.mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert sensor.gain.std() == pytest.approx(0.04, rel=0.25)
    # Means of columns scatter far more than independent pixels' would.
    assert sensor.gain.mean(0).std() > 3 * 0.04 / 192**0.5
    np.testing.assert_array_equal(sensor.gain, draw_sensor(settings(gain_spread=0.04)).gain)
    other = draw_sensor(replace(settings(gain_spread=0.04), seed=2))
    assert abs(np.corrcoef(sensor.gain.ravel(), other.gain.ravel())[0, 1]) < 0.4


def test_raw_counts_times_gain_are_flat_and_defects_show() -> None:
    sensor = draw_sensor(settings(gain_spread=0.15, hot_px=20, dead_px=30))
    raw = sum(
        expose(np.random.SeedSequence(s), K2, sensor, 25.0, 2.0, np.ones((192, 256), np.float32)).astype(np.float64)
        for s in range(8)
    )
    good = ~sensor.bad
    assert (~good).sum() == 50
    assert not raw[sensor.dead[:, 1], sensor.dead[:, 0]].any()
    assert raw[sensor.hot[:, 1], sensor.hot[:, 0]].min() > 20 * np.median(raw)
    flat_field = sensor.correct(raw)
    shot = raw[good].mean() ** -0.5
    assert raw[good].std() / raw[good].mean() > 2 * shot
    assert flat_field[good].std() / flat_field[good].mean() == pytest.approx(shot, rel=0.05)
    assert flat_field.max() < 1.5 * flat_field.mean()
    assert flat_field.min() > 0.5 * flat_field.mean()


def test_defects_take_the_nearest_good_value_also_in_corners() -> None:
    sensor = Sensor(
        np.ones((4, 5), np.float32), np.array([[0, 0], [1, 0]]), np.array([[0, 1], [3, 2]]), np.array([1.0, 1.0])
    )
    counts = np.arange(20).reshape(4, 5)
    fixed = sensor.correct(counts)
    assert fixed[0, 0] == counts[1, 1]
    assert fixed[0, 1] in (counts[0, 2], counts[1, 1])
    assert fixed[1, 0] in (counts[2, 0], counts[1, 1])
    assert fixed[2, 3] in (counts[1, 3], counts[3, 3], counts[2, 2], counts[2, 4])
    good = ~sensor.bad
    np.testing.assert_array_equal(fixed[good], counts[good])


def test_the_reference_and_the_list_name_the_defects(tmp_path) -> None:
    sensor = draw_sensor(settings(gain_spread=0.03, hot_px=3, dead_px=4))
    gain_file, defects_file = write_sensor(tmp_path, sensor, 1.6)
    gain = read_mrc(gain_file)
    assert gain.pixel_size_A == pytest.approx(1.6)
    listed = np.loadtxt(defects_file, dtype=int)
    assert listed.shape == (7, 4)
    assert (listed[:, 2:] == 1).all()
    zero = np.argwhere(gain.data == 0)[:, ::-1]
    assert {tuple(p) for p in zero} == {tuple(p) for p in listed[:, :2]}
    np.testing.assert_array_equal(gain.data[~sensor.bad], sensor.gain[~sensor.bad])
