"""The engine finds known poses, in both precisions, and its score is the likelihood it claims to be."""

import numpy as np
import pytest
import torch

from scherzer.fourier.expansion import expansion_table
from scherzer.fourier.filters import cosine_edge, lowpass
from scherzer.fourier.grids import real_radius
from scherzer.fourier.shifts import phase_ramp
from scherzer.fourier.slices import slice_table
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import angle_between, from_rotation_vector, random_rotations
from scherzer.geometry.sphere import orientation_grid
from scherzer.likelihood import search as search_module
from scherzer.likelihood.band import make_band
from scherzer.likelihood.local import Poses, refine_locally
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import band_ctf, cross_term, prepare
from scherzer.likelihood.search import reference_bank, search, shift_grid
from scherzer.physics.optics import Optics

BOX, RADIUS, COUNT = 32, 10.0, 60
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def phantom() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    volume = torch.randn(BOX, BOX, BOX, generator=generator) * cosine_edge(real_radius(BOX, 3), 8, 11)
    return lowpass(volume, 1.0, BOX / RADIUS)


def simulated(noise: float, device: str = "cpu") -> tuple[ParticleSet, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Particles with known rotations, shifts (px) and noise variance per Fourier pixel."""
    generator = torch.Generator().manual_seed(7)
    band = make_band(BOX, BOX / 2 - 1)
    rotations = random_rotations(COUNT, np.random.default_rng(2))
    shifts = (torch.rand(COUNT, 2, generator=generator) - 0.5) * 4
    optics = Optics(pixel_size_A=4.0, voltage_kV=300, cs_mm=2.7, amplitude_contrast=0.1)
    one = optics.ctf_parameters(12000, 11500, 0.3)
    ctf = one[torch.zeros(COUNT, dtype=torch.int64)]
    images = torch.zeros(COUNT, BOX, BOX // 2 + 1, dtype=torch.complex64)
    half, micrograph = torch.ones(COUNT, dtype=torch.int64), torch.zeros(COUNT, dtype=torch.int64)
    particles = ParticleSet(images, ctf, 4.0, micrograph, half)
    clean = slice_table(phantom(), BOX / 2 - 1).slices(rotations, band.kx, band.ky)
    clean = clean * band_ctf(particles, band) * phase_ramp(shifts / BOX, band.kx, band.ky)
    spread = clean.abs().pow(2).mean().sqrt() * noise
    noisy = clean + spread * torch.randn(clean.shape, dtype=torch.complex64, generator=generator)
    particles = ParticleSet(band.put(noisy), ctf, 4.0, micrograph, half)
    return particles.to(device), rotations.to(device), shifts.to(device), (spread**2).to(device).expand(BOX // 2 + 2)


def test_score_is_the_difference_of_squared_residuals() -> None:
    particles, rotations, shifts, noise = simulated(1.0)
    band = make_band(BOX, RADIUS)
    references = slice_table(phantom(), RADIUS).slices(rotations, band.kx, band.ky)
    images = prepare(particles, band, noise)
    found = cross_term(images, references[:, None], shifts)[:, 0].diagonal()
    measured = band.take(particles.transforms)
    model = band_ctf(particles, band) * references * phase_ramp(shifts / BOX, band.kx, band.ky)
    expected = (measured.abs() ** 2 - (measured - model).abs() ** 2).sum(1) / noise[0]
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_global_search_then_local_refinement_finds_the_truth(
    dtype: torch.dtype, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "gemm_dtype", lambda _: dtype)
    particles, rotations, shifts, noise = simulated(1.5, device)
    band = make_band(BOX, RADIUS, device=device)
    table = expansion_table(phantom().to(device), RADIUS)
    plain = slice_table(phantom().to(device), RADIUS)
    grid = orientation_grid(np.radians(12), point_group("C1")).to(device)
    images = prepare(particles, band, noise)
    found = search(images, reference_bank(plain.slices(grid, band.kx, band.ky)), shift_grid(3, 1, device), keep=2)
    assert (found.score[:, 0] >= found.score[:, 1]).all()
    rough = Poses(grid[found.reference[:, 0]], found.shift_px[:, 0], found.score[:, 0])
    refined = refine_locally(images, table, rough, passes=8, max_shift_px=6)
    error = torch.rad2deg(angle_between(refined.rotations, rotations))
    assert (refined.score >= rough.score - 1e-2).all()
    assert error.median() < 1.5
    assert (error < 5).float().mean() > 0.95
    assert (refined.shift_px - shifts).norm(dim=1).median() < 0.15


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    particles, _, _, noise = simulated(2.0)
    band = make_band(BOX, RADIUS)
    table = slice_table(phantom(), RADIUS)
    grid = orientation_grid(np.radians(20), point_group("C1"))
    images = prepare(particles, band, noise)

    def run() -> torch.Tensor:
        return search(images, reference_bank(table.slices(grid, band.kx, band.ky)), shift_grid(2, 1)).reference

    whole = run()
    monkeypatch.setattr(search_module, "SCORE_ENTRIES", 2**14)
    monkeypatch.setattr(search_module, "DECISION_ENTRIES", 2**13)
    assert torch.equal(whole, run())


def test_gradient_climbs_from_a_disturbed_truth() -> None:
    particles, rotations, shifts, noise = simulated(1.0)
    band = make_band(BOX, RADIUS)
    table = expansion_table(phantom(), RADIUS)
    generator = torch.Generator().manual_seed(1)
    disturbed = rotations @ from_rotation_vector(torch.randn(COUNT, 3, generator=generator) * 0.05)
    start = Poses(disturbed, shifts + torch.randn(COUNT, 2, generator=generator) * 0.4, torch.zeros(COUNT))
    refined = refine_locally(prepare(particles, band, noise), table, start, passes=6, max_shift_px=6)
    before, after = (angle_between(r, rotations).median() for r in (disturbed, refined.rotations))
    assert after < before / 4


def test_band_put_take_and_conjugates() -> None:
    band = make_band(16, 6, 2)
    values = torch.randn(3, len(band), dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    transforms = band.put(values)
    assert torch.equal(band.take(transforms), values)
    images = torch.fft.irfft2(transforms)
    assert torch.allclose(torch.fft.rfft2(images), transforms, atol=1e-4)
    assert band.shell.min() >= 2
