"""Keeping two half-maps on one another along the axes that their point group leaves free."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from scherzer.fourier.slices import slice_table
from scherzer.geometry.rotations import from_rotation_vector
from scherzer.maps.pose_search import WeightedPoses

TIED_BELOW_A = 40.0  # RELION joins half-maps up to this; finer detail never takes part
LEAST_MOVE_A = 0.5  # at half the radius of the box: less is not worth inserting the particles anew


@dataclass(frozen=True)
class Move:
    """A rigid motion of a map: ``moved(x) = map(rotation^T (x - shift))``.

    Attributes
    ----------
    rotation : Tensor
        ``(3, 3)``.
    shift_px : Tensor
        ``(3,)``, x, y, z.
    """

    rotation: Tensor
    shift_px: Tensor

    def longest_px(self, radius_px: float) -> float:
        """Return how far a point at a radius moves at most, roughly."""
        angle = torch.linalg.matrix_norm(self.rotation - torch.eye(3, device=self.rotation.device)) / 2**0.5
        return float(angle * radius_px + self.shift_px.norm())

    def of_poses(self, found: WeightedPoses, pixels: float) -> WeightedPoses:
        """Poses on the moved map of particles whose poses on the map are given, ``pixels`` of theirs to a voxel."""
        rotations = self.rotation @ found.rotations
        along = (rotations.mT @ self.shift_px)[..., :2] * pixels
        return WeightedPoses(rotations, found.shift_px - along, found.score, found.weight)

    def to(self, device: torch.device) -> Move:
        """Return the motion on a device."""
        return Move(self.rotation.to(device), self.shift_px.to(device))


class Freedom(Enum):
    """What a point group leaves free in a map."""

    NOTHING = 0
    AXIS = 1
    ALL = 2


FREEDOMS = {
    Freedom.NOTHING: "",
    Freedom.AXIS: f"rotation about z and shift along z, from detail below {TIED_BELOW_A:.0f} A",
    Freedom.ALL: f"rotation and shift, from detail below {TIED_BELOW_A:.0f} A",
}


def freedom_of(group: Tensor) -> Freedom:
    """Return what a ``(g, 3, 3)`` group leaves free: all in C1, the motions along its axis in Cn, nothing beyond."""
    if len(group) == 1:
        return Freedom.ALL
    return Freedom.AXIS if bool((group[:, 2, 2] > 1 - 1e-4).all()) else Freedom.NOTHING


def tie(first: Tensor, second: Tensor, freedom: Freedom, extent_A: float) -> Move | None:
    """Find the motion that lays a map on another by detail coarser than 40 A, near where it lies.

    Parameters
    ----------
    first, second : Tensor
        ``(b, b, b)``.
    freedom : Freedom
        Along which axes.
    extent_A : float
        Side of the maps.

    Returns
    -------
    Move or None
        Of the second map; None where nothing is free or where it moves less than matters.
    """
    if freedom is Freedom.NOTHING:
        return None
    box = first.shape[-1]
    radius = extent_A / TIED_BELOW_A
    tables = [slice_table(volume.cpu(), radius + 1) for volume in (first, second)]
    side = torch.arange(-int(radius), int(radius) + 1, dtype=torch.float32)
    points = torch.cartesian_prod(side, side, side)
    points = points[(points.norm(dim=1) <= radius) & (points.norm(dim=1) > 0)]
    fixed = tables[0].at(points)[:, 0]
    free = slice(6) if freedom is Freedom.ALL else [2, 5]
    reach_px = box / 4  # about where the particle ends: an angle counts as it moves a point there

    def move_of(values: NDArray[np.float64]) -> Move:
        six = np.zeros(6)
        six[free] = values
        rotation = from_rotation_vector(torch.tensor(six[None, :3] / reach_px, dtype=torch.float32))[0]
        return Move(rotation, torch.tensor(six[3:], dtype=torch.float32))

    def loss(values: NDArray[np.float64]) -> float:
        move = move_of(values)
        phase = (-2 * torch.pi / box) * (points @ move.shift_px)
        moved = tables[1].at(points @ move.rotation)[:, 0] * torch.polar(torch.ones_like(phase), phase)
        # Interpolation damps points between those of the grid: only the correlation is fair to maps that are turned.
        return -float((fixed.conj() * moved).real.sum() / (fixed.norm() * moved.norm()).clamp(min=1e-30))

    found = minimize(loss, np.zeros(6)[free], method="Powell", options={"xtol": 1e-3, "ftol": 1e-7})
    move = move_of(found.x).to(first.device)
    return move if move.longest_px(reach_px) * extent_A / box > LEAST_MOVE_A else None
