"""Where particles lie in the ice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.geometry.rotations import random_rotations

# Centres no closer than this many diameters: neighbours may nearly touch.
CLOSEST_DIAMETERS = 0.95
TRIES_PER_PARTICLE = 40


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
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    height_A: NDArray[np.float64]
    rotations: Tensor
    broken: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x_px)

    def inside(self, height_px: int, width_px: int) -> NDArray[np.bool_]:
        """Which centres lie in the image."""
        across = (self.x_px >= 0) & (self.x_px <= width_px - 1)
        return across & (self.y_px >= 0) & (self.y_px <= height_px - 1)


def place_particles(
    rng: np.random.Generator,
    wanted: int,
    shape_px: tuple[int, int],
    margin_px: int,
    diameter_px: float,
    half_room_A: float,
    fragment_fraction: float,
) -> Placement:
    """Place particles at random without overlap.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    wanted : int
        Particles in the image proper; the margin gets as many by area. Fewer where they do not fit.
    shape_px : tuple of int
        ``(h, w)``.
    margin_px : int
        Width of the margin in which particles also lie, since their signal reaches into the image.
    diameter_px : float
        Of a particle.
    half_room_A : float
        Heights are drawn between minus and plus this.
    fragment_fraction : float
        Share of broken particles.
    """
    height, width = shape_px
    area = (height + 2 * margin_px) * (width + 2 * margin_px) / (height * width)
    centres = _apart(rng, round(wanted * area), shape_px, margin_px, CLOSEST_DIAMETERS * diameter_px)
    count = len(centres)
    return Placement(
        x_px=centres[:, 0],
        y_px=centres[:, 1],
        height_A=rng.uniform(-half_room_A, half_room_A, count),
        rotations=random_rotations(count, rng) if count else torch.zeros((0, 3, 3)),
        broken=rng.random(count) < fragment_fraction,
    )


def _apart(
    rng: np.random.Generator, wanted: int, shape_px: tuple[int, int], margin_px: int, closest_px: float
) -> NDArray[np.float64]:
    """Draw points one after another, keeping those that are far enough from all kept before."""
    low = -float(margin_px)
    high = np.array([shape_px[1], shape_px[0]]) + margin_px
    kept = np.zeros((0, 2))
    candidates = rng.uniform(low, high, (wanted * TRIES_PER_PARTICLE, 2))
    for point in candidates:
        if len(kept) == wanted:
            break
        if ((kept - point) ** 2).sum(1).min(initial=np.inf) > closest_px**2:
            kept = np.concatenate((kept, point[None]))
    return kept
