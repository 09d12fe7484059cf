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
    shape = (-1,) + (1,) * kx.ndim

    def column(values: Tensor) -> Tensor:
        return values.reshape(shape)

    k2 = kx**2 + ky**2
    angle = torch.atan2(ky, kx) - column(parameters.defocus_angle_rad)
    mean = column(parameters.defocus_u_A + parameters.defocus_v_A) / 2
    half_difference = column(parameters.defocus_u_A - parameters.defocus_v_A) / 2
    defocus_A = mean + half_difference * torch.cos(2 * angle)
    wavelength_A, cs_A = column(parameters.wavelength_A), column(parameters.cs_A)
    chi = torch.pi * wavelength_A * k2 * (defocus_A - cs_A * wavelength_A**2 * k2 / 2)
    return torch.sin(chi + column(parameters.phase_shift_rad + torch.asin(parameters.amplitude_contrast)))
