"""Parts of the contrast room: whitening, measurements, meaning of the classes, scores, fitting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from scherzer.micrographs.contrast.blobs import BLOBS_A, STATISTICS, blob_statistics
from scherzer.micrographs.contrast.ensemble import Combination, combine, estimate_patches
from scherzer.micrographs.contrast.logistic import fit_logistic
from scherzer.micrographs.contrast.measurements import CtfNumbers, measure
from scherzer.micrographs.contrast.network import PATCH_PX, cut_patches, ring_spectrum, with_denoised
from scherzer.micrographs.contrast.scores import auroc, expected_calibration_error, score
from scherzer.micrographs.contrast.training import TrainingSettings, estimate_loss, fit_combination, fit_network
from scherzer.micrographs.contrast.visibility import (
    GOOD_FROM,
    LABELS,
    MODERATE_FROM,
    class_probabilities,
    label_of,
)
from scherzer.micrographs.contrast.whitening import WORKING_PIXEL_A, tile_spectrum, whiten
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import Optics


def noise(side: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((side, side), dtype=np.float32))


@pytest.mark.parametrize(("pixel_size_A", "side"), [(0.5, 2048), (0.86, 1400), (1.6, 768), (3.1, 500)])
def test_whitened_noise_has_variance_one_at_any_pixel_size_and_grey_level(pixel_size_A: float, side: int) -> None:
    image = 250 + 17 * noise(side)
    spectrum = tile_spectrum(image, pixel_size_A)
    assert spectrum.noise_floor() == pytest.approx(17**2, rel=0.05)
    found = whiten(image, pixel_size_A, spectrum).values
    assert found.shape[0] == pytest.approx(side * pixel_size_A / WORKING_PIXEL_A, abs=2)
    assert float(found.var()) == pytest.approx(1.0, rel=0.1)


def test_a_wave_keeps_its_height_in_units_of_the_noise() -> None:
    side, pixel_size_A, sigma = 1000, 1.0, 5.0
    x = torch.arange(side) * pixel_size_A
    wave = 0.3 * sigma * torch.cos(2 * torch.pi * x / 100.0).expand(side, side)
    image = sigma * noise(side) + wave
    found = whiten(image, pixel_size_A, tile_spectrum(image, pixel_size_A)).values
    expected = torch.cos(2 * torch.pi * torch.arange(found.shape[1]) * (1000 / found.shape[1]) / 100.0)
    amplitude = 2 * float((found.mean(0) * expected).mean())
    # The noise of one 8 A pixel is an eighth of that of one 1 A pixel.
    assert amplitude == pytest.approx(0.3 * WORKING_PIXEL_A / pixel_size_A, rel=0.05)


def test_an_image_without_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="varying"):
        measure(torch.ones(200, 200), Optics(1.0, 300.0, 2.7, 0.07))


def filtered(image: Tensor, transfer: Tensor) -> Tensor:
    return torch.fft.irfft2(torch.fft.rfft2(image) * transfer, s=image.shape)


def grid(side: int, pixel_size_A: float) -> tuple[Tensor, Tensor]:
    ky = torch.fft.fftfreq(side, pixel_size_A)[:, None]
    kx = torch.arange(side // 2 + 1)[None, :] / (side * pixel_size_A)
    return torch.broadcast_tensors(kx, ky)


def test_noise_measures_as_empty() -> None:
    found = measure(noise(1024), Optics(1.0, 300.0, 2.7, 0.07))
    assert abs(found.particle_band_power) < 0.06
    assert found.empty_fraction == 1.0
    assert found.band_ratio == pytest.approx(1.0, abs=0.06)
    assert found.ice.ring == pytest.approx(1.0, abs=0.03)
    assert math.isnan(found.thon_amplitude)


def test_rings_are_measured_in_units_of_the_noise() -> None:
    optics = Optics(1.2, 300.0, 2.7, 0.07)
    kx, ky = grid(1024, 1.2)
    modulation = ctf(optics.ctf_parameters(12000.0, 12000.0), kx, ky)[0]
    for height in (0.0, 0.5, 2.0):
        image = noise(1024, 1) + filtered(noise(1024, 2), height**0.5 * modulation)
        numbers = CtfNumbers(12000.0, 0.0, 4.0, 0.5, 0.0)
        found = measure(image, optics, numbers).thon_amplitude
        # Constant rings against a model that lets them fade: the fit takes more than their height.
        assert (abs(found) < 0.1) if height == 0 else (0.8 < found / height < 3.5)


def test_smearing_is_seen_as_directional_loss() -> None:
    kx, ky = grid(1024, 1.5)
    body = 6 * torch.exp(-(kx**2 + ky**2) * 60.0**2)
    sound = noise(1024, 1) + filtered(noise(1024, 2), body)
    smeared = noise(1024, 1) + filtered(noise(1024, 2), body * torch.sinc(300.0 * (0.6 * kx + 0.8 * ky)))
    optics = Optics(1.5, 300.0, 2.7, 0.07)
    assert measure(sound, optics).directional_loss < 0.3
    assert measure(smeared, optics).directional_loss > 0.7


def test_an_edge_is_not_smearing() -> None:
    kx, ky = grid(1024, 1.5)
    body = filtered(noise(1024, 2), 4 * torch.exp(-(kx**2 + ky**2) * 60.0**2))
    x = (torch.arange(1024) - 512) * 1.5
    across = x[None, :] * 0.8 + x[:, None] * 0.6
    # A dark rim with a light fringe, as of a hole or a support.
    rim = torch.exp(-((across / 30) ** 2)) - torch.exp(-(((across - 50) / 30) ** 2))
    found = measure(noise(1024, 1) + body + 3 * rim, Optics(1.5, 300.0, 2.7, 0.07))
    assert found.directional_loss < 0.4
    assert found.areas.edge_fraction > 0.1


def test_skewness_away_from_light_edges_is_that_of_the_particles() -> None:
    spots = torch.zeros(1024, 1024)
    places = torch.from_numpy(np.random.default_rng(1).integers(60, 960, (40, 2)))
    spots[places[:, 0], places[:, 1]] = -400.0
    spots[:, 20] = 60.0
    kx, ky = grid(1024, 1.5)
    blur = torch.exp(-2 * (torch.pi * 25.0) ** 2 * (kx**2 + ky**2))
    found = measure(noise(1024, 1) + filtered(spots, blur), Optics(1.5, 300.0, 2.7, 0.07))
    assert found.clear_skewness < -3 * found.skewness_error < 0
    assert found.clear_skewness < found.skewness - 0.1


def test_classes_and_their_probabilities_agree() -> None:
    values = torch.tensor([GOOD_FROM * 1.1, (GOOD_FROM * MODERATE_FROM) ** 0.5, MODERATE_FROM / 1.1])
    found = class_probabilities(values.log(), torch.full((3,), 0.03))
    assert [LABELS[index] for index in found.argmax(1)] == [label_of(float(v)) for v in values] == list(LABELS)
    assert torch.allclose(found.sum(1), torch.ones(3))
    wide = class_probabilities(torch.tensor([GOOD_FROM]).log(), torch.tensor([0.1]))
    assert float(wide[0, 0]) == pytest.approx(0.5, abs=1e-4)


def test_patches_cover_the_image() -> None:
    values = torch.arange(200 * 130, dtype=torch.float32).reshape(200, 130)
    patches = cut_patches(values)
    assert patches.shape[1:] == (PATCH_PX, PATCH_PX)
    assert set(patches.flatten().tolist()) == set(values.flatten().tolist())
    assert cut_patches(torch.rand(20, 60)).shape == (1, PATCH_PX, PATCH_PX)


def test_the_ring_spectrum_of_noise_is_flat_and_even_and_does_not_turn_with_the_patch() -> None:
    patches = torch.stack([noise(PATCH_PX, seed) for seed in range(40)])
    rings, harmonics = ring_spectrum(patches).chunk(2, 1)
    assert torch.allclose(rings.exp().mean(0), torch.ones(rings.shape[1]), atol=0.25)
    assert float(harmonics[:, 4:].mean()) < 0.25
    turned = ring_spectrum(torch.rot90(patches, 1, (1, 2)).flip(1))
    # Half of the plane stands for the whole, whose axes it counts unevenly.
    assert float((turned - ring_spectrum(patches)).abs().mean()) < 0.05
    assert float((ring_spectrum(patches.roll(1, 0)) - ring_spectrum(patches)).abs().mean()) > 0.1


def test_smearing_shows_in_the_ring_spectrum() -> None:
    kx, _ = grid(PATCH_PX, WORKING_PIXEL_A)
    smeared = torch.stack([filtered(noise(PATCH_PX, seed), torch.sinc(100.0 * kx)) for seed in range(10)])
    _, harmonics = ring_spectrum(smeared).chunk(2, 1)
    assert float(harmonics[:, 6:].mean()) > 0.4


def test_blobs_in_noise_are_scored_in_standard_deviations() -> None:
    patches = torch.stack([noise(PATCH_PX, seed) for seed in range(20)])
    of_noise = blob_statistics(patches).unflatten(1, (len(BLOBS_A), STATISTICS)).mean(0)
    assert torch.allclose(of_noise[1:, 0].exp(), torch.ones(len(BLOBS_A) - 1), atol=0.15)
    size, wanted = BLOBS_A.index(65.0), 14.0
    kx, ky = grid(PATCH_PX, WORKING_PIXEL_A)
    k2 = kx**2 + ky**2
    blob = torch.exp(-2 * (0.75 * 65.0) ** 2 * k2) - torch.exp(-2 * (1.6 * 65.0) ** 2 * k2)
    shape = torch.fft.irfft2(blob, s=(PATCH_PX, PATCH_PX))
    # What a matched filter gives is the length of the signal, in white noise of unit variance.
    shape = shape * (wanted / float(shape.norm()))
    dark = patches - sum(shape.roll((y, x), (0, 1)) for y in (30, 64, 98) for x in (30, 64, 98))
    found = blob_statistics(dark).unflatten(1, (len(BLOBS_A), STATISTICS)).mean(0)
    assert float(found[size, 1]) == pytest.approx(wanted, rel=0.12)
    assert int(found[:, 1].argmax()) == size
    assert torch.allclose(found[size, 9:11], of_noise[size, 9:11], atol=1.5)


def test_without_denoising_the_network_sees_the_patch_alone() -> None:
    patches = torch.stack([noise(PATCH_PX, seed) for seed in range(3)])
    plain, both = with_denoised(patches, denoise=False), with_denoised(patches)
    assert torch.equal(plain[:, 0], both[:, 0])
    assert float(plain[:, 1].abs().max()) == 0 < float(both[:, 1].std()) < 0.3 * float(patches.std())


def test_scores_of_a_known_case() -> None:
    assert auroc(torch.tensor([0.9, 0.8, 0.7, 0.1]), torch.tensor([True, False, True, False])) == 0.75
    probabilities = torch.tensor([[0.8, 0.2, 0.0]] * 5)
    classes = torch.tensor([0, 0, 0, 0, 1])
    assert expected_calibration_error(probabilities, classes) == pytest.approx(0.0, abs=1e-6)
    assert expected_calibration_error(probabilities, torch.ones(5, dtype=torch.int64)) == pytest.approx(0.8, abs=1e-6)
    found = score(probabilities, classes)
    assert found.accuracy == 0.8
    assert found.confusion[1] == (1, 0, 0)


def test_the_logistic_rival_learns_and_takes_missing_numbers() -> None:
    rng = np.random.default_rng(1)
    features = torch.from_numpy(rng.normal(size=(300, 3))).float()
    classes = (features[:, 0] > -0.4).long() + (features[:, 0] > 0.4).long()
    features[::7, 1] = math.nan
    found = fit_logistic(features, classes).probabilities(features)
    assert bool(torch.isfinite(found).all())
    assert score(found, classes).accuracy > 0.93


def test_disagreement_between_members_widens_the_error() -> None:
    combination = Combination(torch.tensor([0.5, 0.5]), 1.0, 0.0)
    _, agreed = combine(torch.tensor([[2.8, 2.8]]), torch.tensor([[0.1, 0.1]]), combination)
    _, apart = combine(torch.tensor([[2.6, 3.0]]), torch.tensor([[0.1, 0.1]]), combination)
    assert float(apart) > 2 * float(agreed)


def test_a_network_learns_the_size_of_the_signal_and_is_repeatable() -> None:
    rng = np.random.default_rng(3)
    truth = torch.from_numpy(rng.uniform(1.4, 2.8, 60)).float()
    kx, ky = grid(144, WORKING_PIXEL_A)
    blur = 6 * torch.exp(-(kx**2 + ky**2) * 80.0**2)
    images = torch.stack(
        [noise(144, i) + filtered(noise(144, 1000 + i), blur * float(v - 1.2)) for i, v in enumerate(truth)]
    )
    settings = TrainingSettings(steps=60, batch=16)
    first = fit_network(images[:50], truth[:50], settings, 7)
    second = fit_network(images[:50], truth[:50], settings, 7)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    estimates = [estimate_patches([first], image) for image in images[50:]]
    means = torch.stack([pair[0] for pair in estimates])
    assert float(torch.corrcoef(torch.stack([means[:, 0], truth[50:]]))[0, 1]) > 0.9


def test_patch_that_tells_nothing_does_not_lead_the_fit() -> None:
    def pull(error: float) -> float:
        mean = torch.zeros(1, requires_grad=True)
        estimate_loss(mean, torch.tensor([-1.5]), torch.tensor([error])).backward()
        return float(-mean.grad)

    assert 0 < pull(0.05) < pull(0.1)
    assert pull(2.0) < 1.5 * pull(0.15)


def test_the_combination_finds_an_honest_spread() -> None:
    rng = np.random.default_rng(5)
    truth = torch.from_numpy(rng.uniform(2.2, 3.4, 400)).float()
    means = truth[:, None] + torch.from_numpy(rng.normal(0, [0.1, 0.3], (400, 2))).float()
    found = fit_combination(means, torch.full((400, 2), 0.02), truth)
    assert float(found.weights[0]) > 0.8
    mean, spread = combine(means, torch.full((400, 2), 0.02), found)
    covered = ((mean - truth).abs() <= 1.645 * spread).float().mean()
    assert float(covered) == pytest.approx(0.9, abs=0.05)
