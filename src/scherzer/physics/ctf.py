"""The contrast transfer function, in angstrom and radian."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


def electron_wavelength_A(voltage_kV: Tensor | float) -> Tensor:
    """Relativistic electron wavelength, A (Reimer and Kohl 2008, eq. 2.5)."""
    voltage_V = torch.as_tensor(voltage_kV, dtype=torch.float64) * 1e3
    return (12.2643247 / torch.sqrt(voltage_V * (1 + 0.978466e-6 * voltage_V))).float()


@dataclass(frozen=True)
class CtfParameters:
    """What the CTF of each of n images depends on; every tensor has shape (n,).

    Attributes
    ----------
    defocus_u_A, defocus_v_A : Tensor
        Largest and smallest defocus, A; underfocus is positive.
    defocus_angle_rad : Tensor
        Angle from the x axis to the direction of ``defocus_u_A``.
    phase_shift_rad : Tensor
        Phase plate shift.
    wavelength_A, cs_A, amplitude_contrast : Tensor
        Optics: electron wavelength, spherical aberration, fraction of amplitude contrast.
    """

    defocus_u_A: Tensor
    defocus_v_A: Tensor
    defocus_angle_rad: Tensor
    phase_shift_rad: Tensor
    wavelength_A: Tensor
    cs_A: Tensor
    amplitude_contrast: Tensor

    def __len__(self) -> int:
        return len(self.defocus_u_A)

    def __getitem__(self, index: Tensor | slice) -> CtfParameters:
        return CtfParameters(*(getattr(self, field.name)[index] for field in fields(self)))

    def to(self, device: torch.device | str) -> CtfParameters:
        """Return the same parameters on a device."""
        return CtfParameters(*(getattr(self, field.name).to(device) for field in fields(self)))


def ctf(parameters: CtfParameters, kx: Tensor, ky: Tensor) -> Tensor:
    """Evaluate the CTF at spatial frequencies.

    Positive at low frequency for underfocus, as RELION's: a particle that is white on a dark ground is imaged as
    ``+ctf`` times its projection, and a raw micrograph, where protein is dark, as ``-ctf``.

    Parameters
    ----------
    parameters : CtfParameters
        For n images.
    kx, ky : Tensor
        Spatial frequencies, 1/A, of any common shape.

    Returns
    -------
    Tensor
        ``(n, *kx.shape)``.

    References
    ----------
    Rohou and Grigorieff 2015, J. Struct. Biol. 192, eq. 1 to 3.
    """
    return torch.sin(ctf_phase_rad(parameters, kx, ky))


def ctf_phase_rad(parameters: CtfParameters, kx: Tensor, ky: Tensor) -> Tensor:
    """Phase whose sine is the CTF: aberrations, phase plate and amplitude contrast.

    Parameters
    ----------
    parameters : CtfParameters
        For n images.
    kx, ky : Tensor
        Spatial frequencies, 1/A; their shapes are broadcast.

    Returns
    -------
    Tensor
        ``(n, *shape)``.
    """
    shape = (-1,) + (1,) * max(kx.ndim, ky.ndim)

    def column(values: Tensor) -> Tensor:
        return values.reshape(shape)

    kx2, ky2 = kx**2, ky**2
    k2 = kx2 + ky2
    mean = column(parameters.defocus_u_A + parameters.defocus_v_A) / 2
    half_difference = column(parameters.defocus_u_A - parameters.defocus_v_A) / 2
    twice = 2 * parameters.defocus_angle_rad
    # k^2 cos(2 (angle of k - angle of U)), without the angle of k.
    along = column(torch.cos(twice)) * (kx2 - ky2) + column(torch.sin(twice)) * (2 * kx * ky)
    wavelength_A, cs_A = column(parameters.wavelength_A), column(parameters.cs_A)
    defocus = mean * k2 + half_difference * along
    chi = torch.pi * wavelength_A * (defocus - cs_A * wavelength_A**2 * k2**2 / 2)
    return chi + column(parameters.phase_shift_rad + torch.asin(parameters.amplitude_contrast))


def coma_phase_rad(kx: Tensor, ky: Tensor, cs_A: float, wavelength_A: float, tilt_rad: tuple[float, float]) -> Tensor:
    """Phase by which a tilted beam shifts each spatial frequency: axial coma, the odd aberration.

    With a spherical aberration of ``pi/2 Cs lambda^3 k^4``, a beam tilted by tau sees the aberration at
    ``k + tau / lambda``; the term linear in tau is ``2 pi Cs lambda^2 k^2 (k . tau)``. An image's transform is
    multiplied by ``exp(-i phase)``, which is what RELION undoes for the ``rlnBeamTiltX`` and ``Y`` of the same sign.

    Parameters
    ----------
    kx, ky : Tensor
        Spatial frequencies, 1/A; their shapes are broadcast.
    cs_A, wavelength_A : float
        Spherical aberration and wavelength.
    tilt_rad : tuple of float
        Along x and y.

    References
    ----------
    Zivanov, Nakane and Scheres 2020, IUCrJ 7, 253; Glaeser et al. 2011, J. Struct. Biol. 174, 1.
    """
    return 2 * torch.pi * cs_A * wavelength_A**2 * (kx**2 + ky**2) * (kx * tilt_rad[0] + ky * tilt_rad[1])
