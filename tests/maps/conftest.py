"""A small symmetric phantom and noisy, CTF-modulated, shifted images of it at known poses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from scherzer.fourier.filters import cosine_edge, lowpass
from scherzer.fourier.grids import centred_irfft2, centred_rfft2, real_radius
from scherzer.fourier.shifts import phase_ramp
from scherzer.fourier.slices import slice_table
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import random_rotations
from scherzer.likelihood.band import make_band
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import band_ctf
from scherzer.maps.symmetrise import symmetrise_volume
from scherzer.physics.optics import Optics

BOX, PIXEL_SIZE_A = 36, 4.0
DIAMETER_A = 92.0


@dataclass(frozen=True)
class Scene:
    """Particles with their truth, on the images' scale; ``noise_power`` is the variance of a Fourier pixel."""

    particles: ParticleSet
    truth: torch.Tensor
    rotations: torch.Tensor
    shift_A: torch.Tensor
    symmetry: str
    noise_power: float
    diameter_A: float = DIAMETER_A
    pixel_size_A: float = PIXEL_SIZE_A

    def to(self, device: str) -> Scene:
        return replace(
            self,
            particles=self.particles.to(device),
            truth=self.truth.to(device),
            rotations=self.rotations.to(device),
            shift_A=self.shift_A.to(device),
        )


def phantom(symmetry: str, seed: int = 5) -> torch.Tensor:
    """Positive lumps in a ball, under a point group."""
    generator = torch.Generator().manual_seed(seed)
    ball = cosine_edge(real_radius(BOX, 3), 9.5, 11.5)
    centres = (torch.rand(6, 3, generator=generator) - 0.5) * 17
    axis = torch.arange(BOX) - BOX // 2.0
    profile = torch.exp(-((axis[None, None] - centres[..., None]) ** 2) / (2 * 1.1**2))
    lumps = torch.einsum("nz,ny,nx->zyx", profile[:, 2], profile[:, 1], profile[:, 0])
    volume = symmetrise_volume(lumps * ball, point_group(symmetry)) * ball
    return lowpass(volume, 1.0, BOX / 15) / volume.std()


def simulate(symmetry: str, count: int, noise: float, shift_px: float = 1.5, seed: int = 7) -> Scene:
    """Simulate images; ``noise`` is the standard deviation of a pixel's noise over that of the signal."""
    generator = torch.Generator().manual_seed(seed)
    draws = np.random.default_rng(seed)
    truth = phantom(symmetry)
    rotations = random_rotations(count, draws)
    shifts = (torch.rand(count, 2, generator=generator) - 0.5) * 2 * shift_px
    one = Optics(PIXEL_SIZE_A, voltage_kV=300, cs_mm=2.7, amplitude_contrast=0.1).ctf_parameters(1, 1, 0.3)
    ctf = one[torch.zeros(count, dtype=torch.int64)]
    micrograph = torch.arange(count) // 10
    defocus = torch.from_numpy(draws.uniform(6000, 14000, count // 10 + 1)).float()[micrograph]
    ctf = replace(ctf, defocus_u_A=defocus + 150, defocus_v_A=defocus - 150)
    half = 1 + micrograph % 2
    band = make_band(BOX, BOX / 2 - 1)
    empty = torch.zeros(count, BOX, BOX // 2 + 1, dtype=torch.complex64)
    particles = ParticleSet(empty, ctf, PIXEL_SIZE_A, micrograph, half)
    clean = slice_table(truth, BOX / 2 - 1).slices(rotations, band.kx, band.ky)
    clean = clean * band_ctf(particles, band) * phase_ramp(shifts / BOX, band.kx, band.ky)
    images = centred_irfft2(band.put(clean))
    total = (1 + noise**2) ** 0.5  # so that a pixel's variance is 1 in the end
    scale = 1 / (float(images.std()) * total)
    images = images * scale + noise / total * torch.randn(images.shape, generator=generator)
    particles = replace(particles, transforms=centred_rfft2(images))
    power = (noise / total * BOX) ** 2
    return Scene(particles, truth * scale, rotations, shifts * PIXEL_SIZE_A, symmetry, power)


@pytest.fixture(scope="session")
def dihedral() -> Scene:
    """240 particles of a D2 phantom, signal to noise ratio 1 / 4."""
    return simulate("D2", 240, 2.0)


@pytest.fixture(scope="session")
def octahedral() -> Scene:
    """200 particles of an O phantom, signal to noise ratio 1 / 4."""
    return simulate("O", 200, 2.0, shift_px=0.8)


@pytest.fixture(scope="session")
def asymmetric() -> Scene:
    """240 particles of a phantom without symmetry, signal to noise ratio 1 / 4."""
    return simulate("C1", 240, 2.0)


@pytest.fixture(scope="session")
def nothing() -> Scene:
    """Images that hold noise alone, beside the map they do not show."""
    return simulate("D2", 240, 1e6)


@pytest.fixture(scope="session")
def scene_of() -> Callable[[str, int, float], Scene]:
    """Simulate particles of a symmetry, their number and noise given."""
    return simulate


@pytest.fixture(scope="session")
def phantom_of() -> Callable[[str, int], torch.Tensor]:
    """Make the phantom of a symmetry and seed."""
    return phantom
