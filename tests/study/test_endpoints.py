"""Band SSNR and resolution from curves with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scherzer.study.endpoints import (
    at_nyquist,
    band_fsc,
    first_crossing_A,
    informative_bands,
    inverse_square,
    ln_ssnr,
    mean_ln_ssnr,
)
from scherzer.study.refined import RefinedSubset, cached, subset_key


def refined(fsc: np.ndarray, resolution: float | None = 6.0, pixel_size_A: float = 1.5) -> RefinedSubset:
    frequency = np.arange(1, len(fsc) + 1) / (2 * len(fsc) * pixel_size_A)
    return RefinedSubset(resolution, None, None, frequency, fsc, 100, 4, 0.0)


def test_ln_ssnr_is_ln_particles_plus_constant():
    frequency = np.arange(1, 65) / 192
    signal = np.exp(-100 * frequency**2 / 2)
    one, two = (refined(n * signal / (1 + n * signal)) for n in (1.0, 2.0))
    bands = [(8.0, 6.0), (6.0, 4.5)]
    # Not exactly ln 2: the FSC is averaged over a band before the ratio is taken.
    assert mean_ln_ssnr(two, bands) - mean_ln_ssnr(one, bands) == pytest.approx(math.log(2), abs=0.02)


def test_ln_ssnr_is_held_where_noise_would_run_away():
    assert ln_ssnr(-0.3) == ln_ssnr(0.0) == ln_ssnr(0.02)
    assert math.isfinite(ln_ssnr(1.0))


def test_bands_before_the_start_and_without_signal_do_not_count():
    frequency = np.arange(1, 65) / 192
    fsc = np.where(frequency < 1 / 6, 0.8, 0.01)
    assert informative_bands([refined(fsc)], 20.0) == [(20.0, 12.0), (12.0, 8.0), (8.0, 6.0)]
    assert informative_bands([refined(fsc)], 12.0) == [(12.0, 8.0), (8.0, 6.0)]
    assert informative_bands([refined(np.full(64, 0.01))], 20.0) == []


def test_bands_beyond_nyquist_are_absent():
    coarse = refined(np.full(32, 0.5), pixel_size_A=3.0)
    assert band_fsc(coarse, (8.0, 6.0)) == pytest.approx(0.5)
    assert band_fsc(coarse, (6.0, 4.5)) is None
    assert informative_bands([coarse], 20.0)[-1] == (8.0, 6.0)


def test_crossing_is_linear_between_shells():
    frequency = np.array([0.1, 0.2, 0.3])
    assert first_crossing_A(frequency, np.array([1.0, 0.5, 0.0]), 0.25) == pytest.approx(1 / 0.25)
    assert first_crossing_A(frequency, np.array([0.1, 0.5, 0.0]), 0.143) is None
    assert first_crossing_A(frequency, np.array([1.0, 0.9, 0.8]), 0.143) == pytest.approx(1 / 0.3)


def test_nyquist_and_absent_resolutions_are_told():
    assert at_nyquist(refined(np.ones(64), 3.05))
    assert not at_nyquist(refined(np.ones(64), 3.5))
    assert inverse_square(refined(np.zeros(64), None)) is None


def test_no_subset_is_refined_twice_and_the_cache_survives_json():
    calls: list[int] = []

    def refiner(indices: np.ndarray) -> RefinedSubset:
        calls.append(len(indices))
        return refined(np.linspace(1, 0, 64))

    store: dict[str, RefinedSubset] = {}
    once = cached(refiner, store)
    once(np.array([3, 1, 2]))
    once(np.array([1, 2, 3]))
    assert calls == [3]
    assert subset_key(np.array([3, 2, 1])) in store
    found = next(iter(store.values()))
    again = RefinedSubset.from_json(found.to_json())
    assert np.array_equal(again.fsc, found.fsc)
    assert again.to_json() == found.to_json()
