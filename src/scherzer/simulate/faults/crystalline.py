"""Crystalline ice: grains of hexagonal ice with their lattice, their Bragg contrast and their boundaries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from scherzer.physics.scattering import ice_potential_V
from scherzer.simulate.faults.ice_lattice import reflections
from scherzer.simulate.faults.maps import Float32Array, Nodes

Array = NDArray[np.float64]

# Width of grains (median, scatter of the logarithm, limits), from mosaics to plates that show bend contours.
GRAIN_MEDIAN_A, GRAIN_SCATTER, GRAIN_A = 280.0, 0.45, (140.0, 800.0)
# A grain thins out towards its neighbours over this share of its width.
ROUNDED = 0.22
# Grains whose c axis is within about this of the beam, and their share; the others lie in any orientation.
FLAT_RAD, FLAT_SHARE = 0.035, (0.5, 1.0)
# Bend of the film, and over which length; spread of orientations within a grain. Plausible values.
BEND_RAD, BEND_LENGTH_A, MOSAIC_RAD = 0.012, 220.0, 0.020
# Share of the lattice's amplitude that disorder and beam damage leave. Plausible.
ORDER = 0.9
# Share of the diffracted electrons that pass the objective aperture and fall on the image, displaced.
THROUGH_APERTURE = 0.8
# Scatter of thickness between grains, a share; height and width of the ridges where grains meet, A.
GRAIN_THICKNESS, RIDGE_A, RIDGE_WIDTH_A = 0.02, 12.0, 9.0
# Waves weaker than this do not count, V A.
WEAKEST_V_A = 8.0


@dataclass(frozen=True)
class Beam:
    """What decides how a lattice is seen.

    Attributes
    ----------
    wavelength_A : float
        Of the electrons.
    rad_per_V_A : float
        Phase for each unit of projected potential.
    defocus_A : float
        Underfocus.
    """

    wavelength_A: float
    rad_per_V_A: float
    defocus_A: float


@dataclass(frozen=True)
class Crystals:
    """Crystalline ice over the field.

    Attributes
    ----------
    potential_V_A : ndarray
        ``(H, W)``: lattices, steps between grains and ridges.
    arriving : ndarray
        ``(H, W)``: electrons in the image, relative to those without diffraction. Grains that diffract are dark; what
        they diffract arrives displaced.
    inside : ndarray of bool
        ``(H, W)``: crystalline.
    grains_A : list of tuple
        Row, column and mean radius of each crystalline grain, A.
    """

    potential_V_A: Float32Array
    arriving: Float32Array
    inside: NDArray[np.bool_]
    grains_A: list[tuple[float, float, float]]


def crystalline_ice(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size_A: float, thickness_A: float, beam: Beam
) -> Crystals:
    """Draw a film of hexagonal ice, all over the field or in patches.

    A reflection is as strong as the inclination of its grain lets it be; the bend of the film makes that vary
    within the grain, which gives bend contours. Diffracted electrons are missing where they were diffracted, and
    arrive displaced by the wavelength times the defocus over the spacing.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    shape : tuple of int
        ``(H, W)``.
    pixel_size_A : float
        Pixel size; of reflections beyond its Nyquist frequency only the loss of electrons is seen.
    thickness_A : float
        Of the film.
    beam : Beam
        Wavelength, interaction constant and underfocus.
    """
    nodes = Nodes.over(shape, pixel_size_A)
    width_A = float(np.clip(GRAIN_MEDIAN_A * np.exp(rng.normal(0, GRAIN_SCATTER)), *GRAIN_A))
    centres_A, label, edge_A = _grains(rng, nodes, width_A)
    crystalline = _members(rng, nodes, centres_A)
    frequencies, volts = reflections()
    turned = np.einsum("nij,gj->ngi", _orientations(rng, len(centres_A)).as_matrix(), frequencies)
    phases = rng.uniform(0, 2 * np.pi, turned.shape[:2])
    shares = rng.random(turned.shape[:2])  # of two opposite beams the better excited one is the brighter
    thin = 1 - np.exp(-((edge_A / np.float32(ROUNDED * width_A)) ** 2))
    bend = np.stack([BEND_RAD * nodes.smooth(rng, BEND_LENGTH_A) for _ in range(2)])
    lattice = np.zeros(shape, np.float32)
    missing, displaced = np.zeros(nodes.counts, np.float32), np.zeros(nodes.counts, np.float32)
    spacing_A = nodes.step * nodes.pixel_size_A
    boxes = find_objects(label + 1, len(centres_A))
    for number in np.flatnonzero(crystalline):
        if boxes[number] is None:
            continue
        near = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in boxes[number])
        own = (label[near] == number) * thin[near]
        for wave, volt, phase, share in zip(turned[number], volts, phases[number], shares[number], strict=True):
            if _brightest_V_A(wave, volt, thickness_A) < WEAKEST_V_A:
                continue
            amplitude_V_A = own * _amplitude_V_A(wave, volt, thickness_A, bend[:, near[0], near[1]])
            if amplitude_V_A.max() < WEAKEST_V_A:
                continue
            intensity = 2 * (beam.rad_per_V_A * amplitude_V_A / 2) ** 2
            missing[near] += intensity
            shift = np.round(beam.wavelength_A * beam.defocus_A * wave[1::-1] / spacing_A).astype(int)
            _add(displaced, share * intensity, near[0].start + shift[0], near[1].start + shift[1])
            _add(displaced, (1 - share) * intensity, near[0].start - shift[0], near[1].start - shift[1])
            if np.hypot(*wave[:2]) < 0.48 / pixel_size_A:
                fine, top, left = nodes.patch(amplitude_V_A, *near)
                fine *= _wave(fine.shape, wave * pixel_size_A, phase)
                lattice[top : top + fine.shape[0], left : left + fine.shape[1]] += fine
    inside = crystalline[label].astype(np.float32)
    uneven = GRAIN_THICKNESS * thickness_A * rng.standard_normal(len(centres_A), dtype=np.float32)[label]
    broken = np.clip(0.5 + nodes.smooth(rng, 0.5 * width_A), 0, None)
    ridge = RIDGE_A * broken * np.exp(-((edge_A / RIDGE_WIDTH_A) ** 2))
    relief_A = nodes.pixels((uneven + ridge) * inside)
    lattice += np.float32(ice_potential_V()) * relief_A
    arriving = np.exp(-missing) + THROUGH_APERTURE * displaced
    radii_A = np.sqrt(np.bincount(label.ravel(), minlength=len(centres_A)) * spacing_A**2 / np.pi)
    grains_A = np.column_stack((centres_A, radii_A))[crystalline & (radii_A > 0)]
    seen = [(float(row), float(column), float(radius)) for row, column, radius in grains_A]
    return Crystals(lattice, nodes.pixels(arriving), nodes.pixels(inside) > 0.5, seen)


def _grains(rng: np.random.Generator, nodes: Nodes, width_A: float) -> tuple[Array, NDArray[np.intp], Float32Array]:
    """Divide the field into cells: their centres, the cell of each node and its distance from the next cell."""
    rows, columns = (int(np.ceil(side / width_A)) + 3 for side in nodes.sides_A)
    corners = np.stack(np.meshgrid(np.arange(rows) - 1.0, np.arange(columns) - 1.0, indexing="ij"), axis=-1)
    centres_A = (corners + rng.uniform(0.05, 0.95, corners.shape)).reshape(-1, 2) * width_A
    uneven = [0.1 * width_A * nodes.smooth(rng, 0.25 * width_A) for _ in range(2)]
    places = np.stack((nodes.y_A + uneven[0], nodes.x_A + uneven[1]), axis=-1)
    distance, label = (np.asarray(found) for found in cKDTree(centres_A).query(places, 2))
    return centres_A, label[..., 0], ((distance[..., 1] - distance[..., 0]) / 2).astype(np.float32)


def _members(rng: np.random.Generator, nodes: Nodes, centres_A: Array) -> NDArray[np.bool_]:
    """Choose the grains that are crystalline: all, or those whose middles lie in some patches."""
    patches = nodes.smooth(rng, 0.2 * min(nodes.sides_A))
    level = rng.uniform(-0.8, 0.5) * patches.std() + patches.mean() if rng.random() < 0.5 else -np.inf
    spacing_A = nodes.step * nodes.pixel_size_A
    rows, columns = np.round(centres_A / spacing_A).astype(int).clip(0, np.array(nodes.counts) - 1).T
    return np.asarray(patches[rows, columns] > level)


def _orientations(rng: np.random.Generator, count: int) -> Rotation:
    """Draw orientations of grains, many of them with the c axis along the beam."""
    tilt = rng.normal(0, FLAT_RAD, (count, 2))
    flat = Rotation.from_rotvec(np.column_stack((tilt, np.zeros(count)))) * Rotation.from_euler(
        "z", rng.uniform(0, 2 * np.pi, (count, 1))
    )
    free = Rotation.random(count, rng=rng)
    lies_flat = rng.random(count) < rng.uniform(*FLAT_SHARE)
    return Rotation.from_quat(np.where(lies_flat[:, None], flat.as_quat(), free.as_quat()))


def _rocking(wave: Array, volt: float, thickness_A: float) -> tuple[float, float]:
    """Amplitude of a lattice wave in the projected potential at best, and the inclination (1/A) at which it falls."""
    # Projection through a slab passes inclinations up to about one over its thickness. Blocks of a mosaic spread the
    # same intensity over more inclinations.
    slab = 0.4 / thickness_A
    width = float(np.hypot(slab, MOSAIC_RAD * np.hypot(wave[0], wave[1])))
    return 2 * ORDER * volt * thickness_A * float(np.sqrt(slab / width)), width


def _brightest_V_A(wave: Array, volt: float, thickness_A: float) -> float:
    """Amplitude where the film's bend favours a wave most."""
    best, width = _rocking(wave, volt, thickness_A)
    off = max(0.0, abs(wave[2]) - 3 * BEND_RAD * np.hypot(wave[0], wave[1]))
    return float(best * np.exp(-(off**2) / (2 * width**2)))


def _amplitude_V_A(wave: Array, volt: float, thickness_A: float, bend: Float32Array) -> Float32Array:
    """Amplitude where the film is bent by two angles (``(2, r, c)``, along x and y)."""
    best, width = _rocking(wave, volt, thickness_A)
    off = np.float32(wave[2]) + np.float32(wave[0]) * bend[0] + np.float32(wave[1]) * bend[1]
    return np.asarray(np.float32(best) * np.exp(off**2 * np.float32(-0.5 / width**2)), dtype=np.float32)


def _wave(shape: tuple[int, ...], per_px: Array, phase: float) -> Float32Array:
    """A cosine over pixels, by products of rows and columns."""
    rows = np.exp(2j * np.pi * per_px[1] * np.arange(shape[0]) + 1j * phase).astype(np.complex64)[:, None]
    columns = np.exp(2j * np.pi * per_px[0] * np.arange(shape[1])).astype(np.complex64)
    return rows.real * columns.real - rows.imag * columns.imag


def _add(target: Float32Array, patch: Float32Array, top: int, left: int) -> None:
    """Add a patch where it lies within the target."""
    y0, x0 = max(0, -top), max(0, -left)
    y1, x1 = min(patch.shape[0], target.shape[0] - top), min(patch.shape[1], target.shape[1] - left)
    if y1 > y0 and x1 > x0:
        target[top + y0 : top + y1, left + x0 : left + x1] += patch[y0:y1, x0:x1]
