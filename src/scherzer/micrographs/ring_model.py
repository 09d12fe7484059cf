"""The model of the rings in a power spectrum: a smooth background times rings that follow the CTF."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.interpolate import BSpline
from torch import Tensor

from scherzer.micrographs.spectrum import PolarSpectrum
from scherzer.physics.ctf import electron_wavelength_A
from scherzer.physics.optics import MM_TO_A, Optics

# Segments of the background's spline, evenly spaced in log frequency: wide enough to leave the rings of 0.3 um alone.
BACKGROUND_SEGMENTS = 5


@dataclass(frozen=True)
class Aberration:
    """What besides defocus sets the phase of the rings: a defocus phase and all the rest.

    Attributes
    ----------
    per_defocus : Tensor
        ``(m,)`` or the shape of the frequencies, phase per angstrom of defocus, ``pi lambda k^2``.
    rest_rad : Tensor
        As many, phase from the spherical aberration, amplitude contrast and phase shift.
    """

    per_defocus: Tensor
    rest_rad: Tensor

    def shifted(self, phase_shift_rad: float | Tensor) -> Aberration:
        """Return the same with a further phase shift."""
        return replace(self, rest_rad=self.rest_rad + phase_shift_rad)

    def rings(self, defocus_A: Tensor) -> Tensor:
        """Return ``-cos 2 chi``, the zero-mean part of the squared CTF, for defocus of shape ``(..., 1)``."""
        return -torch.cos(2 * (self.per_defocus * defocus_A + self.rest_rad))


def aberration(
    frequency_per_A: Tensor, wavelength_A: float, cs_A: float, amplitude_contrast: float, phase_shift_rad: float
) -> Aberration:
    """Return the ring phases at frequencies of any shape (as :func:`scherzer.physics.ctf.ctf`)."""
    k2 = frequency_per_A.square()
    rest = phase_shift_rad + float(np.arcsin(amplitude_contrast))
    return Aberration(torch.pi * wavelength_A * k2, rest - torch.pi / 2 * cs_A * wavelength_A**3 * k2.square())


def aberration_of(frequency_per_A: Tensor, optics: Optics) -> Aberration:
    """Return the ring phases for the optics of an image, without a phase shift."""
    wavelength_A = float(electron_wavelength_A(optics.voltage_kV))
    return aberration(frequency_per_A, wavelength_A, optics.cs_mm * MM_TO_A, optics.amplitude_contrast, 0.0)


@dataclass(frozen=True)
class FlatSpectrum:
    """Modulation of the log power about a smooth background, per direction.

    Attributes
    ----------
    modulation : Tensor
        ``(sectors, m)``, background removed.
    background : Tensor
        ``(sectors, m)``, of the log power.
    remover : Tensor
        ``(m, m)``, the projection that took the background away; a model goes through the same.
    count : Tensor
        ``(m,)``, pixels behind each value, averaged over direction.
    angle_rad, frequency_per_A : Tensor
        ``(sectors,)`` and ``(m,)``.
    """

    modulation: Tensor
    background: Tensor
    remover: Tensor
    count: Tensor
    angle_rad: Tensor
    frequency_per_A: Tensor


def spline_basis(x: Tensor, segments: int) -> Tensor:
    """Return cubic B-splines with even knots over the range of x; ``(*x.shape, segments + 3)`` float64."""
    at = x.double().cpu().numpy()
    inner = np.linspace(at.min(), at.max() + 1e-9, segments + 1)
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    basis = BSpline.design_matrix(at.ravel(), knots, 3).toarray().reshape(*at.shape, -1)
    return torch.as_tensor(basis, device=x.device)


def flatten(polar: PolarSpectrum) -> FlatSpectrum:
    """Take the smooth background off the log power of every direction.

    The logarithm makes the noise alike at all frequencies. The background is the least-squares spline; because a ring
    model is later projected in the same way, background and rings are in effect fitted together
    (Frisch-Waugh-Lovell), which a moving average does not do for the wide rings of a small defocus.
    """
    log_power = torch.log(polar.power.clamp_min(polar.power.max() * 1e-12 + 1e-30))
    count = polar.count.mean(0).clamp_min(1e-3)
    basis = spline_basis(polar.frequency_per_A.log(), BACKGROUND_SEGMENTS)
    weight = count.double()[:, None]
    gram = basis.T @ (basis * weight)
    gram += 1e-9 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    smoother = (basis @ torch.linalg.solve(gram, (basis * weight).T)).float()
    background = log_power @ smoother.T
    remover = torch.eye(len(smoother), device=smoother.device) - smoother
    return FlatSpectrum(log_power - background, background, remover, count, polar.angle_rad, polar.frequency_per_A)
