"""What ice costs: mean free paths of electrons in it, and its thickness from the electrons that are missing."""

from __future__ import annotations

import math

import torch

from scherzer.physics.ctf import electron_wavelength_A
from scherzer.physics.scattering import WATERS_PER_A3, electron_scattering_factor_A

# Electrons that lose energy, at 300 kV. Published values run from about 300 to 400 nm; Rice et al. 2018 (J. Struct.
# Biol. 204, 38) measured 395 nm on a Krios. The one used is a choice within that range.
INELASTIC_MEAN_FREE_PATH_300_KV_A = 3400.0
# Angle that an objective aperture of about 100 um lets through; a plausible value. With it the mean free path for
# scattering beyond the aperture follows from the atoms' scattering factors: 1690 nm at 300 kV.
APERTURE_RAD = 0.014
# Malis et al. 1988 (J. Electron Microsc. Tech. 8, 193): their mean energy loss, 7.6 Z^0.36 with Z = 4.4 for water, and
# an angle of collection; both matter little for the ratio between voltages.
_MEAN_LOSS_EV, _COLLECTION_MRAD = 12.9, 10.0


def inelastic_mean_free_path_A(voltage_kV: float) -> float:
    """Mean free path of vitreous ice for losing energy; its change with the voltage is that of Malis et al. 1988."""

    def malis(kV: float) -> float:
        factor = (1 + kV / 1022) / (1 + kV / 511) ** 2
        return factor * kV / math.log(2 * _COLLECTION_MRAD * kV / _MEAN_LOSS_EV)

    return INELASTIC_MEAN_FREE_PATH_300_KV_A * malis(voltage_kV) / malis(300.0)


def aperture_mean_free_path_A(voltage_kV: float) -> float:
    """Mean free path of vitreous ice for elastic scattering that the objective aperture stops.

    From the scattering factors of independent atoms, which is what water is at such angles.
    """
    wavelength_A = float(electron_wavelength_A(voltage_kV))
    k = torch.linspace(APERTURE_RAD / wavelength_A, 8, 20_000, dtype=torch.float64)
    square = electron_scattering_factor_A("O", k**2) ** 2 + 2 * electron_scattering_factor_A("H", k**2) ** 2
    relativistic = 1 + voltage_kV / 510.999
    cross_section_A2 = float(torch.trapezoid(square * k, k)) * 2 * math.pi * (wavelength_A * relativistic) ** 2
    return 1 / (WATERS_PER_A3 * cross_section_A2)


def lost_mean_free_path_A(voltage_kV: float, energy_filter: bool) -> float:
    """Mean free path of vitreous ice for whatever keeps an electron from the camera."""
    rate = 1 / aperture_mean_free_path_A(voltage_kV)
    return 1 / (rate + 1 / inelastic_mean_free_path_A(voltage_kV) if energy_filter else rate)


def thickness_of_loss_A(arrived: float, sent: float, mean_free_path_A: float) -> float:
    """Thickness that leaves so many of the electrons: ``t = Lambda ln(I0 / I)`` (Rice et al. 2018).

    Parameters
    ----------
    arrived, sent : float
        Electrons, or counts, behind the film and without it; negative thickness where more arrived.
    mean_free_path_A : float
        For whatever keeps an electron from the camera.
    """
    return mean_free_path_A * math.log(sent / arrived)
