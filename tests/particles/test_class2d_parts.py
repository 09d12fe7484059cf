"""The parts of 2D classification: turning, adding up, filtering, upkeep."""

import math

import pytest
import torch

from scherzer.fourier.grids import centred_irfft2, centred_rfft2, real_radius
from scherzer.likelihood.band import make_band
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import prepare
from scherzer.likelihood.search import shift_grid
from scherzer.particles.class_assignment import FINER, Assignment, assign, refine_best
from scherzer.particles.class_averages import (
    ClassSums,
    add_particles,
    circular_mask,
    make_averages,
    reached_shell,
    ring_correlation,
)
from scherzer.particles.class_misfit import unexplained_power
from scherzer.particles.class_noise import residual_noise
from scherzer.particles.class_upkeep import mass_centre, split_populous
from scherzer.particles.image_rotation import even_angles, rotated_band, turned_back
from scherzer.physics.optics import Optics

BOX = 32
SPOTS = torch.tensor([[5.0, 1.0], [-4.0, 3.0], [0.0, -6.0], [1.5, 2.0]])
SIGMA = 1.3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spots(psi: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    """Gaussian spots, turned as an image of that psi would show them, then moved; analytic."""
    at = turned_back(SPOTS, torch.full((len(SPOTS),), psi)) + torch.tensor(shift)
    side = torch.arange(BOX) - BOX // 2
    square = (side[None, None, :] - at[:, 0, None, None]) ** 2 + (side[None, :, None] - at[:, 1, None, None]) ** 2
    return torch.exp(-square / (2 * SIGMA**2)).sum(0)


def focused(images: torch.Tensor, half: torch.Tensor | None = None) -> ParticleSet:
    """Particles whose CTF is 1 everywhere."""
    n = len(images)
    ctf = Optics(3.0, 300.0, 0.0, 1.0).ctf_parameters(0.0, 0.0)[torch.zeros(n, dtype=torch.int64)]
    half = torch.arange(n) % 2 + 1 if half is None else half
    return ParticleSet.from_images(images, ctf, 3.0, torch.zeros(n, dtype=torch.int64), half)


def test_what_is_no_particle_does_not_pass_for_noise() -> None:
    clean = torch.randn(200, BOX, BOX, generator=generator(4))
    edges = 8 * (real_radius(BOX, 2) < 9) * (torch.arange(BOX) > 14)
    mixed = focused(torch.cat([clean, clean[:40] + edges]))
    band = make_band(BOX, 10.0)
    count = len(mixed)
    nowhere = torch.zeros((count, 1), dtype=torch.int64)
    nothing = Assignment(nowhere, nowhere, torch.zeros(count, 1, 2), torch.zeros(count, 1), torch.zeros(count))
    before = torch.full((BOX // 2 + 1,), 7.0)
    found = residual_noise(mixed, before, nothing, torch.zeros(2, 1, 1, len(band), dtype=torch.complex64), band)
    assert torch.allclose(found[1:10], torch.tensor(float(BOX**2)), rtol=0.1)
    assert torch.equal(found[11:], before[11:])


def test_rendering_agrees_with_the_analytic_image() -> None:
    band = make_band(BOX, 14.0)
    psi = torch.tensor([0.0, 0.4, 2.0, -1.1])
    found = rotated_band(band, psi).render(spots()[None])[0]
    expected = torch.stack([band.take(centred_rfft2(spots(float(angle)))) for angle in psi])
    assert (found - expected).norm() < 0.02 * expected.norm()  # bilinear interpolation, twofold padding


def test_adding_up_is_the_adjoint_of_rendering() -> None:
    rotated = rotated_band(make_band(BOX, 11.0), even_angles(7))
    images = torch.randn(3, BOX, BOX, generator=generator())
    values = torch.randn(3, 7, len(make_band(BOX, 11.0)), dtype=torch.complex64, generator=generator(1))
    left = (rotated.render(images).conj() * values).real.sum()
    right = (images * rotated.add_up(values)).sum()
    assert torch.isclose(left, right, rtol=1e-4)


def test_turned_and_moved_particles_add_up_to_their_average() -> None:
    angles = even_angles(24)
    numbers = torch.randint(24, (40,), generator=generator())
    moves = (torch.rand(40, 2, generator=generator(1)) - 0.5) * 6
    images = torch.stack(
        [spots(float(angles[i]), (float(t[0]), float(t[1]))) for i, t in zip(numbers, moves, strict=True)]
    )
    particles = focused(images)
    band = make_band(BOX, BOX / 2 - 1)
    sums = add_particles(
        prepare(particles, band, torch.ones(BOX // 2 + 2)), particles.half, torch.zeros(40, 1, dtype=torch.int64),
        numbers[:, None], moves[:, None], torch.ones(40, 1), 1, rotated_band(band, angles),
    )  # fmt: skip
    averages = make_averages(sums, 22.0, 1.0, 15.0)
    inside = real_radius(BOX, 2) < 10
    found, expected = averages.joined[0][inside], spots()[inside]
    assert float(torch.corrcoef(torch.stack((found, expected)))[0, 1]) > 0.99
    assert abs(float((found - found.mean()).norm() / (expected - expected.mean()).norm()) - 1) < 0.1
    assert sums.weight.tolist() == [[20.0], [20.0]]


def test_halves_of_noise_do_not_correlate_and_leave_no_average() -> None:
    particles = focused(torch.randn(200, BOX, BOX, generator=generator()))
    band = make_band(BOX, BOX / 2 - 1)
    classes = torch.arange(200)[:, None] // 25
    sums = add_particles(
        prepare(particles, band, torch.full((BOX // 2 + 2,), float(BOX**2))), particles.half, classes,
        torch.zeros_like(classes), torch.zeros(200, 1, 2), torch.ones(200, 1), 8, rotated_band(band, even_angles(1)),
    )  # fmt: skip
    averages = make_averages(sums, 20.0, 2.0, 15.0)
    assert abs(float(averages.correlation[:, 3:].mean())) < 0.12
    assert float(averages.joined.square().mean()) < 0.35 / 25  # a plain average of 25 has 1 / 25 inside the mask
    assert float(averages.resolution_A(3.0).median()) > 24


def test_a_short_dip_does_not_end_the_resolution() -> None:
    curve = torch.tensor([1.0, 1, 0.9, 0.2, 0.3, 0.9, 0.8, 0.7, 0.3, 0.1, 0.0, 0.1, 0.0])
    assert reached_shell(curve, 0.5, 1) == pytest.approx(7.5)
    assert reached_shell(curve * 0.3, 0.5, 2) == 2
    assert reached_shell(torch.ones(10), 0.5, 1) == 9


def test_ring_correlation_of_equal_and_opposite_images() -> None:
    transform = centred_rfft2(torch.randn(BOX, BOX, generator=generator()))
    assert torch.allclose(ring_correlation(transform, transform)[1:], torch.ones(BOX // 2, dtype=torch.float64))
    assert torch.allclose(ring_correlation(transform, -transform)[1:], -torch.ones(BOX // 2, dtype=torch.float64))


def test_moving_sums_moves_averages_and_mass_centre_sees_it() -> None:
    signal = centred_rfft2(spots())[None, None].expand(2, 2, -1, -1)
    sums = ClassSums(signal, torch.ones(2, 2, BOX // 2 + 1), torch.ones(2, 2))
    moved = centred_irfft2(sums.moved(torch.tensor([[0.0, 0.0], [2.0, -1.0]])).signal[0])
    found = mass_centre(moved, 24.0)
    assert torch.allclose(found[1] - found[0], torch.tensor([2.0, -1.0]), atol=0.15)
    assert torch.allclose(found[0], SPOTS.mean(0), atol=0.15)


def assigned(noise: float) -> tuple[Assignment, Assignment, torch.Tensor, torch.Tensor]:
    """Coarse and fine assignment of spots at known angles and shifts to themselves, with angles and shifts."""
    n, count = 40, 18
    psi = torch.rand(n, generator=generator()) * 2 * math.pi
    moves = (torch.rand(n, 2, generator=generator(1)) - 0.5) * 3
    clean = torch.stack([spots(float(a), (float(t[0]), float(t[1]))) for a, t in zip(psi, moves, strict=True)])
    particles = focused(clean + noise * torch.randn(n, BOX, BOX, generator=generator(2)))
    band = make_band(BOX, 9.0)
    images = prepare(particles, band, torch.full((BOX // 2 + 2,), (noise * BOX) ** 2))
    averages = torch.stack((spots(), spots().flip(1)))
    shifts = shift_grid(3.0, 1.0)
    coarse, fine = (torch.stack([rotated_band(band, even_angles(k * count)).render(averages)] * 2) for k in (1, FINER))
    found = assign(images, particles.half, coarse, shifts, shift_sigma_px=2.0)
    return found, refine_best(images, particles.half, fine, found, 1.0, 2.0), psi, moves


def test_fine_search_is_nearer_to_the_truth() -> None:
    coarse, fine, psi, moves = assigned(0.3)
    assert (coarse.classes[:, 0] == 0).all()

    def error(found: Assignment, count: int) -> tuple[float, float]:
        turn = found.angles[:, 0] * (2 * math.pi / count) - psi
        turn = torch.remainder(turn + math.pi, 2 * math.pi) - math.pi
        return float(turn.square().mean().sqrt()), float((found.shift_px[:, 0] - moves).norm(dim=1).mean())

    before, after = error(coarse, 18), error(fine, 18 * FINER)
    assert after[0] < 0.6 * before[0]
    assert after[1] < 0.6 * before[1]
    assert (fine.score >= coarse.score - 0.01).all()


def test_evidence_of_noise_is_small_and_weights_are_probabilities() -> None:
    found, _, _, _ = assigned(0.3)
    assert float(found.weight.sum(1).min()) > 0.99
    assert float(found.weight.sum(1).max()) <= 1 + 1e-5
    particles = focused(torch.randn(40, BOX, BOX, generator=generator(3)))
    band = make_band(BOX, 9.0)
    images = prepare(particles, band, torch.full((BOX // 2 + 2,), float(BOX**2)))
    references = torch.stack([rotated_band(band, even_angles(18)).render(spots()[None] / 0.3)] * 2)
    noise = assign(images, particles.half, references, shift_grid(3.0, 1.0), shift_sigma_px=2.0)
    assert float(noise.weight.sum(1).mean()) < 0.05


def test_empty_classes_get_half_of_the_most_populous() -> None:
    classes = torch.tensor([0] * 60 + [1] * 20)[:, None].repeat(1, 2)
    start = Assignment(classes, classes, torch.zeros(80, 2, 2), torch.full((80, 2), 0.5), torch.zeros(80))
    after, reseeded = split_populous(start, 3, generator())
    counts = torch.bincount(after.classes[:, 0], minlength=3).tolist()
    assert reseeded.tolist() == [False, False, True]
    assert counts[1] == 20
    assert 15 < counts[2] < 45
    assert (after.classes[:, 0] == after.classes[:, 1]).all()


def test_what_lies_over_a_particle_is_unexplained_and_noise_is_not_held_against_it() -> None:
    n = 24
    images = spots().expand(n, -1, -1) + 0.5 * torch.randn(n, BOX, BOX, generator=generator(3))
    images[:4] += 3 * spots(1.0, (4.0, 2.0))
    images[4:8, :3, :3] += 2.0  # outside of the disc
    particles = focused(images)
    band = make_band(BOX, 14.0)
    noise = torch.full((BOX // 2 + 1,), (0.5 * BOX) ** 2)
    references = rotated_band(band, even_angles(1)).render(spots()[None])[None].expand(2, -1, -1, -1)
    zero = torch.zeros((n, 1), dtype=torch.int64)
    found = Assignment(zero, zero, torch.zeros(n, 1, 2), torch.ones(n, 1), torch.zeros(n))
    power = unexplained_power(particles, noise, found, references, band, 20.0)
    clean = power[8:].median()
    assert (power[:4] > 4 * clean).all()
    assert (power[4:] < 2 * clean).all()
    # The pixels to 20 A of white noise hold this share of its power in the disc.
    share = 2 * len(band.within(BOX * 3.0 / 20.0)) / BOX**2
    assert float(clean) == pytest.approx(share * float(circular_mask(BOX, 20.0).square().sum()), rel=0.25)
