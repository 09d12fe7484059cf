"""The diameter of simulated particles."""

from __future__ import annotations

import math

import pytest
import torch

from scherzer.particles.diameter import joined, measure_diameter
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import Optics

OPTICS = Optics(pixel_size_A=2.0, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1)


@pytest.mark.parametrize("true_A", [80.0, 120.0, 160.0])
def test_measures_particles_of_any_size(true_A: float) -> None:
    """Twenty-four domains on a shell, in random views and noise."""
    generator = torch.Generator().manual_seed(1)
    side, cell, radius = 840, 120, true_A / 2 / OPTICS.pixel_size_A
    domains = torch.nn.functional.normalize(torch.randn(24, 3, generator=generator), dim=1) * 0.78 * radius
    offset = torch.arange(-cell // 2, cell // 2)
    projection = torch.zeros(side, side)
    for row in range(0, side, cell):
        for column in range(0, side, cell):
            view = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
            middle = (cell / 2 - radius) * (2 * torch.rand(2, generator=generator) - 1)
            y, x = (domains @ view)[:, :2].T + middle[:, None]
            r2 = (offset[:, None] - y[:, None, None]) ** 2 + (offset - x[:, None, None]) ** 2
            chords = ((0.22 * radius) ** 2 - r2).clamp(min=0).sqrt()
            projection[row : row + cell, column : column + cell] = chords.sum(0)
    ky = torch.fft.fftfreq(side, OPTICS.pixel_size_A)[:, None].expand(-1, side // 2 + 1)
    kx = torch.fft.rfftfreq(side, OPTICS.pixel_size_A)[None].expand(side, -1)
    parameters = OPTICS.ctf_parameters(12_000.0, 12_000.0)
    signal = torch.fft.irfft2(torch.fft.rfft2(projection) * ctf(parameters, kx, ky)[0], s=(side, side))
    image = -signal / signal.std() + 3.0 * torch.randn(side, side, generator=generator)
    assert measure_diameter(image, OPTICS, parameters) == pytest.approx(true_A, rel=0.2)


def test_noise_has_no_diameter() -> None:
    noise = torch.randn(600, 600, generator=torch.Generator().manual_seed(2))
    assert math.isnan(measure_diameter(noise, OPTICS, None))


def test_joins_what_was_measured_if_that_is_half_of_it() -> None:
    found = joined([100.0, math.nan, 140.0, 120.0])
    assert found is not None
    assert (found.diameter_A, found.micrographs) == (120.0, 3)
    assert 15 < found.error_A < 40
    same = joined([120.0, 120.0, 120.0])
    assert same is not None
    assert 5 < same.error_A < found.error_A
    assert joined([100.0, math.nan, math.nan]) is None
    assert joined([math.nan]) is None
