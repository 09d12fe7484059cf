"""From potentials to the contrast of an image: weak-phase imaging with every particle at its own defocus.

A particle at height z has the phase ``chi + delta`` with ``delta = pi lambda k^2 z``. Since
``sin(chi + delta) = sin(chi) cos(delta) + cos(chi) sin(delta)``, two fields hold all heights exactly: one that passes
through the sine of the middle's phase and one through its cosine. ``delta`` moves signal by a few angstrom at most, so
it is applied in the particle's small box; the long-range ``chi`` is applied to the whole field.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from scherzer.physics.ctf import CtfParameters, ctf
from scherzer.physics.envelopes import b_factor_envelope, interaction_rad_per_V_A, spatial_coherence_envelope
from scherzer.physics.scattering import ice_potential_V
from scherzer.simulate.ice import slab_amplitudes, water_noise_density, white_transform
from scherzer.simulate.placement import Placement
from scherzer.simulate.settings import SimulationSettings
from scherzer.simulate.specimen import Specimen, project

# Delocalised signal reaches this far into the image from outside, A.
MARGIN_A = 160.0


@dataclass(frozen=True)
class FieldGrid:
    """The simulated field: the image with a margin on every side, so that nothing wraps around into it.

    Attributes
    ----------
    height, width : int
        Of the field, px.
    margin_px : int
        Distance from the field's corner to the image's.
    pixel_size_A : float
        Pixel size.
    """

    height: int
    width: int
    margin_px: int
    pixel_size_A: float

    @property
    def kx(self) -> Tensor:
        """``(w // 2 + 1,)``, 1/A."""
        return torch.arange(self.width // 2 + 1) / (self.width * self.pixel_size_A)

    @property
    def ky(self) -> Tensor:
        """``(h, 1)``, 1/A."""
        return torch.fft.fftfreq(self.height, self.pixel_size_A)[:, None]

    @property
    def k2(self) -> Tensor:
        """``(h, w // 2 + 1)``, 1/A^2."""
        return self.kx**2 + self.ky**2

    def image(self, transform: Tensor, height_px: int, width_px: int) -> Tensor:
        """Return the image's part of a transformed field."""
        field = torch.fft.irfft2(transform, s=(self.height, self.width))
        return field[self.margin_px : self.margin_px + height_px, self.margin_px : self.margin_px + width_px]


def field_grid(height_px: int, width_px: int, pixel_size_A: float) -> FieldGrid:
    """Return the field around an image, with sides for which transforms are fast."""
    margin = int(np.ceil(MARGIN_A / pixel_size_A))
    height, width = (2 * next_fast_len((side + 2 * margin + 1) // 2) for side in (height_px, width_px))
    return FieldGrid(height, width, margin, pixel_size_A)


@dataclass(frozen=True)
class Depths:
    """Projected potential of scatterers at many heights, V A, as transforms ``(h, w // 2 + 1)``.

    Attributes
    ----------
    sine, cosine : Tensor
        What passes through the sine and the cosine of the phase of the film's middle.
    """

    sine: Tensor
    cosine: Tensor

    def __add__(self, other: Depths) -> Depths:
        return Depths(self.sine + other.sine, self.cosine + other.cosine)


def particle_depths(specimen: Specimen, placement: Placement, grid: FieldGrid, wavelength_A: float) -> Depths:
    """Project the particles and add them to the field, each at its height."""
    box = specimen.box_px(grid.pixel_size_A)
    # Room for delta, which moves signal by up to lambda k z.
    reach_A = wavelength_A * float(np.abs(placement.height_A).max(initial=0)) / (2 * grid.pixel_size_A)
    box += 2 * int(np.ceil(reach_A / grid.pixel_size_A))
    sine = np.zeros((grid.height, grid.width), np.float32)
    cosine = np.zeros_like(sine)
    x, y = placement.x_px + grid.margin_px, placement.y_px + grid.margin_px
    for broken in (False, True):
        chosen = np.flatnonzero(placement.broken == broken)
        if not len(chosen):
            continue
        source = specimen.fragment() if broken else specimen
        whole = np.stack((np.round(x[chosen]), np.round(y[chosen])), axis=1)
        offsets = torch.from_numpy(np.stack((x[chosen], y[chosen]), axis=1) - whole).float()
        transforms = project(source, placement.rotations[torch.from_numpy(chosen)], offsets, box, grid.pixel_size_A)
        k = torch.fft.fftfreq(box, grid.pixel_size_A)
        k2 = k[:, None] ** 2 + (torch.arange(box // 2 + 1) / (box * grid.pixel_size_A)) ** 2
        delta = np.pi * wavelength_A * k2 * torch.from_numpy(placement.height_A[chosen]).float()[:, None, None]
        for target, factor in ((sine, torch.cos(delta)), (cosine, torch.sin(delta))):
            patches = torch.fft.irfft2(transforms * factor, s=(box, box)).numpy()
            for patch, corner in zip(patches, (whole - box // 2).astype(int), strict=True):
                _add_patch(target, patch, corner[1], corner[0])
    return Depths(torch.fft.rfft2(torch.from_numpy(sine)), torch.fft.rfft2(torch.from_numpy(cosine)))


def water_depths(rng: np.random.Generator, grid: FieldGrid, thickness_A: float, wavelength_A: float) -> Depths:
    """Draw the structural noise of an ice film."""
    k2 = grid.k2
    size = torch.sqrt(water_noise_density(torch.sqrt(k2), thickness_A)) / grid.pixel_size_A
    size[0, 0] = 0  # the mean potential of the film only shifts the phase of the whole image
    sine, cosine = slab_amplitudes(k2, wavelength_A, thickness_A)
    first, second = (white_transform(rng, grid.height, grid.width) for _ in range(2))
    return Depths(first * size * sine, second * size * cosine)


def surface_depths(height_A: Tensor) -> Depths:
    """Return ice of a given height (A, over the whole field) lying in the middle plane, as contamination does."""
    potential = torch.fft.rfft2(height_A * ice_potential_V())
    return Depths(potential, torch.zeros_like(potential))


def relative_contrast(
    depths: Depths, parameters: CtfParameters, grid: FieldGrid, settings: SimulationSettings
) -> Tensor:
    """Transform of the image's contrast: (intensity - mean) / mean.

    Parameters
    ----------
    depths : Depths
        What is imaged.
    parameters : CtfParameters
        Of the middle of the film, ``(1,)``.
    grid : FieldGrid
        Where.
    settings : SimulationSettings
        Voltage and envelopes.

    Returns
    -------
    Tensor
        ``(h, w // 2 + 1)`` complex64; protein is dark.
    """
    kx, ky = torch.broadcast_tensors(grid.kx, grid.ky)
    cosine = replace(parameters, phase_shift_rad=parameters.phase_shift_rad + torch.pi / 2)
    waves = depths.sine * ctf(parameters, kx, ky)[0] + depths.cosine * ctf(cosine, kx, ky)[0]
    defocus_A = float(parameters.defocus_u_A + parameters.defocus_v_A) / 2
    optics = settings.microscope.optics
    envelope = b_factor_envelope(grid.k2, settings.microscope.b_factor_A2) * spatial_coherence_envelope(
        grid.k2,
        defocus_A,
        optics.cs_mm * 1e7,
        float(parameters.wavelength_A),
        settings.microscope.beam_semiangle_mrad * 1e-3,
    )
    return waves * (envelope * (-2 * interaction_rad_per_V_A(settings.microscope.voltage_kV)))


def _add_patch(target: np.ndarray[Any, Any], patch: np.ndarray[Any, Any], top: int, left: int) -> None:
    """Add a patch where it lies within the target."""
    height, width = patch.shape
    y0, x0 = max(0, -top), max(0, -left)
    y1, x1 = min(height, target.shape[0] - top), min(width, target.shape[1] - left)
    if y1 > y0 and x1 > x0:
        target[top + y0 : top + y1, left + x0 : left + x1] += patch[y0:y1, x0:x1]
