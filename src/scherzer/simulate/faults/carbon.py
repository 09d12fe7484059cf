"""The edge of a hole in the carbon film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.physics.scattering import V_A2_PER_A, electron_scattering_factor_A
from scherzer.simulate.faults.maps import Float32Array, Nodes, step

# Density of evaporated carbon and its mean inner potential (Wanner et al. 2006, Ultramicroscopy 106, 341).
ATOMS_PER_A3, MEAN_POTENTIAL_V = 1.75 / 12.011 * 0.60221, 9.09
# Carbon costs as many electrons as twice its thickness of ice: it has twice ice's mass in the same volume.
ICE_EQUIVALENT = 2.0
# Radius of the hole, thickness of the film, A.
HOLE_A, CARBON_A = (6000.0, 12000.0), (100.0, 200.0)
# The film is thicker along the hole, A wide and as a share; the edge is uneven by so much, A, over such lengths, A.
LIP_WIDTH_A, LIP = 70.0, (0.3, 1.0)
UNEVEN_A = ((7.0, 25.0), (12.0, 90.0), (30.0, 700.0))
EDGE_WIDTH_A = 18.0
# Ice climbs the edge: so much thicker there, a share, and falling off over this length, A. On the carbon, a share.
CLIMB, CLIMB_LENGTH_A, ON_CARBON = (0.25, 0.9), (500.0, 1500.0), (0.4, 1.1)
# No particle is usable so near the edge, A. On carbon there are none, or more than in ice.
NO_PARTICLES_A, CROWD = 70.0, (1.0, 2.0)


@dataclass(frozen=True)
class CarbonEdge:
    """A part of the carbon film over the field, each array ``(H, W)``.

    Attributes
    ----------
    carbon_A : ndarray
        Thickness of the carbon.
    film : ndarray
        Factor of the ice's thickness.
    crowding : ndarray
        Factor of the number of particles.
    hole_A : tuple of float
        Row, column and radius of the hole, A.
    """

    carbon_A: Float32Array
    film: Float32Array
    crowding: Float32Array
    hole_A: tuple[float, float, float]


def carbon_edge(rng: np.random.Generator, shape: tuple[int, int], pixel_size_A: float, margin_A: float) -> CarbonEdge:
    """Draw the edge of a round hole that crosses the image.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    shape : tuple of int
        ``(H, W)``.
    pixel_size_A : float
        Pixel size.
    margin_A : float
        Width of the margin around the image.
    """
    nodes = Nodes.over(shape, pixel_size_A)
    point = [margin_A + rng.uniform(0.2, 0.8) * (side - 2 * margin_A) for side in nodes.sides_A]
    radius_A, angle = rng.uniform(*HOLE_A), rng.uniform(0, 2 * np.pi)
    row_A, column_A = point[0] - radius_A * np.sin(angle), point[1] - radius_A * np.cos(angle)
    outside_A = np.hypot(nodes.y_A - row_A, nodes.x_A - column_A).astype(np.float32) - np.float32(radius_A)
    for uneven_A, length_A in UNEVEN_A:
        outside_A += uneven_A * nodes.smooth(rng, length_A)
    full_A = rng.uniform(*CARBON_A)
    lip = 1 + rng.uniform(*LIP) * np.exp(-((outside_A / LIP_WIDTH_A) ** 2))
    climb = 1 + rng.uniform(*CLIMB) * np.exp(-np.abs(outside_A) / rng.uniform(*CLIMB_LENGTH_A))
    share = rng.uniform(*ON_CARBON)
    crowd = rng.uniform(*CROWD) if rng.random() < 0.5 else 0.0
    outside_px_A = nodes.pixels(outside_A)
    onto = step(outside_px_A, EDGE_WIDTH_A)
    carbon_A = nodes.pixels(full_A * lip) * onto
    film = nodes.pixels(climb) * (1 - np.float32(1 - share) * step(outside_px_A, 3 * EDGE_WIDTH_A))
    crowding = np.where(outside_px_A > 0, np.float32(crowd), np.float32(1))
    crowding[np.abs(outside_px_A) < NO_PARTICLES_A] = 0
    return CarbonEdge(carbon_A, film, crowding, (row_A, column_A, float(radius_A)))


def carbon_structure_factor(k: Tensor) -> Tensor:
    """Fluctuation of amorphous carbon's density, relative to independent atoms.

    Its broad rings lie near 2.1 and 1.2 A. Evaporated carbon is frozen in far from equilibrium: it scatters at low
    frequency, where ice hardly does, which is why its Thon rings are strong. Heights and widths are plausible values.
    """
    rings = 1.4 * torch.exp(-((k - 0.475) ** 2) / (2 * 0.05**2)) + 0.5 * torch.exp(-((k - 0.83) ** 2) / (2 * 0.07**2))
    return 0.25 + 0.75 * torch.sigmoid((k - 0.40) / 0.04) + rings + 2.0 / (1 + (k * 25) ** 2) ** 2


def carbon_noise_density(k: Tensor, thickness_A: float) -> Tensor:
    """Power spectral density of the projected potential of carbon, V^2 A^4.

    Parameters
    ----------
    k : Tensor
        Spatial frequency, 1/A.
    thickness_A : float
        Thickness of the film.
    """
    atom = V_A2_PER_A * electron_scattering_factor_A("C", k**2)
    return thickness_A * ATOMS_PER_A3 * atom**2 * carbon_structure_factor(k)


def carbon_structure_V_A(
    rng: np.random.Generator, thickness_A: NDArray[np.float32], pixel_size_A: float
) -> Float32Array:
    """Draw the structure of a carbon film of varying thickness, ``(H, W)``, mean 0."""
    height, width = thickness_A.shape
    white = torch.from_numpy(rng.standard_normal((height, width), dtype=np.float32))
    k = torch.hypot(torch.fft.fftfreq(height, pixel_size_A)[:, None], torch.fft.rfftfreq(width, pixel_size_A))
    table = torch.sqrt(carbon_noise_density(torch.linspace(0, float(k.max()), 1024), 1.0)) / pixel_size_A
    transfer = table[(k * (1023 / float(k.max()))).round().long()]
    transfer[0, 0] = 0
    noise = torch.fft.irfft2(torch.fft.rfft2(white) * transfer, s=(height, width)).numpy()
    return np.asarray(noise * np.sqrt(thickness_A), dtype=np.float32)
