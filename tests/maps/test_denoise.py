"""Noise outside the density fades from a reference; the density, weak parts too, stays."""

import torch

from scherzer.fourier.filters import cosine_edge, lowpass
from scherzer.fourier.grids import real_radius
from scherzer.maps.denoise import denoised

BOX, PIXEL_A, RESOLUTION_A = 48, 2.0, 6.0
DIAMETER_A = 50.0


def scene(weak: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Truth, truth with noise of half the protein's spread, and where the weak part lies."""
    generator = torch.Generator().manual_seed(0)
    ball = cosine_edge(real_radius(BOX, 3), 9.0, 10.0)
    weak_part = torch.zeros(BOX, BOX, BOX)
    weak_part[:, :, : BOX // 2] = 1
    texture = lowpass(torch.randn(BOX, BOX, BOX, generator=generator), PIXEL_A, RESOLUTION_A)
    truth = ball * texture / texture.std() * torch.where(weak_part == 1, weak, 1.0)
    noise = lowpass(torch.randn(BOX, BOX, BOX, generator=generator), PIXEL_A, RESOLUTION_A)
    return truth, truth + 0.5 * noise / noise.std(), weak_part * ball


def test_noise_of_the_solvent_fades_and_the_protein_stays() -> None:
    truth, noisy, _ = scene(1.0)
    found = denoised(noisy, PIXEL_A, DIAMETER_A, RESOLUTION_A)
    radius = real_radius(BOX, 3)
    solvent, protein = radius > 16, radius < 8
    assert (found[solvent] ** 2).mean() < 0.05 * (noisy[solvent] ** 2).mean()
    assert ((found - truth) ** 2).sum() < 0.3 * ((noisy - truth) ** 2).sum()
    gain = (found[protein] * truth[protein]).sum() / (truth[protein] ** 2).sum()
    assert 0.6 < gain < 1.02


def test_weak_density_is_damped_but_not_cut_off() -> None:
    truth, noisy, part = scene(0.6)
    inside = (part > 0.9) & (real_radius(BOX, 3) < 8)
    found = denoised(noisy, PIXEL_A, DIAMETER_A, RESOLUTION_A)
    assert torch.corrcoef(torch.stack((found[inside], truth[inside])))[0, 1] > 0.65
    assert ((found[inside] - truth[inside]) ** 2).mean() < ((noisy[inside] - truth[inside]) ** 2).mean()


def test_scale_and_size_do_not_matter() -> None:
    _, noisy, _ = scene(1.0)
    found = denoised(noisy, PIXEL_A, DIAMETER_A, RESOLUTION_A)
    assert torch.allclose(denoised(100 * noisy, PIXEL_A, DIAMETER_A, RESOLUTION_A), 100 * found, atol=1e-2)
    twice = denoised(noisy, 2 * PIXEL_A, 2 * DIAMETER_A, 2 * RESOLUTION_A)
    assert torch.allclose(twice, found, atol=1e-4)
