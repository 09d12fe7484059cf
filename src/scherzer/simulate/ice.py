"""Vitreous ice: its structural noise and how that moves, its thickness and what it costs."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.physics.scattering import V_A2_PER_A, WATERS_PER_A3, electron_scattering_factor_A
from scherzer.physics.thickness import inelastic_mean_free_path_A, lost_mean_free_path_A
from scherzer.simulate.settings import IceSettings


def water_structure_factor(k: Tensor) -> Tensor:
    """Fluctuation of the density of vitreous ice, relative to independent molecules.

    Small at low frequency, where compressibility governs it, with its main peak at 1.70 rad/A, 3.7 A, and a weaker one
    near 3.05 rad/A, as in low-density amorphous ice (Bowron et al. 2006, J. Chem. Phys. 125, 194502). Heights and
    widths are a parametric choice. A term below 1/30 A stands for roughness of the surfaces.
    """

    def peak(centre: float, width: float) -> Tensor:
        return torch.exp(-((k - centre) ** 2) / (2 * width**2))

    molecules = 0.06 + 0.94 * torch.sigmoid((k - 0.225) / 0.024)
    order = 0.9 * peak(0.270, 0.026) - 0.4 * peak(0.38, 0.03) + 0.4 * peak(0.485, 0.03)
    return molecules + order + 0.5 / (1 + (k * 45) ** 2) ** 2


def water_noise_density(k: Tensor, thickness_A: float) -> Tensor:
    """Power spectral density of the projected potential of ice at one moment, V^2 A^4.

    Parameters
    ----------
    k : Tensor
        Spatial frequency, 1/A.
    thickness_A : float
        Thickness of the film.
    """
    k2 = k**2
    molecule = V_A2_PER_A * (electron_scattering_factor_A("O", k2) + 2 * electron_scattering_factor_A("H", k2))
    return thickness_A * WATERS_PER_A3 * molecule**2 * water_structure_factor(k)


def water_decay_per_e(k: Tensor, motion_A2_per_e: float) -> Tensor:
    """Rate at which moving water forgets its structure, A^2/e.

    Random displacements of mean square ``m D`` in space, ``m D / 3`` along a frequency's direction, leave
    ``exp(-2 pi^2 k^2 m D / 3)`` of a Fourier component's correlation with itself after an exposure D. At 3.7 A the
    contrast of single images is then best near 4 e/A^2, as McMullan et al. 2015 saw.
    """
    return 2 * math.pi**2 / 3 * motion_A2_per_e * k**2


def mean_power(decays: Tensor) -> Tensor:
    """Power that is left of a signal of unit power in its mean over an interval.

    Parameters
    ----------
    decays : Tensor
        Length of the interval in units of the signal's correlation length; its correlation falls exponentially.
    """
    x = decays.double().clamp(min=1e-4)
    return 2 * (x + torch.expm1(-x)) / x**2


def slab_spectrum(k: Tensor, wavelength_A: float, thickness_A: float) -> tuple[Tensor, Tensor]:
    """Spectrum of a slab's noise behind the lens as ``constant + slope sine^2``, sine that of the middle's phase chi.

    Scatterers spread evenly over the depth add to sine and cosine of chi with independent amplitudes, whose variances
    are ``(1 + s)/2`` and ``(1 - s)/2`` with ``s = sinc(lambda k^2 t)``: together ``(1 - s cos(2 chi))/2``, CTFFIND5's
    spectrum of thick specimens.

    Returns
    -------
    constant, slope : Tensor
        ``(1 - s)/2`` and ``s``, shaped like ``k``.

    References
    ----------
    McMullan et al. 2015, eq. 5; Elferich et al. 2024, eq. 1.
    """
    sinc = torch.sinc(wavelength_A * k**2 * thickness_A)
    return (1 - sinc) / 2, sinc


def transmission(
    film_A: NDArray[np.float32], voltage_kV: float, energy_filter: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Share of electrons that arrive, and of those the share that carries the image.

    Parameters
    ----------
    film_A : ndarray
        Thickness of ice.
    voltage_kV : float
        Acceleration voltage.
    energy_filter : bool
        With a filter, electrons that lost energy are stopped; without, they arrive out of focus and make a ground
        that is even.

    Returns
    -------
    bright, sharp : ndarray
        Shaped like ``film_A``; ``sharp`` is None where it is 1 everywhere.
    """

    def left(mean_free_path_A: float) -> NDArray[np.float32]:
        share = film_A * np.float32(-1 / mean_free_path_A)
        return np.exp(share, out=share)

    bright = left(lost_mean_free_path_A(voltage_kV, energy_filter))
    return bright, None if energy_filter else left(inelastic_mean_free_path_A(voltage_kV))


def thickness_map(
    rng: np.random.Generator, shape: tuple[int, int], thickness_A: float, settings: IceSettings
) -> NDArray[np.float32]:
    """Thickness of the film, A, ``(h, w)``: a wedge, and the meniscus of the hole in which the field lies.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    shape : tuple of int
        Of the field.
    thickness_A : float
        Mean.
    settings : IceSettings
        Largest wedge and meniscus.
    """
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    angle = float(rng.uniform(0, 2 * np.pi))
    x0, y0 = (float(place) for place in rng.uniform(-0.25, 0.25, 2))
    bend, tilt = settings.meniscus * float(rng.uniform(0.3, 1)), settings.wedge * float(rng.uniform(0, 1))
    # The mean of a squared coordinate is 1/3.
    across = bend * ((x - x0) ** 2 - x0**2 - 1 / 3) + tilt * math.cos(angle) * x
    along = bend * ((y - y0) ** 2 - y0**2 - 1 / 3) + tilt * math.sin(angle) * y
    return np.asarray(thickness_A * (1 + across) + thickness_A * along, dtype=np.float32)
