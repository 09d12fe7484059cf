"""Vitreous ice: its structural noise, its thickness and what it costs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.physics.scattering import V_A2_PER_A, WATERS_PER_A3, electron_scattering_factor_A

# Water moves while it is imaged (McMullan et al. 2015, Ultramicroscopy 158, 26), which blurs its own structure.
WATER_MOTION_B_A2 = 110.0
# Electrons lost outside the aperture, and those that lose energy (300 kV; per unit of thickness).
APERTURE_MEAN_FREE_PATH_A = 9000.0
INELASTIC_MEAN_FREE_PATH_A = 3100.0
# Relative change of thickness from the middle of a hole to its edge, and from side to side.
MENISCUS, WEDGE = 0.10, 0.08


def water_structure_factor(k: Tensor) -> Tensor:
    """Fluctuation of the density of vitreous ice, relative to independent molecules.

    Small at low frequency, where the liquid's compressibility governs it, with the first peak at 3.7 A; a term below
    1/30 A stands for roughness of the surfaces.
    """
    liquid = 0.06 + 0.94 * torch.sigmoid((k - 0.22) / 0.025) + 0.6 * torch.exp(-((k - 0.27) ** 2) / (2 * 0.03**2))
    return liquid + 0.5 / (1 + (k * 45) ** 2) ** 2


def water_noise_density(k: Tensor, thickness_A: float) -> Tensor:
    """Power spectral density of the projected potential of ice, V^2 A^4.

    Parameters
    ----------
    k : Tensor
        Spatial frequency, 1/A.
    thickness_A : float
        Thickness of the film.
    """
    k2 = k**2
    molecule = V_A2_PER_A * (electron_scattering_factor_A("O", k2) + 2 * electron_scattering_factor_A("H", k2))
    blur = torch.exp(-WATER_MOTION_B_A2 / 4 * k2)
    return thickness_A * WATERS_PER_A3 * (molecule * blur) ** 2 * water_structure_factor(k)


def slab_amplitudes(k2: Tensor, wavelength_A: float, thickness_A: float) -> tuple[Tensor, Tensor]:
    """Share of a slab's noise that passes through sin(chi) and cos(chi), chi being that of the slab's middle.

    Scatterers spread evenly over the depth add to the sine and the cosine of the phase of the middle with independent
    amplitudes, whose variances are ``(1 + sinc)/2`` and ``(1 - sinc)/2`` with the sinc of ``lambda k^2 t``. Their sum
    gives CTFFIND5's spectrum of thick specimens.

    References
    ----------
    McMullan et al. 2015, eq. 5; Elferich et al. 2024, eq. 1.
    """
    sinc = torch.sinc(wavelength_A * k2 * thickness_A)
    return torch.sqrt((1 + sinc) / 2), torch.sqrt((1 - sinc).clamp(min=0) / 2)


def white_transform(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """Return the rfft of white noise of unit variance, ``(h, w // 2 + 1)``."""
    return torch.fft.rfft2(torch.from_numpy(rng.standard_normal((height, width), dtype=np.float32)))


def thickness_map(rng: np.random.Generator, height: int, width: int, thickness_A: float) -> NDArray[np.float32]:
    """Thickness over the image, A, ``(h, w)``: a wedge, and the meniscus of the hole in which the image lies."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    angle = rng.uniform(0, 2 * np.pi)
    x0, y0 = rng.uniform(-0.25, 0.25, 2)
    meniscus = MENISCUS * rng.uniform(0.3, 1) * ((x - x0) ** 2 + (y - y0) ** 2 - 0.67)
    wedge = WEDGE * rng.uniform(0, 1) * (x * np.cos(angle) + y * np.sin(angle))
    return np.asarray(thickness_A * (1 + meniscus + wedge), dtype=np.float32)
