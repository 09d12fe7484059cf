"""Classification recovers known views, centres them, finds junk, and does not collapse on a round particle."""

import math
from functools import lru_cache
from itertools import pairwise

import pytest
import torch

from scherzer.fourier.crop import even_fast_length
from scherzer.fourier.grids import centred_irfft2, real_radius
from scherzer.fourier.shifts import phase_ramp
from scherzer.likelihood.band import make_band
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import band_ctf
from scherzer.particles.class_selection import select_classes
from scherzer.particles.classification2d import (
    Class2DResult,
    Class2DSettings,
    classify2d,
    number_of_classes,
    schedule,
    with_two_halves,
)
from scherzer.particles.image_rotation import rotated_band
from scherzer.physics.ctf import CtfParameters
from scherzer.physics.optics import Optics

BOX, PIXEL_A, DIAMETER_A = 40, 4.0, 100.0
SETTINGS = Class2DSettings(class_count=6, nyquist_A=8.0, growing_rounds=8, full_rounds=4, finest_A=12.0)
JUNK = -1


def views(count: int) -> torch.Tensor:
    """Discs with unlike spots, each with its mass at the centre: ``(count, BOX, BOX)``."""
    disc = torch.sigmoid(9.0 - real_radius(BOX, 2))
    generator = torch.Generator().manual_seed(11)
    side = torch.arange(BOX) - BOX // 2
    images = []
    for _ in range(count):
        at = (torch.rand(7, 2, generator=generator) - 0.5) * 16
        at = at - at.mean(0)
        square = (side[None, None, :] - at[:, :1, None]) ** 2 + (side[None, :, None] - at[:, 1:, None]) ** 2
        images.append(torch.exp(-square / (2 * 2.0**2)).sum(0) + 0.4 * disc)
    return torch.stack(images)


def ring() -> torch.Tensor:
    """A round shell as apo-ferritin's at low resolution: ``(1, BOX, BOX)``."""
    radius = real_radius(BOX, 2)
    return torch.exp(-((radius - 9.0) ** 2) / (2 * 2.0**2))[None] + 0.4 * (radius < 9)


def particles_of(
    images: torch.Tensor, count: int, junk: int, snr: float, seed: int, shift_px: float = 1.2
) -> tuple[ParticleSet, torch.Tensor, torch.Tensor]:
    """Turned, moved, imaged and noisy copies, and pure noise; with the view and the shift in px of each."""
    generator = torch.Generator().manual_seed(seed)
    total = count + junk
    band = make_band(BOX, BOX / 2 - 1)
    view = torch.randint(len(images), (total,), generator=generator)
    psi = torch.rand(total, generator=generator) * 2 * math.pi
    shifts = torch.randn(total, 2, generator=generator) * shift_px
    signal = torch.stack([rotated_band(band, psi[i : i + 1]).render(images[view[i]][None])[0, 0] for i in range(total)])
    one = Optics(PIXEL_A, 300.0, 2.7, 0.1).ctf_parameters(0.0, 0.0)[torch.zeros(total, dtype=torch.int64)]
    micrograph = torch.arange(total) % 10
    defocus_A = 10000.0 + 1500.0 * micrograph
    ctf = CtfParameters(
        defocus_A, defocus_A, one.defocus_angle_rad, one.phase_shift_rad, one.wavelength_A, one.cs_A,
        one.amplitude_contrast,
    )  # fmt: skip
    half = micrograph % 2 + 1
    empty = ParticleSet(torch.zeros(total, BOX, BOX // 2 + 1, dtype=torch.complex64), ctf, PIXEL_A, micrograph, half)
    signal = signal * band_ctf(empty, band) * phase_ramp(shifts / BOX, band.kx, band.ky)
    clean = centred_irfft2(band.put(signal))
    clean = clean / clean[:, real_radius(BOX, 2) < DIAMETER_A / 2 / PIXEL_A].std() * math.sqrt(snr)
    clean[count:] = 0
    view[count:] = JUNK
    noisy = clean + torch.randn(clean.shape, generator=generator)
    return ParticleSet.from_images(noisy, ctf, PIXEL_A, micrograph, half), view, shifts


def purity(classes: torch.Tensor, truth: torch.Tensor) -> float:
    """Share of the particles that are of their class's commonest view."""
    right = sum(int(torch.bincount(truth[classes == k]).max()) for k in classes.unique())
    return right / len(truth)


def adjusted_rand_index(first: torch.Tensor, second: torch.Tensor) -> float:
    """Hubert and Arabie 1985: 1 for the same partition, 0 on average for chance."""
    table = torch.zeros(int(first.max()) + 1, int(second.max()) + 1, dtype=torch.float64)
    table.index_put_((first, second), torch.ones(len(first), dtype=torch.float64), accumulate=True)

    def pairs(counts: torch.Tensor) -> float:
        return float((counts * (counts - 1) / 2).sum())

    rows, columns, cells = pairs(table.sum(1)), pairs(table.sum(0)), pairs(table)
    chance = rows * columns / pairs(table.sum()[None])
    return (cells - chance) / ((rows + columns) / 2 - chance)


@lru_cache(maxsize=1)
def classified() -> tuple[ParticleSet, torch.Tensor, torch.Tensor, Class2DResult]:
    particles, view, shifts = particles_of(views(4), 300, 100, snr=0.3, seed=3)
    return particles, view, shifts, classify2d(particles, DIAMETER_A, SETTINGS)


def test_known_views_are_told_apart() -> None:
    _, view, _, result = classified()
    real = view != JUNK
    assert purity(result.class_index[real], view[real]) > 0.95
    assert adjusted_rand_index(result.class_index[real], view[real]) > 0.7


def test_junk_is_found_and_its_classes_are_not_kept() -> None:
    _, view, _, result = classified()
    real = view != JUNK
    assert float((result.noise_probability[~real] > 0.5).float().mean()) > 0.9
    assert float((result.noise_probability[real] > 0.5).float().mean()) < 0.02
    selection = select_classes(result, DIAMETER_A, result.pixel_size_A)
    kept = selection.keep[result.class_index] & (result.noise_probability < 0.5)
    assert float(real[kept].float().mean()) > 0.97
    assert float((real & ~kept).sum() / real.sum()) < 0.05


def test_particles_are_centred() -> None:
    _, view, shifts, result = classified()
    real = view != JUNK
    error_A = (result.shift_A - shifts * PIXEL_A)[real].norm(dim=1)
    assert float(error_A.median()) < 3.0  # three quarters of a pixel; the shifts are 5 A rms along each axis
    assert float(error_A.square().mean().sqrt()) < 5.0


def test_angles_explain_the_images() -> None:
    """Turning and moving each average by what was found correlates with its particles as it should."""
    particles, view, _, result = classified()
    index = torch.nonzero(view != JUNK).flatten()[:60]
    small = particles[index].resized(result.averages.shape[-1])
    band = make_band(small.box, 10.0)
    found = torch.stack(
        [
            rotated_band(band, result.psi_rad[i : i + 1]).render(result.averages[result.class_index[i]][None])[0, 0]
            for i in index
        ]
    )
    moved = phase_ramp(result.shift_A[index] / small.extent_A, band.kx, band.ky)
    model, image = found * moved * band_ctf(small, band), band.take(small.spectra())

    def correlation(a: torch.Tensor) -> float:
        return float(((a.conj() * image).real.sum(1) / (a.norm(dim=1) * image.norm(dim=1))).mean())

    assert correlation(model) > 0.5
    assert correlation(model) > 2 * correlation(found * moved.conj() * band_ctf(small, band))


def test_same_seed_same_result_and_another_seed_another() -> None:
    particles, _, _ = particles_of(views(3), 120, 0, snr=0.3, seed=5)
    settings = Class2DSettings(class_count=3, nyquist_A=8.0, growing_rounds=3, full_rounds=2)
    first, second = (classify2d(particles, DIAMETER_A, settings) for _ in range(2))
    assert torch.equal(first.averages, second.averages)
    assert torch.equal(first.class_index, second.class_index)
    assert torch.equal(first.shift_A, second.shift_A)
    other = classify2d(particles, DIAMETER_A, Class2DSettings(**{**settings.__dict__, "seed": 1}))
    assert not torch.equal(first.class_index, other.class_index)


def test_a_round_particle_does_not_collapse() -> None:
    particles, _, _ = particles_of(ring(), 300, 0, snr=0.2, seed=7, shift_px=2.0)
    result = classify2d(particles, DIAMETER_A, SETTINGS)
    assert int((result.population > 0).sum()) >= 5
    selection = select_classes(result, DIAMETER_A, result.pixel_size_A)
    assert float(selection.keep[result.class_index].float().mean()) > 0.9
    radius = real_radius(result.averages.shape[-1], 2) * result.pixel_size_A
    for average in result.averages[selection.keep]:
        rim = average[(radius > 28) & (radius < 44)]
        assert rim.mean() > average[radius < 12].mean()
        assert rim.mean() > 3 * average[radius > 60].mean().abs()
        # off-centre twins: no side of the ring is missing
        side = torch.arange(len(average)) - len(average) // 2
        sums = torch.stack(
            [average[:, side < 0].sum(), average[:, side > 0].sum(), average[side < 0].sum(), average[side > 0].sum()]
        )
        assert sums.min() > 0.6 * sums.max()


def test_shapes_pixel_and_progress() -> None:
    particles, _, _, result = classified()
    n, box = len(particles), even_fast_length(2 * particles.extent_A / SETTINGS.nyquist_A)
    assert result.averages.shape == (6, box, box)
    assert result.pixel_size_A == pytest.approx(particles.extent_A / box)
    assert result.shift_A.shape == (n, 2)
    assert int(result.population.sum()) == n - int(result.is_noise.sum())
    assert ((result.probability >= 0) & (result.probability <= 1 + 1e-5)).all()
    told: list[float] = []
    small, _, _ = particles_of(views(2), 60, 0, snr=0.5, seed=9)
    classify2d(small, DIAMETER_A, Class2DSettings(growing_rounds=1, full_rounds=1), lambda part, _: told.append(part))
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_number_of_classes_follows_the_particles() -> None:
    settings = Class2DSettings()
    assert [number_of_classes(n, settings) for n in (20, 300, 1000, 3000, 12000)] == [1, 10, 20, 30, 60]


def test_schedule_ends_on_all_particles_at_the_finest_resolution() -> None:
    rounds = schedule(3000, 30, Class2DSettings())
    assert rounds[0].batch == 600
    assert rounds[0].resolution_A == pytest.approx(30)
    assert rounds[-1].batch == 3000
    assert rounds[-1].resolution_A == pytest.approx(8)
    assert rounds[-1].temperature == 1
    assert all(a.batch <= b.batch and a.resolution_A > b.resolution_A for a, b in pairwise(rounds))


def test_one_half_set_is_split_by_turns() -> None:
    particles, _, _ = particles_of(views(1), 40, 0, snr=0.5, seed=1)
    alone = ParticleSet(
        particles.transforms, particles.ctf, PIXEL_A, particles.micrograph, torch.ones(40, dtype=torch.int64)
    )
    assert torch.bincount(with_two_halves(alone).half).tolist() == [0, 20, 20]
    assert with_two_halves(particles) is particles


def test_impossible_input_is_refused() -> None:
    particles, _, _ = particles_of(views(1), 40, 0, snr=0.5, seed=1)
    with pytest.raises(ValueError, match="no particles"):
        classify2d(particles[torch.zeros(0, dtype=torch.int64)], DIAMETER_A)
    with pytest.raises(ValueError, match="not larger than the particle"):
        classify2d(particles, 170.0)
