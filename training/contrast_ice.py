"""The ice of the training images: a film whose noise keeps still, as the shipped weights have seen it."""

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


def water_noise_density(k: Tensor, thickness_A: float) -> Tensor:
    """Power spectral density of the projected potential of ice in the mean over an exposure, V^2 A^4."""
    k2 = k**2
    liquid = 0.06 + 0.94 * torch.sigmoid((k - 0.22) / 0.025) + 0.6 * torch.exp(-((k - 0.27) ** 2) / (2 * 0.03**2))
    molecule = V_A2_PER_A * (electron_scattering_factor_A("O", k2) + 2 * electron_scattering_factor_A("H", k2))
    blur = torch.exp(-WATER_MOTION_B_A2 / 4 * k2)
    return thickness_A * WATERS_PER_A3 * (molecule * blur) ** 2 * (liquid + 0.5 / (1 + (k * 45) ** 2) ** 2)


def slab_amplitudes(k2: Tensor, wavelength_A: float, thickness_A: float) -> tuple[Tensor, Tensor]:
    """Share of a slab's noise that passes through sine and cosine of the phase of its middle."""
    sinc = torch.sinc(wavelength_A * k2 * thickness_A)
    return torch.sqrt((1 + sinc) / 2), torch.sqrt((1 - sinc).clamp(min=0) / 2)


def thickness_map(rng: np.random.Generator, height: int, width: int, thickness_A: float) -> NDArray[np.float32]:
    """Thickness over the image, A, ``(h, w)``: a wedge, and the meniscus of the hole in which the image lies."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    angle = rng.uniform(0, 2 * np.pi)
    x0, y0 = rng.uniform(-0.25, 0.25, 2)
    meniscus = MENISCUS * rng.uniform(0.3, 1) * ((x - x0) ** 2 + (y - y0) ** 2 - 0.67)
    wedge = WEDGE * rng.uniform(0, 1) * (x * np.cos(angle) + y * np.sin(angle))
    return np.asarray(thickness_A * (1 + meniscus + wedge), dtype=np.float32)
