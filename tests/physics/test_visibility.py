"""Detectability of a known signal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scherzer.physics.visibility import detectability, own_band_A


def test_in_white_noise_it_is_the_length_of_the_signal_over_the_noise() -> None:
    """The textbook result for independent pixels, reached through the Fourier plane."""
    rng, pixel_size_A, sigma = np.random.default_rng(4), 1.7, 0.3
    image = torch.from_numpy(rng.normal(size=(3, 48, 48)))
    power = torch.fft.fft2(image).abs().pow(2).flatten(1) * pixel_size_A**4
    density = torch.tensor(sigma**2 * pixel_size_A**2, dtype=torch.float64)
    cell_per_A2 = 1 / (48 * pixel_size_A) ** 2
    expected = image.flatten(1).norm(dim=1) / sigma
    torch.testing.assert_close(detectability(power, density, cell_per_A2), expected)


def test_noise_where_the_signal_is_hides_it_and_elsewhere_does_not() -> None:
    power = torch.tensor([4.0, 0.0])
    quiet, beside, over = (torch.tensor(n) for n in ([1.0, 1.0], [1.0, 9.0], [9.0, 1.0]))
    assert float(detectability(power, quiet, 1.0)) == float(detectability(power, beside, 1.0)) == pytest.approx(2)
    assert float(detectability(power, over, 1.0)) == pytest.approx(2 / 3)


def test_a_particle_is_found_by_what_is_no_broader_and_no_finer_than_its_own_parts() -> None:
    assert own_band_A(150.0) == (150.0, 30.0)
    assert own_band_A(300.0) == (300.0, 60.0)
