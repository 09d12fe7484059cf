"""Particle sets, noise spectra, priors, shift grids and blocks of work."""

import math
from dataclasses import replace

import pytest
import torch

from scherzer.fourier.grids import centred_irfft2
from scherzer.fourier.shifts import phase_ramp
from scherzer.likelihood.band import make_band
from scherzer.likelihood.noise import image_power, merge_noise, residual_power
from scherzer.likelihood.parallel import map_blocks
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import band_ctf, prepare
from scherzer.likelihood.search import reference_bank, search, shift_grid
from scherzer.physics.ctf import CtfParameters
from scherzer.physics.optics import Optics

BOX = 32


def particle_set(images: torch.Tensor) -> ParticleSet:
    count = len(images)
    one: CtfParameters = Optics(3.0, 300, 2.7, 0.1).ctf_parameters(10000, 10000)
    ctf = replace(one[torch.zeros(count, dtype=torch.int64)], defocus_u_A=10000 + 100.0 * torch.arange(count))
    return ParticleSet.from_images(images, ctf, 3.0, torch.arange(count) // 2, 1 + torch.arange(count) % 2)


def white(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, BOX, BOX, generator=torch.Generator().manual_seed(seed))


def test_indexing_takes_everything_of_a_particle() -> None:
    particles = particle_set(white(6))
    part = particles[torch.tensor([4, 1])]
    assert len(part) == 2
    assert torch.equal(part.spectra(), particles.spectra()[[4, 1]])
    assert part.ctf.defocus_u_A.tolist() == [10400, 10100]
    assert part.micrograph.tolist() == [2, 0]
    assert part.half.tolist() == [1, 2]
    assert (part.box, part.extent_A) == (BOX, 96.0)


def test_a_part_of_a_part_shares_its_images() -> None:
    particles = particle_set(white(6))
    part = particles[torch.tensor([5, 4, 1])][torch.tensor([2, 0])]
    assert torch.equal(part.spectra(), particles.spectra()[[1, 5]])
    assert part.transforms is particles.transforms
    assert torch.equal(part.resized(20).spectra(), particles.resized(20).spectra()[[1, 5]])
    assert torch.equal(part.to("cpu").spectra(), part.spectra())


def test_compact_images_lose_nothing_that_matters() -> None:
    """The error's power is far below a thousandth of a per cent of the noise's, for bright images, too."""
    particles = particle_set(1000 * white(600))
    small = particles[torch.arange(599, -1, -1)].compact()
    assert small.transforms.nbytes == particles.transforms.nbytes // 2
    error = (small.spectra() - particles.spectra().flip(0)).abs().square().mean()
    assert float(error) < 1e-6 * float(particles.spectra().abs().square().mean())
    resized = small.resized(20)
    assert resized.transforms.dtype == torch.float16
    assert torch.allclose(resized.spectra(), particles.resized(20).spectra().flip(0), rtol=2e-3, atol=20.0)


@pytest.mark.parametrize("box", [20, 48])
def test_resizing_keeps_extent_and_the_noise_per_fourier_pixel_of_a_unit_image(box: int) -> None:
    particles = particle_set(white(40))
    small = particles.resized(box)
    assert small.box == box
    assert small.extent_A == pytest.approx(particles.extent_A)
    kept = min(box, BOX) // 2 - 1
    before, after = image_power(particles)[1:kept] / BOX**2, image_power(small)[1:kept] / box**2
    assert torch.allclose(before, after, rtol=1e-4)
    if box < BOX:  # white noise keeps its standard deviation per pixel, apart from the lost Nyquist lines
        assert float(centred_irfft2(small.transforms).std()) == pytest.approx((box - 1) / box, abs=0.02)
    assert particles.resized(BOX) is particles


def test_power_of_white_images_is_flat_and_known() -> None:
    found = image_power(particle_set(3 * white(60)))
    assert found.shape == (BOX // 2 + 1,)
    assert torch.allclose(found[3:], torch.full_like(found[3:], 9.0 * BOX**2), rtol=0.12)


def test_residual_power_is_measured_where_there_is_a_band() -> None:
    band = make_band(BOX, 9.4, 3)
    generator = torch.Generator().manual_seed(1)
    residual = 2 * torch.randn(400, len(band), dtype=torch.complex64, generator=generator)
    measured = residual_power(residual, band.shell, BOX // 2 + 1)
    assert measured[1].sum() == residual.numel()
    previous = torch.full((BOX // 2 + 1,), 7.0)
    merged = merge_noise(measured, previous)
    assert (merged[:3] == 7).all()
    assert (merged[10:] == 7).all()
    assert torch.allclose(merged[4:10], torch.tensor(4.0), rtol=0.1)


def test_shifts_fill_a_disc_and_start_with_none() -> None:
    found = shift_grid(3, 0.5)
    assert found[0].tolist() == [0, 0]
    assert (found.norm(dim=1).diff() >= 0).all()
    assert found.norm(dim=1).max() <= 3
    assert len(found) == pytest.approx(math.pi * 36, rel=0.1)
    assert len(torch.unique(found, dim=0)) == len(found)
    assert [3.0, 0.0] in found.tolist()
    assert shift_grid(0, 1).tolist() == [[0, 0]]


@pytest.mark.parametrize("range_px", [2.0, 10.0 / 3, 4.0])
def test_range_of_shifts_counts_whole_steps(range_px: float) -> None:
    """Steps that do not divide the range exactly in float32 lose none of its rim."""
    step = range_px / 10
    assert float(shift_grid(range_px, step).norm(dim=1).max()) == pytest.approx(range_px, rel=1e-5)


def scene() -> tuple[ParticleSet, torch.Tensor, torch.Tensor]:
    """Particles, their noise and 5 references, the third of which is particle 0 and 1's."""
    band = make_band(BOX, 10)
    generator = torch.Generator().manual_seed(3)
    references = torch.randn(5, len(band), dtype=torch.complex64, generator=generator)
    particles = particle_set(white(2) * 0.01)
    noise = torch.ones(BOX // 2 + 2)
    transforms = band.put(references[2] * band_ctf(particles, band)) + particles.transforms
    return replace(particles, transforms=transforms), noise, references


def test_priors_decide_where_the_data_do_not() -> None:
    particles, noise, references = scene()
    images = prepare(particles, make_band(BOX, 10), noise)
    bank = reference_bank(references)
    shifts = shift_grid(2, 1)
    plain = search(images, bank, shifts, keep=5)
    assert (plain.reference[:, 0] == 2).all()
    assert (plain.shift_px[:, 0] == 0).all()
    assert (plain.score.diff(dim=1) <= 0).all()
    assert sorted(plain.reference[0].tolist()) == [0, 1, 2, 3, 4]
    prior = torch.zeros(5)
    prior[4] = 1e5
    found = search(images, bank, shifts, log_prior=prior)
    assert (found.reference == 4).all()
    away = torch.where(shifts[:, 0] == 2, 1e5, 0.0)
    moved = search(images, bank, shifts, shift_log_prior=away)
    assert torch.equal(moved.shift_px[:, 0], torch.tensor([[2.0, 0.0]]).expand(2, 2))


def test_priors_count_before_candidates_are_pruned() -> None:
    """Reference 2 fits better at shift 0, reference 0 at (2, 0): the prior on shifts chooses the only survivor."""
    particles, noise, references = scene()
    band = make_band(BOX, 10)
    references = 0.1 * references
    moved = 0.9 * references[0] * phase_ramp(torch.tensor([2.0, 0.0]) / BOX, band.kx, band.ky)
    transforms = band.put((references[2] + moved) * band_ctf(particles, band))
    images = prepare(replace(particles, transforms=transforms), band, noise)
    bank, shifts = reference_bank(references), shift_grid(2, 1)
    assert (search(images, bank, shifts, survivors=1).reference == 2).all()
    away = torch.where(shifts[:, 0] == 2, 1e3, 0.0)
    assert (search(images, bank, shifts, survivors=1, shift_log_prior=away).reference == 0).all()
    prior = torch.tensor([0.0, 0.0, 0.0, 1e3, 0.0])
    assert (search(images, bank, shifts, survivors=1, log_prior=prior).reference == 3).all()


def test_probabilities_soften_with_temperature() -> None:
    particles, noise, references = scene()
    found = search(
        prepare(particles, make_band(BOX, 10), 100 * noise), reference_bank(references), shift_grid(0, 1), keep=5
    )
    sharp, soft = found.probabilities(), found.probabilities(1e6)
    assert torch.allclose(sharp.sum(1), torch.ones(2))
    assert torch.allclose(soft, torch.full((2, 5), 0.2), atol=1e-3)
    assert torch.allclose(sharp[:, 0] / sharp[:, 1], torch.exp(found.score[:, 0] - found.score[:, 1]), rtol=1e-2)


def test_blocks_keep_their_order_whatever_the_number_of_threads() -> None:
    def work(seed: int) -> torch.Tensor:
        values = torch.randn(200, generator=torch.Generator().manual_seed(seed))
        return values.cumsum(0)

    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(map_blocks(work, range(7), torch.device("cpu")))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert torch.equal(results[0][6], work(6))


def test_error_in_a_block_is_not_swallowed() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise RuntimeError("block 3")
        return number

    with pytest.raises(RuntimeError, match="block 3"):
        map_blocks(work, range(5), torch.device("cpu"))
