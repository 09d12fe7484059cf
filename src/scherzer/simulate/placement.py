"""Where particles lie in the ice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from scherzer.geometry.rotations import from_euler, random_rotations
from scherzer.simulate.settings import ParticleSettings

Array = NDArray[np.float64]
Where = Any  # rows or columns: indices or a slice

# Film thinner than this many diameters, as in the middle of a hole, holds no particles: they are pushed aside.
THINNEST_DIAMETERS = 0.8
# Each particle keeps its neighbours off by up to this much more than the smallest distance, as a share of it. The
# distances between neighbours of apo-ferritin as picked (EMPIAR-10146) scatter so.
KEEPS_OFF = 0.4
# Share of the area that discs cover at most, those by which particles keep each other off: a dense liquid.
DENSEST = 0.8
PUSHES = 60
# Particles at an interface lie within about this depth, A.
DEPTH_A = 5.0
# In clumps particles lie over one another: their centres are this many diameters apart, in so many layers.
CLUMP_DIAMETERS, CLUMP_LAYERS = 0.55, 1.6
# The field's largest density and free area are taken from every so many pixels.
STRIDE_PX = 8


@dataclass(frozen=True)
class Placement:
    """Particles of one micrograph, those in the margin around it included.

    Attributes
    ----------
    x_px, y_px : ndarray
        ``(n,)``, in pixels of the micrograph.
    height_A : ndarray
        ``(n,)`` above the middle of the film, towards larger underfocus.
    rotations : Tensor
        ``(n, 3, 3)``, image frame to specimen frame.
    broken : ndarray of bool
        ``(n,)``.
    adsorbed : ndarray of int8
        ``(n,)``: 1 against the film's upper surface, -1 against its lower one, 0 free.
    clumped : ndarray of bool
        ``(n,)``: in an aggregate.
    """

    x_px: Array
    y_px: Array
    height_A: Array
    rotations: Tensor
    broken: NDArray[np.bool_]
    adsorbed: NDArray[np.int8]
    clumped: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x_px)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Placement:
        """Return some of the particles."""
        parts = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        parts["rotations"] = self.rotations[torch.from_numpy(np.asarray(chosen))]
        return Placement(**{name: part if name == "rotations" else part[chosen] for name, part in parts.items()})

    def inside(self, height_px: int, width_px: int) -> NDArray[np.bool_]:
        """Which centres lie in the image."""
        across = (self.x_px >= 0) & (self.x_px <= width_px - 1)
        return across & (self.y_px >= 0) & (self.y_px <= height_px - 1)


@dataclass(frozen=True)
class Room:
    """Where there is room for particles, over the field: the image and the margin around it.

    Attributes
    ----------
    image_px : tuple of int
        ``(h, w)`` of the image.
    margin_px : int
        From the field's first row and column to the image's.
    pixel_size_A : float
        Pixel size.
    film_A : ndarray
        ``(H, W)`` local thickness of the film.
    usual_A : float
        Thickness at which there are as many particles as the settings say.
    crowding : ndarray or None
        ``(H, W)`` factor of the number of particles; none lie where it is 0.
    clumps : ndarray of bool or None
        ``(H, W)``, where particles have aggregated.
    """

    image_px: tuple[int, int]
    margin_px: int
    pixel_size_A: float
    film_A: NDArray[np.float32]
    usual_A: float
    crowding: NDArray[np.float32] | None = None
    clumps: NDArray[np.bool_] | None = None


def place_particles(rng: np.random.Generator, settings: ParticleSettings, radius_A: float, room: Room) -> Placement:
    """Place particles in a film.

    Their number follows a Poisson distribution. Free particles are dissolved in the film, so that there are more of
    them where it is thicker; adsorbed ones belong to its surfaces, whatever its thickness. They then push each other
    aside until no two are closer than they can be; what has no room is left out.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    settings : ParticleSettings
        How many, how near and how adsorbed.
    radius_A : float
        Of a particle.
    room : Room
        The film.
    """
    diameter_px = 2 * radius_A / room.pixel_size_A
    per_px = settings.per_micrograph / (room.image_px[0] * room.image_px[1])

    def dissolved(rows: Where, columns: Where) -> Array:
        film = room.film_A[rows, columns]
        density: Array = per_px * (settings.adsorbed + (1 - settings.adsorbed) * film / np.float64(room.usual_A))
        density = np.where(film < THINNEST_DIAMETERS * 2 * radius_A, 0.0, density)
        return density if room.crowding is None else density * room.crowding[rows, columns]

    def aggregated(rows: Where, columns: Where) -> Array:
        assert room.clumps is not None
        return np.where(room.clumps[rows, columns], CLUMP_LAYERS / (np.pi / 4 * diameter_px**2), 0.0)

    closest = settings.closest_diameters
    free = _spread_out(rng, dissolved, room.film_A.shape, closest * diameter_px)
    clumped = np.zeros((0, 2))
    if room.clumps is not None and settings.per_micrograph:
        clumped = _spread_out(rng, aggregated, room.film_A.shape, min(CLUMP_DIAMETERS, closest) * diameter_px)
    points = np.concatenate((free, clumped))
    return _at(rng, points, np.arange(len(points)) >= len(free), settings, radius_A, room)


def _at(
    rng: np.random.Generator,
    points: Array,
    clumped: NDArray[np.bool_],
    settings: ParticleSettings,
    radius_A: float,
    room: Room,
) -> Placement:
    """Give particles at given positions (x and y in the field) their heights and orientations."""
    count = len(points)
    columns, rows = np.round(points).astype(int).T
    space_A = np.maximum(room.film_A[rows, columns] / 2.0 - radius_A, 0.0)
    side = np.where(rng.random(count) < 0.5, 1, -1)
    adsorbed = np.where((rng.random(count) < settings.adsorbed) & ~clumped, side, 0).astype(np.int8)
    at_surface = side * np.maximum(space_A - np.abs(rng.normal(0, DEPTH_A, count)), 0.0)
    rotations = random_rotations(count, rng) if count else torch.zeros((0, 3, 3))
    biased = np.flatnonzero((rng.random(count) < settings.preference) & (adsorbed != 0))
    if len(biased):
        rotations[torch.from_numpy(biased)] = preferred_rotations(rng, adsorbed[biased], settings)
    return Placement(
        x_px=points[:, 0] - room.margin_px,
        y_px=points[:, 1] - room.margin_px,
        height_A=np.where(adsorbed != 0, at_surface, rng.uniform(-1, 1, count) * space_A),
        rotations=rotations,
        broken=rng.random(count) < settings.broken,
        adsorbed=adsorbed,
        clumped=clumped,
    )


def preferred_rotations(rng: np.random.Generator, surface: NDArray[np.int8], settings: ParticleSettings) -> Tensor:
    """Draw orientations of particles that show one side to a surface.

    The viewing direction has the preferred tilt with a Gaussian spread, as a density on the sphere: a wide spread
    comes to uniform directions. The same side faces the other way at the lower surface, which is seen from the
    opposite direction: its tilt is 180 degrees less. Rot and psi are uniform.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    surface : ndarray
        ``(n,)``, 1 for the upper and -1 for the lower surface.
    settings : ParticleSettings
        Preferred tilt and its spread.

    Returns
    -------
    Tensor
        ``(n, 3, 3)``.
    """
    table = np.linspace(0, np.pi, 2049)
    offset = (table - np.deg2rad(settings.preferred_tilt_deg)) / np.deg2rad(settings.preference_spread_deg)
    weight = np.sin(table) * np.exp(-0.5 * offset**2)
    share = np.concatenate(([0.0], np.cumsum((weight[1:] + weight[:-1]) / 2)))
    tilt = np.interp(rng.random(len(surface)), share / share[-1], table)
    tilt = np.where(surface > 0, tilt, np.pi - tilt)
    rot, psi = rng.uniform(-np.pi, np.pi, (2, len(surface)))
    return from_euler(*(torch.from_numpy(angle) for angle in (rot, tilt, psi))).float()


def _spread_out(
    rng: np.random.Generator, density: Callable[[Where, Where], Array], shape: tuple[int, ...], closest_px: float
) -> Array:
    """Draw points (x and y) of a given density (1/px^2, of rows and columns), at least a distance apart."""
    sample = density(slice(None, None, STRIDE_PX), slice(None, None, STRIDE_PX))
    most = float(sample.max(initial=0.0))
    if most <= 0:
        return np.zeros((0, 2))
    # Thinning of a uniform process (Lewis and Shedler 1979) gives a Poisson process of the density asked for.
    drawn = rng.poisson(most * shape[0] * shape[1])
    limit = np.array([shape[1] - 1, shape[0] - 1], dtype=np.float64)
    points = rng.random((drawn, 2)) * limit
    points = points[rng.random(drawn) * most < _at_points(density, points)]
    radii = 0.5 * closest_px * (1 + KEEPS_OFF * rng.random(len(points)))
    free_px = float((sample > 0).mean()) * shape[0] * shape[1]
    fit = int(np.searchsorted(np.cumsum(np.pi * radii**2), DENSEST * free_px))
    points = _push_apart(points[:fit], limit, radii[:fit])
    points = points[_at_points(density, points) > 0]
    return _without_overlaps(points, closest_px)


def _at_points(density: Callable[[Where, Where], Array], points: Array) -> Array:
    columns, rows = np.round(points).astype(np.intp).T
    return density(rows, columns)


def _push_apart(points: Array, limit: Array, radii: Array) -> Array:
    """Move overlapping discs apart, pair by pair and all at once, until none overlap or there is no room."""
    points = points.copy()
    for _ in range(PUSHES if len(points) > 1 else 0):
        pairs = cKDTree(points).query_pairs(2 * radii.max(), output_type="ndarray")
        if not len(pairs):
            break
        first, second = pairs.T
        apart = points[first] - points[second]
        distance = np.hypot(*apart.T)
        overlap = radii[first] + radii[second] - distance
        close = overlap > 0
        if not close.any():
            break
        first, second = first[close], second[close]
        push = apart[close] * (0.5 * overlap[close] / np.maximum(distance[close], 1e-9))[:, None]
        for axis in range(2):
            points[:, axis] += np.bincount(first, push[:, axis], len(points))
            points[:, axis] -= np.bincount(second, push[:, axis], len(points))
        np.clip(points, 0, limit, out=points)
    return points


def _without_overlaps(points: Array, closest_px: float) -> Array:
    """Leave out points until no two are closer than a distance, those with most neighbours first."""
    while len(points) > 1:
        pairs = cKDTree(points).query_pairs(closest_px * (1 - 1e-9), output_type="ndarray")
        if not len(pairs):
            break
        crowd = np.bincount(pairs.ravel(), minlength=len(points))
        worst = np.where(crowd[pairs[:, 0]] > crowd[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
        # A point that stands beside one that is left out in this round may do without leaving.
        leaves = np.zeros(len(points), bool)
        leaves[worst[crowd[worst] == crowd[worst].max()]] = True
        points = points[~leaves]
    return points
