"""Images multiplied by their CTF and cropped: what is left of signal and noise, and how they are whitened."""

from __future__ import annotations

import pytest
import torch

from scherzer.fourier.grids import real_radius
from scherzer.fourier.shells import shell_mean
from scherzer.physics.ctf import CtfParameters, ctf
from scherzer.physics.optics import Optics
from scherzer.physics.premultiplied import noise_power, signal_power, whitened_ctf, whitening

PIXEL_A, BOX, FIELD = 2.0, 96, 288
OPTICS = Optics(PIXEL_A, 300.0, 2.7, 0.1)


def frequencies(box: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.fft.rfftfreq(box, PIXEL_A), torch.fft.fftfreq(box, PIXEL_A)[:, None]


def cropped(images: torch.Tensor) -> torch.Tensor:
    start = (FIELD - BOX) // 2
    return images[..., start : start + BOX, start : start + BOX]


def multiplied(images: torch.Tensor, parameters: CtfParameters, power: int) -> torch.Tensor:
    transfer = ctf(parameters, *frequencies(FIELD))[0] ** power
    return cropped(torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=(FIELD, FIELD)))


def test_near_focus_it_is_the_square_of_the_ctf_and_whitening_flips_phases() -> None:
    parameters = OPTICS.ctf_parameters(2_000.0, 1_800.0, 0.4)
    kx, ky = frequencies(BOX)
    k = torch.hypot(kx, ky)
    near = (2 * 0.0197 * 2_000 * k < 0.2 * BOX * PIXEL_A) & (k < 0.15)
    transfer = ctf(parameters, kx, ky)[0]
    power = signal_power(parameters, kx, ky, BOX * PIXEL_A)[0]
    assert torch.allclose(power[near], transfer[near].square(), atol=1e-4)
    strong = near & (transfer.abs() > 0.5)
    flipped = whitening(parameters, kx, ky, BOX * PIXEL_A)[0] * transfer
    assert torch.allclose(flipped[strong], transfer[strong].sign(), atol=0.12)


@pytest.mark.parametrize("defocus_A", [6_000.0, 15_000.0, 26_000.0])
def test_noise_and_signal_are_what_is_left_of_them(defocus_A: float) -> None:
    parameters = OPTICS.ctf_parameters(defocus_A, defocus_A)
    generator = torch.Generator().manual_seed(0)
    kx, ky = frequencies(BOX)
    expected = signal_power(parameters, kx, ky, BOX * PIXEL_A)
    noise = multiplied(torch.randn(60, FIELD, FIELD, generator=generator), parameters, 1)
    measured = shell_mean(torch.fft.rfft2(noise).abs() ** 2, 2).mean(0) / BOX**2
    shells = shell_mean(noise_power(parameters, kx, ky, BOX * PIXEL_A), 2)[0]
    assert torch.allclose(measured[4:40], shells[4:40], atol=0.06)

    disc = real_radius(FIELD, 2) < 0.3 * BOX
    particles = torch.randn(60, FIELD, FIELD, generator=generator) * disc
    seen = torch.fft.rfft2(multiplied(particles, parameters, 2))
    own = torch.fft.rfft2(cropped(particles))
    share = shell_mean((seen * own.conj()).real, 2).sum(0) / shell_mean(own.abs() ** 2, 2).sum(0)
    assert torch.allclose(share[4:40], shell_mean(expected, 2)[0, 4:40], atol=0.12)
    model = shell_mean((seen - expected * own).abs() ** 2, 2).sum(0) / shell_mean(seen.abs() ** 2, 2).sum(0)
    assert float(model[4:40].mean()) < 0.25


def test_whitened_noise_is_even_and_the_ctf_goes_with_it() -> None:
    parameters = OPTICS.ctf_parameters(20_000.0, 20_000.0)
    kx, ky = frequencies(BOX)
    noise = multiplied(torch.randn(60, FIELD, FIELD, generator=torch.Generator().manual_seed(1)), parameters, 1)
    white = torch.fft.rfft2(noise) * whitening(parameters, kx, ky, BOX * PIXEL_A)
    spectrum = shell_mean(white.abs() ** 2, 2).mean(0)[8:44] / BOX**2
    assert float(spectrum.std() / spectrum.mean()) < 0.15
    at = (parameters, kx, ky, BOX * PIXEL_A)
    assert torch.allclose(whitened_ctf(*at), signal_power(*at) * whitening(*at))
