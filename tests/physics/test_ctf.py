"""The contrast transfer function, against theory and another program."""

from __future__ import annotations

import math

import pytest
import torch

from scherzer.physics.ctf import CtfParameters, coma_phase_rad, ctf, ctf_phase_rad, electron_wavelength_A
from scherzer.physics.optics import Optics

KRIOS = Optics(pixel_size_A=1.0, voltage_kV=300, cs_mm=2.7, amplitude_contrast=0.07)


@pytest.mark.parametrize(("voltage_kV", "wavelength_A"), [(100, 0.037014), (200, 0.025079), (300, 0.019687)])
def test_wavelength_as_tabulated(voltage_kV: float, wavelength_A: float) -> None:
    assert float(electron_wavelength_A(voltage_kV)) == pytest.approx(wavelength_A, abs=2e-6)


def test_sign_and_size_at_the_origin() -> None:
    parameters = KRIOS.ctf_parameters(15000, 15000)
    k = torch.tensor([0.0, 0.01, 0.02])
    values = ctf(parameters, k, 0 * k)[0]
    assert float(values[0]) == pytest.approx(0.07, abs=1e-6)
    assert torch.all(values > 0)
    assert torch.all(values.diff() > 0)


def test_zeros_lie_where_theory_puts_them() -> None:
    defocus_A, wavelength_A, cs_A = 12000.0, float(electron_wavelength_A(300)), 2.7e7
    offset = math.asin(0.07)
    for order in (1, 2, 3):
        # pi lambda df k^2 - pi/2 Cs lambda^3 k^4 + offset = order pi, solved for k^2.
        c = (order * math.pi - offset) / math.pi
        a, b = -cs_A * wavelength_A**3 / 2, wavelength_A * defocus_A
        k = math.sqrt((-b + math.sqrt(b * b + 4 * a * c)) / (2 * a))
        value = ctf(KRIOS.ctf_parameters(defocus_A, defocus_A), torch.tensor([k]), torch.zeros(1))
        assert abs(float(value)) < 1e-3


def test_astigmatism_angle_runs_from_x_to_y() -> None:
    u, v, angle = 20000.0, 10000.0, math.radians(30)
    parameters = KRIOS.ctf_parameters(u, v, angle)
    k = torch.linspace(0.01, 0.2, 40)
    along = ctf(parameters, k * math.cos(angle), k * math.sin(angle))
    across = ctf(parameters, -k * math.sin(angle), k * math.cos(angle))
    torch.testing.assert_close(along, ctf(KRIOS.ctf_parameters(u, u), k, 0 * k), atol=1e-4, rtol=0)
    torch.testing.assert_close(across, ctf(KRIOS.ctf_parameters(v, v), k, 0 * k), atol=1e-4, rtol=0)


def test_phase_plate_shifts_the_phase() -> None:
    k = torch.tensor([0.0])
    shifted = ctf(KRIOS.ctf_parameters(5000, 5000, 0.0, math.pi / 2), k, k)
    assert float(shifted) == pytest.approx(math.cos(math.asin(0.07)), abs=1e-6)


def test_many_images_at_once_and_indexing() -> None:
    several = CtfParameters(
        *(
            torch.linspace(a, b, 5)
            for a, b in [(1e4, 2e4), (1e4, 2e4), (0, 1), (0, 1), (0.0197, 0.0251), (0, 2.7e7), (0.05, 0.1)]
        )
    )
    kx, ky = torch.meshgrid(torch.linspace(-0.2, 0.2, 6), torch.linspace(0, 0.2, 4), indexing="ij")
    values = ctf(several, kx, ky)
    assert values.shape == (5, 6, 4)
    for index in range(5):
        torch.testing.assert_close(ctf(several[index : index + 1], kx, ky)[0], values[index])
    assert len(several) == 5


def test_without_spherical_aberration_the_phase_is_that_of_defocus_alone() -> None:
    corrected = Optics(pixel_size_A=1.0, voltage_kV=300, cs_mm=0.0, amplitude_contrast=0.0)
    k = torch.tensor([0.1, 0.2, 0.3])
    phase = ctf_phase_rad(corrected.ctf_parameters(10000, 10000), k, 0 * k)[0]
    torch.testing.assert_close(phase, math.pi * electron_wavelength_A(300) * 1e4 * k**2)


def test_coma_is_what_a_tilt_adds_to_the_odd_part_of_the_aberration() -> None:
    cs_A, wavelength_A = 2.7e7, float(electron_wavelength_A(300))
    tilt = torch.tensor([0.4e-3, -0.7e-3], dtype=torch.float64)
    k = torch.tensor([[0.2, 0.1], [-0.15, 0.3], [0.0, 0.25]], dtype=torch.float64)

    def spherical(k: torch.Tensor) -> torch.Tensor:
        return math.pi / 2 * cs_A * wavelength_A**3 * (k**2).sum(1) ** 2

    # The part of the tilted aberration that is odd in k and linear in the tilt.
    small = 1e-3 * tilt / wavelength_A
    odd = (spherical(k + small) - spherical(-k + small)) / 2 * 1e3
    found = coma_phase_rad(k[:, 0], k[:, 1], cs_A, wavelength_A, (0.4e-3, -0.7e-3))
    torch.testing.assert_close(found, odd, rtol=1e-4, atol=0)
    torch.testing.assert_close(coma_phase_rad(-k[:, 0], -k[:, 1], cs_A, wavelength_A, (0.4e-3, -0.7e-3)), -found)


def test_agrees_with_torch_ctf() -> None:
    torch_ctf = pytest.importorskip("torch_ctf", reason="torch-ctf is not installed")
    box, pixel_size_A, u, v, angle = 128, 1.1, 18000.0, 15000.0, 25.0
    theirs = torch_ctf.calculate_ctf_2d(
        defocus=(u + v) / 2e4,
        astigmatism=(u - v) / 2e4,
        astigmatism_angle=angle,
        voltage=300,
        spherical_aberration=2.7,
        amplitude_contrast=0.07,
        phase_shift=0.0,
        pixel_size=pixel_size_A,
        image_shape=(box, box),
        rfft=False,
        fftshift=False,
    )
    k = torch.fft.fftfreq(box, pixel_size_A)
    ours = ctf(KRIOS.ctf_parameters(u, v, math.radians(angle)), k[None, :], k[:, None].expand(box, box))[0]
    theirs = theirs.reshape(box, box).float()
    assert float(torch.corrcoef(torch.stack((ours.flatten(), theirs.flatten())))[0, 1].abs()) > 0.9999
    torch.testing.assert_close(ours, theirs * torch.sign(theirs[0, 0]), atol=0.02, rtol=0)
