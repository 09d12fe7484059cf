"""Picking against simulated micrographs whose truth is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from scherzer.particles.picking import Picks, PickSettings, pick_blobs
from scherzer.physics.ctf import CtfParameters, ctf
from scherzer.physics.optics import Optics

OPTICS = Optics(pixel_size_A=2.0, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1)
DIAMETER_A = 130.0


@dataclass(frozen=True)
class Simulated:
    image: Tensor
    truth: np.ndarray
    ctf: CtfParameters


def blurred_noise(rng: np.random.Generator, shape: tuple[int, int], gain: Tensor) -> Tensor:
    """White noise through a filter, standard deviation 1."""
    white = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    noise = torch.fft.irfft2(torch.fft.rfft2(white) * gain, s=shape)
    return noise / noise.std()


def positions(rng: np.random.Generator, shape: tuple[int, int], count: int, distance: float) -> np.ndarray:
    """Random (x, y) at least a distance apart."""
    found: list[np.ndarray] = []
    for candidate in rng.uniform((0, 0), (shape[1], shape[0]), size=(20_000, 2)):
        if len(found) == count:
            break
        if not found or np.min(np.sum((np.array(found) - candidate) ** 2, axis=1)) > distance**2:
            found.append(candidate)
    return np.array(found).reshape(-1, 2)


def simulate_micrograph(
    seed: int,
    count: int,
    *,
    snr: float = 0.05,
    defocus_A: float = 12_000.0,
    inner: float = 0.0,
    diameter_A: float = DIAMETER_A,
    shape: tuple[int, int] = (720, 800),
) -> Simulated:
    """Balls (``inner`` 0) or shells with uneven density in ice and detector noise, dark on a grey ground.

    ``snr`` is the variance of the signal, CTF included, inside the particles over that of the noise.
    """
    rng = np.random.default_rng(seed)
    pixel_A, radius = OPTICS.pixel_size_A, diameter_A / 2 / OPTICS.pixel_size_A
    truth = positions(rng, shape, count, 1.05 * 2 * radius)
    ky = torch.fft.fftfreq(shape[0], pixel_A)[:, None].expand(-1, shape[1] // 2 + 1)
    kx = torch.fft.rfftfreq(shape[1], pixel_A)[None].expand(shape[0], -1)
    k2 = kx**2 + ky**2
    parameters = OPTICS.ctf_parameters(defocus_A, defocus_A)
    transfer = ctf(parameters, kx, ky)[0] * torch.exp(-100 / 4 * k2)

    y, x = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    projection, inside = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    for centre_x, centre_y in truth.tolist():
        r2 = (x - centre_x) ** 2 + (y - centre_y) ** 2
        chord = (radius**2 - r2).clamp(min=0).sqrt() - ((inner * radius) ** 2 - r2).clamp(min=0).sqrt()
        projection += chord
        inside |= r2 < radius**2
    texture = blurred_noise(rng, shape, torch.exp(-2 * (math.pi * diameter_A / 16) ** 2 * k2))
    signal = torch.fft.irfft2(torch.fft.rfft2(projection * (1 + 0.3 * texture)) * transfer, s=shape)
    if count:
        signal = signal * math.sqrt(snr) / signal[inside].std()
    ice = blurred_noise(rng, shape, transfer)
    detector = blurred_noise(rng, shape, torch.ones_like(transfer))
    image = 100 - 7 * (signal + math.sqrt(0.3) * ice + math.sqrt(0.7) * detector)
    return Simulated(image, truth, parameters)


def compare(
    picks: Picks, truth: np.ndarray, shape: torch.Size, tolerance_px: float, edge_px: float
) -> dict[str, float]:
    """Recall and precision with picks and truth near the edge left out, and the offsets of the hits."""

    def inner(points: np.ndarray) -> np.ndarray:
        return np.all((points > edge_px) & (points < np.array([shape[1], shape[0]]) - 1 - edge_px), axis=1)

    found = torch.stack([picks.x_px, picks.y_px], dim=1).double().numpy()
    to_truth, nearest = cKDTree(truth).query(found)
    to_pick, _ = cKDTree(found).query(truth)
    offset = (found - truth[nearest])[to_truth < tolerance_px]
    return {
        "recall": float((to_pick[inner(truth)] < tolerance_px).mean()),
        "precision": float((to_truth[inner(found)] < tolerance_px).mean()),
        "rms_px": float(np.sqrt((offset**2).sum(1).mean())),
        "bias_px": float(np.abs(offset.mean(0)).max()),
    }


@pytest.mark.parametrize("inner", [0.0, 0.6], ids=["ball", "shell"])
@pytest.mark.parametrize(("snr", "defocus_A"), [(0.03, 6_000.0), (0.03, 25_000.0), (0.1, 12_000.0)])
def test_finds_particles_where_they_are(inner: float, snr: float, defocus_A: float) -> None:
    made = simulate_micrograph(1, 50, snr=snr, defocus_A=defocus_A, inner=inner)
    picks = pick_blobs(made.image, OPTICS, made.ctf, DIAMETER_A)
    result = compare(picks, made.truth, made.image.shape, tolerance_px=9, edge_px=20)
    assert result["recall"] >= 0.9
    assert result["precision"] >= 0.9
    assert result["rms_px"] < 3.0  # 6 A: the density is uneven, so the blob's own centre wanders
    assert result["bias_px"] < 0.7


def test_pure_noise_yields_next_to_nothing() -> None:
    counts = [
        len(pick_blobs(made.image, OPTICS, made.ctf, DIAMETER_A))
        for made in (simulate_micrograph(seed, 0, defocus_A=15_000.0) for seed in range(6))
    ]
    assert sum(counts) <= 6
    assert max(counts) <= 2


def test_finds_the_few_in_an_almost_empty_micrograph() -> None:
    made = simulate_micrograph(2, 6, snr=0.1)
    picks = pick_blobs(made.image, OPTICS, made.ctf, DIAMETER_A)
    result = compare(picks, made.truth, made.image.shape, tolerance_px=9, edge_px=20)
    assert result["recall"] == 1.0
    assert len(picks) <= 8


def test_leaves_ice_alone_and_finds_what_is_beside_it() -> None:
    made = simulate_micrograph(3, 45, snr=0.1)
    y, x = torch.meshgrid(torch.arange(720), torch.arange(800), indexing="ij")
    crystal = (x - 400) ** 2 + (y - 300) ** 2 < 60**2
    image = torch.where(crystal, made.image - 80.0, made.image)
    picks = pick_blobs(image, OPTICS, made.ctf, DIAMETER_A)
    assert not bool(((picks.x_px - 400) ** 2 + (picks.y_px - 300) ** 2 < 60**2).any())
    outside = made.truth[np.hypot(made.truth[:, 0] - 400, made.truth[:, 1] - 300) > 60 + 40]
    assert compare(picks, outside, image.shape, tolerance_px=9, edge_px=20)["recall"] >= 0.9


def test_looks_for_nothing_where_it_is_told_not_to() -> None:
    made = simulate_micrograph(3, 45, snr=0.1)
    # Strong texture, as of carbon, that would be taken for particles.
    texture = blurred_noise(np.random.default_rng(9), (720, 800), torch.ones(720, 401))
    texture = torch.nn.functional.avg_pool2d(texture[None, None], 31, 1, 15)[0, 0]
    carbon = torch.arange(800).expand(720, 800) < 320
    image = torch.where(carbon, made.image + 40 * texture / texture.std(), made.image)
    picks = pick_blobs(image, OPTICS, made.ctf, DIAMETER_A, left_out=carbon[::40, ::40])
    outside = made.truth[made.truth[:, 0] > 320 + 40]
    assert compare(picks, outside, image.shape, tolerance_px=9, edge_px=20)["recall"] >= 0.9
    assert not bool((picks.x_px < 320).any())


@pytest.mark.parametrize("wrong", [0.85, 1.15])
def test_forgives_a_wrong_diameter(wrong: float) -> None:
    made = simulate_micrograph(4, 50, snr=0.05)
    picks = pick_blobs(made.image, OPTICS, made.ctf, wrong * DIAMETER_A)
    result = compare(picks, made.truth, made.image.shape, tolerance_px=12, edge_px=30)
    assert result["recall"] >= 0.85
    assert result["precision"] >= 0.85


def test_does_without_a_ctf_and_with_any_grey_scale() -> None:
    made = simulate_micrograph(5, 50, snr=0.05)
    picks = pick_blobs(made.image, OPTICS, None, DIAMETER_A)
    assert compare(picks, made.truth, made.image.shape, tolerance_px=9, edge_px=20)["recall"] >= 0.9
    scaled = pick_blobs(made.image * 512 - 30_000, OPTICS, None, DIAMETER_A)
    assert len(scaled) == len(picks)
    torch.testing.assert_close(scaled.x_px, picks.x_px, atol=0.05, rtol=0)


def test_picks_keep_their_distance_and_come_best_first() -> None:
    made = simulate_micrograph(6, 60, snr=0.1)
    picks = pick_blobs(made.image, OPTICS, made.ctf, DIAMETER_A, PickSettings(min_distance_diameters=0.8))
    points = torch.stack([picks.x_px, picks.y_px], dim=1).double().numpy()
    nearest = cKDTree(points).query(points, k=2)[0][:, 1].min()
    assert nearest > 0.8 * DIAMETER_A / OPTICS.pixel_size_A - 4.6  # a fraction of a working pixel at either end
    assert bool((picks.score.diff() <= 0).all())


def test_the_same_micrograph_gives_the_same_picks() -> None:
    made = simulate_micrograph(7, 40, snr=0.05)
    torch.manual_seed(1)
    first = pick_blobs(made.image, OPTICS, made.ctf, DIAMETER_A)
    torch.manual_seed(2)
    second = pick_blobs(made.image, OPTICS, made.ctf, DIAMETER_A)
    assert torch.equal(first.x_px, second.x_px)
    assert torch.equal(first.score, second.score)


@pytest.mark.parametrize("diameter_A", [0.0, -5.0, 8.0, 900.0])
def test_refuses_a_diameter_that_cannot_be(diameter_A: float) -> None:
    with pytest.raises(ValueError, match="diameter"):
        pick_blobs(torch.randn(720, 800), OPTICS, None, diameter_A)


def test_a_constant_image_has_no_picks() -> None:
    assert len(pick_blobs(torch.full((300, 300), 7.0), OPTICS, None, DIAMETER_A)) == 0
