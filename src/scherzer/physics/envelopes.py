"""Envelopes: what damps the contrast transfer at high frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LIGHT_M_PER_S = 2.99792458e8
PLANCK_J_S = 6.62607015e-34
CHARGE_C = 1.602176634e-19
ELECTRON_KG = 9.1093837015e-31


def interaction_rad_per_V_A(voltage_kV: float) -> float:
    """Phase shift of the electron wave per volt of potential and angstrom of path, rad/(V A).

    6.53e-4 at 300 kV and 7.29e-4 at 200 kV (Kirkland 2010, eq. 5.6).
    """
    energy_J = voltage_kV * 1e3 * CHARGE_C
    rest_J = ELECTRON_KG * LIGHT_M_PER_S**2
    momentum = math.sqrt(energy_J * (energy_J + 2 * rest_J)) / LIGHT_M_PER_S
    wavelength_m = PLANCK_J_S / momentum
    relativistic_kg = ELECTRON_KG + energy_J / LIGHT_M_PER_S**2
    return 2 * math.pi * relativistic_kg * CHARGE_C * wavelength_m / PLANCK_J_S**2 * 1e-10


def b_factor_envelope(k2: Tensor, b_factor_A2: float) -> Tensor:
    """``exp(-B k^2 / 4)``, with ``k2`` the squared spatial frequency, 1/A^2."""
    return torch.exp(-b_factor_A2 / 4 * k2)


def spatial_coherence_envelope(
    k2: Tensor, defocus_A: float, cs_A: float, wavelength_A: float, beam_semiangle_rad: float
) -> Tensor:
    """Damping by the finite size of the source, for Gaussian illumination.

    Parameters
    ----------
    k2 : Tensor
        Squared spatial frequency, 1/A^2.
    defocus_A, cs_A, wavelength_A : float
        Mean defocus (underfocus positive), spherical aberration, electron wavelength.
    beam_semiangle_rad : float
        1/e half width of the illumination's angles.

    References
    ----------
    Frank 1973, Optik 38, 519.
    """
    k = torch.sqrt(k2)
    gradient = cs_A * wavelength_A**2 * k**3 - defocus_A * k
    return torch.exp(-((math.pi * beam_semiangle_rad * gradient) ** 2))


def temporal_coherence_envelope(k2: Tensor, wavelength_A: float, focal_spread_A: float) -> Tensor:
    """Damping by the spread of the electrons' energies (standard deviation of focus, A).

    References
    ----------
    Frank 1973, Optik 38, 519; Kirkland 2010, eq. 3.41.
    """
    return torch.exp(-0.5 * (math.pi * wavelength_A * focal_spread_A * k2) ** 2)
