"""The tilt of a film, found from how defocus changes over simulated micrographs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from scherzer.micrographs.ctf_estimation import estimate_ctf
from scherzer.micrographs.ctf_fit import CtfFit, CtfSettings
from scherzer.micrographs.ctf_search import Astigmatic
from scherzer.micrographs.ctf_tilt import estimate_tilt
from scherzer.micrographs.spectrum import level
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import Optics

OPTICS = Optics(pixel_size_A=1.8, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1)
SIZE = 1280


def tilted_film(tilt_rad: float, uphill_rad: float, mean_A: float, seed: int, planes: int = 24) -> Tensor:
    """White specimen whose underfocus grows towards a direction: a blend of images at even steps of defocus."""
    generator = torch.Generator().manual_seed(seed)
    ky = torch.fft.fftfreq(SIZE, OPTICS.pixel_size_A)[:, None].expand(SIZE, SIZE // 2 + 1)
    kx = torch.fft.rfftfreq(SIZE, OPTICS.pixel_size_A).expand(SIZE, SIZE // 2 + 1)
    envelope = torch.exp(-15 * (kx.square() + ky.square()))
    specimen = torch.fft.rfft2(torch.randn(SIZE, SIZE, generator=generator)) * envelope
    axis = (torch.arange(SIZE) - SIZE / 2) * OPTICS.pixel_size_A
    height_A = math.tan(tilt_rad) * (math.cos(uphill_rad) * axis + math.sin(uphill_rad) * axis[:, None])
    step_A = max(float(height_A.max() - height_A.min()) / max(planes - 1, 1), 1.0)
    image = torch.randn(SIZE, SIZE, generator=generator)
    for index in range(planes):
        plane_A = float(height_A.min()) + index * step_A
        share = (1 - (height_A - plane_A).abs() / step_A).clamp(min=0)
        transfer = ctf(OPTICS.ctf_parameters(mean_A + plane_A + 150, mean_A + plane_A - 150, 0.5), kx, ky)[0]
        image += share * torch.fft.irfft2(specimen * transfer, s=(SIZE, SIZE))
    return image


def gradient(fit: CtfFit) -> Tensor:
    """Slope of the underfocus over x and y."""
    assert fit.tilt is not None
    uphill = fit.tilt.axis_rad + math.pi / 2
    return math.tan(fit.tilt.tilt_rad) * torch.tensor([math.cos(uphill), math.sin(uphill)])


@pytest.mark.parametrize(("tilt_deg", "uphill_deg"), [(12, 30), (25, 200), (40, 290)])
def test_a_tilt_is_found_with_its_axis(tilt_deg: float, uphill_deg: float) -> None:
    tilt, uphill = math.radians(tilt_deg), math.radians(uphill_deg)
    fit = estimate_ctf(tilted_film(tilt, uphill, 16000, tilt_deg, 40), OPTICS)
    expected = math.tan(tilt) * torch.tensor([math.cos(uphill), math.sin(uphill)])
    assert fit.tilt is not None
    assert math.degrees(fit.tilt.error_rad) < 1.5
    off = float((gradient(fit) - expected).norm()) * math.cos(tilt) ** 2
    assert off < 3.5 * fit.tilt.error_rad
    assert fit.tilt.tilt_rad == pytest.approx(tilt, abs=math.radians(2.5))


def test_a_flat_film_has_no_tilt_beyond_its_error() -> None:
    fit = estimate_ctf(tilted_film(0.0, 0.0, 14000, 1, 1), OPTICS)
    assert fit.tilt is not None
    assert fit.tilt.tilt_rad < 3.5 * fit.tilt.error_rad
    assert fit.mean_defocus_A == pytest.approx(14000, abs=60)


def test_no_tilt_without_rings_or_room_or_wish() -> None:
    noise = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    assert estimate_ctf(noise, OPTICS).tilt is None
    film = tilted_film(0.0, 0.0, 14000, 1, 1)
    assert estimate_ctf(film, OPTICS, CtfSettings(fit_tilt=False)).tilt is None
    small = level(film[:600, :600], OPTICS.pixel_size_A)
    assert estimate_tilt(small, OPTICS, Astigmatic(14000, 150, 0), 0.0, 30.0) is None
