"""From potentials to the contrast of an image: weak-phase imaging with every particle at its own defocus.

A particle at height z has the phase ``chi + delta`` with ``delta = pi lambda k^2 z``. Since
``sin(chi + delta) = sin(chi) cos(delta) + cos(chi) sin(delta)``, two fields hold all heights exactly: one that passes
through the sine of the middle's phase and one through its cosine. ``delta`` moves signal by a few angstrom at most, so
it is applied in the particle's small box; the long-range ``chi`` is applied to the whole field.

Radiation destroys the particles' structure but leaves their atoms: what fades from a particle's signal comes back as
disorder of the same spectrum, which fades in its turn. Its stand-in is the difference of two other particles'
projections, turned, which has their fine detail and not their common shape.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft
from torch import Tensor

from scherzer.physics.dose import critical_dose_e_per_A2, mean_survival
from scherzer.simulate.field import Array, ComplexArray, FieldGrid
from scherzer.simulate.ice import mean_power, slab_spectrum, water_noise_density
from scherzer.simulate.lens import Lens, table
from scherzer.simulate.placement import Placement
from scherzer.simulate.ring_power import ring_frequencies, ring_power
from scherzer.simulate.specimen import FRAGMENT_KINDS, Specimen, project
from scherzer.simulate.threads import for_all

# Particles projected at once; bounds memory.
BATCH = 32


@dataclass(frozen=True)
class Depths:
    """Projected potential of scatterers at many heights, V A: ``(h, w)`` fields or their transforms.

    Attributes
    ----------
    sine, cosine : ndarray
        What passes through the sine and the cosine of the phase of the film's middle.
    """

    sine: Array | ComplexArray
    cosine: Array | ComplexArray


@dataclass(frozen=True)
class Particles:
    """Projected potential of the particles.

    Attributes
    ----------
    structure : Depths
        As they are before they are damaged.
    disorder : ndarray
        Potential of the same spectrum at the same places, unlike the particles' in all detail, in the film's middle.
    power : Tensor
        ``(n, m)``, mean squared transform of each particle's projection at `ring_frequencies`, (V A)^2.
    """

    structure: Depths
    disorder: Array | ComplexArray
    power: Tensor

    def transforms(self, pool: ThreadPoolExecutor, grid: FieldGrid) -> Particles:
        """Transform real fields."""
        parts = (self.structure.sine, self.structure.cosine, self.disorder)
        sine, cosine, disorder = pool.map(grid.transform, parts)
        return Particles(Depths(sine, cosine), disorder, self.power)


@dataclass(frozen=True)
class Contrast:
    """Transforms ``(h, w // 2 + 1)`` of relative contrast, (intensity - mean) / mean, before anything moves or fades.

    Attributes
    ----------
    protein : ndarray
        Of the particles.
    still : ndarray
        Of all else that does not fade: what lies in the film, and the damaged particles' disorder.
    water : ndarray of float32
        Amplitude of the noise of ice at one moment, for white noise of unit variance.
    """

    protein: ComplexArray
    still: ComplexArray
    water: Array


def particle_fields(
    pool: ThreadPoolExecutor,
    rng: np.random.Generator,
    specimen: Specimen,
    placement: Placement,
    grid: FieldGrid,
    wavelength_A: float,
) -> Particles:
    """Project the particles and add them to the field, each at its height; returns real fields.

    Parameters
    ----------
    pool : ThreadPoolExecutor
        For the work.
    rng : Generator
        Source of the particles' deformations, and of the ways in which they are broken.
    specimen : Specimen
        A particle.
    placement : Placement
        Where the particles lie.
    grid : FieldGrid
        The field.
    wavelength_A : float
        Electron wavelength.
    """
    box = specimen.box_px(grid.pixel_size_A)
    # Room for delta, which moves signal by up to lambda k z.
    reach_A = wavelength_A * float(np.abs(placement.height_A).max(initial=0)) / (2 * grid.pixel_size_A)
    box += 2 * int(np.ceil(reach_A / grid.pixel_size_A))
    sine, cosine, disorder = (np.zeros((grid.height, grid.width), np.float32) for _ in range(3))
    at = np.stack((placement.x_px, placement.y_px), axis=1) + grid.margin_px
    corners = np.round(at).astype(int) - box // 2
    offsets = torch.from_numpy(at - np.round(at)).float()
    delta_per_A = np.float32(np.pi * wavelength_A) * _squared_frequencies(box, grid.pixel_size_A)
    deformations = specimen.draw_deformations(rng, len(placement))
    kinds = np.where(placement.broken, rng.integers(0, FRAGMENT_KINDS, len(placement)), -1)
    sources = {int(kind): specimen.fragment(int(kind)) if kind >= 0 else specimen for kind in np.unique(kinds)}

    def project_batch(job: tuple[int, NDArray[np.intp]]) -> tuple[Array, Array, Tensor]:
        kind, chosen = job
        index = torch.from_numpy(chosen)
        shapes = None if deformations is None else deformations[index]
        found = project(sources[kind], placement.rotations[index], offsets[index], box, grid.pixel_size_A, shapes)
        delta = delta_per_A * placement.height_A[chosen, None, None].astype(np.float32)
        through, beside = (fft.irfft2(found.numpy() * wave(delta), s=(box, box)) for wave in (np.cos, np.sin))
        return through, beside, ring_power(found, grid.pixel_size_A)

    jobs = []
    for kind in sources:
        chosen = np.flatnonzero(kinds == kind)
        jobs += [(kind, chosen[start : start + BATCH]) for start in range(0, len(chosen), BATCH)]
    power = torch.zeros(len(placement), len(ring_frequencies(grid.pixel_size_A)), dtype=torch.float64)
    for (_, chosen), (through, beside, squares) in zip(jobs, pool.map(project_batch, jobs), strict=True):
        power[torch.from_numpy(chosen)] = squares
        for number, particle in enumerate(chosen):
            _add_patch(sine, through[number], corners[particle])
            _add_patch(cosine, beside[number], corners[particle])
            difference = through[number - 1][::-1, ::-1] - through[(number - 2) % len(chosen)][::-1]
            difference *= np.float32(0.5**0.5)
            _add_patch(disorder, difference, corners[particle])
    return Particles(Depths(sine, cosine), disorder, power)


def form_contrast(
    pool: ThreadPoolExecutor,
    lens: Lens,
    grid: FieldGrid,
    particles: Particles,
    still: ComplexArray | None,
    thickness_A: float,
    dose_e_per_A2: float,
    camera: Callable[[Tensor, float], Tensor],
) -> Contrast:
    """Image potentials.

    Parameters
    ----------
    pool : ThreadPoolExecutor
        For the work.
    lens : Lens
        Optics.
    grid : FieldGrid
        Where.
    particles : Particles
        Transforms; overwritten.
    still : ndarray or None
        Transform of other potential, V A, that lies in the film's middle plane; overwritten.
    thickness_A : float
        Of the ice.
    dose_e_per_A2 : float
        Exposure, which decides how much of the particles becomes disorder.
    camera : callable
        What the camera leaves of spatial frequencies (1/A), given those and the pixel size (A).
    """
    k = grid.radii
    per_V_A = lens.contrast_per_V_A(k) * camera(k, grid.pixel_size_A)
    constant, slope = slab_spectrum(k, lens.wavelength_A, thickness_A)
    # White noise of unit variance in every pixel has a density of one pixel's area.
    density = water_noise_density(k, thickness_A) * per_V_A**2 / grid.pixel_size_A**2
    density[0] = 0  # the mean potential of the film only shifts the phase of the whole image
    damping, constants, slopes = table(per_V_A), table(constant * density), table(slope * density)
    decay = table(_disorder(k, dose_e_per_A2, lens.microscope.voltage_kV))
    structure, disorder = particles.structure, particles.disorder
    water = np.empty(structure.sine.shape, np.float32)

    def image(rows: slice) -> None:
        place = grid.place(rows)
        sine, cosine = lens.sine_cosine(grid, rows)
        np.sqrt(constants[place] + slopes[place] * sine**2, out=water[rows])
        sine *= damping[place]
        cosine *= damping[place]
        coma = lens.coma(grid, rows)
        through = sine if coma is None else sine * coma
        beside = cosine if coma is None else cosine * coma
        structure.sine[rows] *= through
        structure.sine[rows] += structure.cosine[rows] * beside
        disorder[rows] *= decay[place]
        if still is not None:
            disorder[rows] += still[rows]
        disorder[rows] *= through

    for_all(pool, image, grid.blocks)
    return Contrast(np.asarray(structure.sine), np.asarray(disorder), water)


def _disorder(k: Tensor, dose_e_per_A2: float, voltage_kV: float) -> Tensor:
    """Amplitude of the disorder that is left in the mean over an exposure.

    Structure that fades as ``exp(-D / 2 N)`` while the atoms stay has moments whose correlation falls in the same way:
    the power of their mean is that of :func:`scherzer.simulate.ice.mean_power`, of which the particle's own structure
    has its share.
    """
    decays = dose_e_per_A2 / (2 * critical_dose_e_per_A2(k, voltage_kV))
    own = mean_survival(k, 0.0, dose_e_per_A2, voltage_kV)
    return torch.sqrt((mean_power(decays) - own.double() ** 2).clamp(min=0))


def _squared_frequencies(box: int, pixel_size_A: float) -> Array:
    k = np.fft.fftfreq(box, pixel_size_A).astype(np.float32)
    return np.asarray(k[:, None] ** 2 + k[: box // 2 + 1] ** 2)


def _add_patch(target: Array, patch: Array, corner: NDArray[np.int_]) -> None:
    """Add a patch where it lies within the target."""
    height, width = patch.shape
    left, top = int(corner[0]), int(corner[1])
    y0, x0 = max(0, -top), max(0, -left)
    y1, x1 = min(height, target.shape[0] - top), min(width, target.shape[1] - left)
    if y1 > y0 and x1 > x0:
        target[top + y0 : top + y1, left + x0 : left + x1] += patch[y0:y1, x0:x1]
