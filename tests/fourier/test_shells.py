"""Shells hold every frequency once; FSC, filters and curves do what their names say."""

import math

import numpy as np
import pytest
import torch

from scherzer.fourier.filters import apply_radial, cosine_edge, lowpass
from scherzer.fourier.grids import centred_rfft2, centred_rfftn, real_radius, rfft_radius
from scherzer.fourier.shells import fourier_shell_correlation, rfft_multiplicity, shell_index, shell_mean, shell_sum
from scherzer.fourier.shifts import phase_ramp

BOX = 32


def noise(seed: int, ndim: int = 3, box: int = BOX) -> torch.Tensor:
    return torch.randn((box,) * ndim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_frequency_of_the_full_transform_counts_once(ndim: int) -> None:
    axis = np.fft.fftfreq(BOX, 1 / BOX)
    radius = np.sqrt(sum(a**2 for a in np.meshgrid(*[axis] * ndim)))
    expected = np.bincount(np.rint(radius).astype(int).ravel())[: BOX // 2 + 1]
    found = shell_sum(torch.ones_like(rfft_radius(BOX, ndim)), ndim)
    assert np.array_equal(found.numpy(), expected)
    assert found[0] == 1
    assert shell_index(BOX, ndim).max() == BOX // 2 + 1


def test_parseval() -> None:
    image = noise(0, 2)
    transform = centred_rfft2(image)
    whole = ((transform.abs() ** 2) * rfft_multiplicity(BOX)).sum() / BOX**2
    assert float(whole) == pytest.approx(float((image**2).sum()), rel=1e-4)
    volume = lowpass(noise(1), 1.0, 2.5)  # all of it within the shells
    power = shell_sum(centred_rfftn(volume).abs() ** 2, 3).sum() / BOX**3
    assert float(power) == pytest.approx(float((volume**2).sum()), rel=1e-4)


def test_leading_axes_are_kept_apart() -> None:
    values = torch.rand(2, 3, BOX, BOX // 2 + 1, generator=torch.Generator().manual_seed(0))
    found = shell_mean(values, 2)
    assert found.shape == (2, 3, BOX // 2 + 1)
    assert torch.allclose(found[1, 2], shell_mean(values[1, 2], 2))


def test_mean_of_white_noise_is_flat() -> None:
    power = shell_mean(centred_rfftn(noise(2)).abs() ** 2, 3) / BOX**3
    assert ((power[4:] - 1).abs() < 0.15).all()


def test_correlation_with_itself_is_one_whatever_the_scale() -> None:
    volume = noise(3)
    assert torch.allclose(fourier_shell_correlation(volume, 5 * volume), torch.ones(BOX // 2 + 1).double())
    assert torch.allclose(fourier_shell_correlation(volume, -volume), -torch.ones(BOX // 2 + 1).double())


def test_correlation_of_an_empty_map_is_zero() -> None:
    assert torch.equal(fourier_shell_correlation(noise(3), torch.zeros(BOX, BOX, BOX)), torch.zeros(17).double())


def test_correlation_of_independent_noise_scatters_about_zero_as_it_must() -> None:
    """Each shell of n Fourier pixels holds n independent real numbers: standard deviation 1 / sqrt(n)."""
    counts = shell_sum(torch.ones_like(rfft_radius(BOX, 3)), 3)
    z = [
        fourier_shell_correlation(noise(2 * trial), noise(2 * trial + 1))[2:] * counts[2:].sqrt()
        for trial in range(20, 40)
    ]
    scores = torch.stack(z)
    assert abs(float(scores.mean())) < 4 / math.sqrt(scores.numel())
    assert float(scores.std()) == pytest.approx(1, abs=0.15)


def test_correlation_of_signal_with_noise_is_the_share_of_the_signal() -> None:
    signal = noise(50)
    found = fourier_shell_correlation(signal + noise(51), signal + noise(52))
    assert ((found[6:] - 0.5).abs() < 0.1).all()
    assert float(found[6:].mean()) == pytest.approx(0.5, abs=0.02)


def test_shift_of_one_map_shows_in_the_correlation() -> None:
    volume = noise(5)
    found = fourier_shell_correlation(volume, volume.roll(1, dims=2))
    expected = [np.sinc(2 * s / BOX) for s in range(BOX // 2 + 1)]  # mean of cos(2 pi k_x / b) over a sphere
    assert np.allclose(found[2:], expected[2:], atol=0.12)
    assert found[-1] < 0.1


def test_lowpass_keeps_below_and_removes_above() -> None:
    volume = noise(6)
    found = lowpass(volume, 2.0, 8.0)  # shell 8 of 16
    gain = (centred_rfftn(found) / centred_rfftn(volume)).abs()
    radius = rfft_radius(BOX, 3)
    assert torch.allclose(gain[radius <= 7], torch.ones(()), atol=1e-2)
    assert (gain[radius >= 9] < 1e-2).all()
    assert float(gain[radius == 8].mean()) == pytest.approx(0.5, abs=1e-2)


def test_cosine_edge() -> None:
    found = cosine_edge(torch.tensor([0.0, 2.0, 3.0, 4.0, 9.0]), 2, 4)
    assert torch.allclose(found, torch.tensor([1, 1, 0.5, 0, 0]), atol=1e-6)
    assert torch.equal(cosine_edge(torch.tensor([1.0, 3.0]), 2, 2), torch.tensor([1.0, 0.0]))


def test_radial_curve_is_applied_linearly_between_shells() -> None:
    volume = noise(7)
    curve = torch.linspace(2, 0.4, BOX // 2 + 1)
    gain = (centred_rfftn(apply_radial(volume, curve)) / centred_rfftn(volume)).real
    radius = rfft_radius(BOX, 3).clamp(max=BOX // 2)
    assert torch.allclose(gain, 2 - 0.1 * radius, atol=1e-2)


def test_radii_are_those_of_the_grids() -> None:
    assert real_radius(8, 2)[4, 4] == 0
    assert real_radius(8, 3)[4, 0, 1] == 5
    assert rfft_radius(8, 2)[-3, 4] == 5


def test_ramp_moves_an_image_towards_larger_x_and_y() -> None:
    image = noise(8, 2)
    ky, kx = torch.meshgrid(torch.fft.fftfreq(BOX, 1 / BOX), torch.arange(BOX // 2 + 1.0), indexing="ij")
    ramp = phase_ramp(torch.tensor([[3.0, -2.0]]) / BOX, kx.flatten(), ky.flatten()).reshape(kx.shape)
    moved = torch.fft.irfft2(torch.fft.rfft2(image) * ramp, s=(BOX, BOX))
    assert torch.allclose(moved, image.roll((-2, 3), dims=(0, 1)), atol=1e-4)
