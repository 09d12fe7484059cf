"""Grids over orientations, restricted to the asymmetric unit of a point group."""

from __future__ import annotations

import math

import healpix
import numpy as np
import torch
from torch import Tensor

from scherzer.geometry.rotations import from_euler, from_rotation_vector

# A direction in general position: no operator of any group in its standard setting maps it to a neighbour.
_REFERENCE = torch.tensor([0.6124, 0.3217, 0.7223], dtype=torch.float64)
HEALPIX_SPACING_RAD = math.sqrt(math.pi / 3)  # between the centres of the pixels of nside 1


def viewing_directions(step_rad: float, group: Tensor, turn: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Directions about ``step_rad`` apart that cover the asymmetric unit of a group.

    Every direction that is nearer to a fixed reference direction than all its symmetry mates is kept. A ``turn``,
    ``(3,)`` rotation vector in rad, is applied to the directions before.

    Returns
    -------
    rot_rad, tilt_rad : Tensor
        ``(d,)``.
    """
    nside = max(1, round(HEALPIX_SPACING_RAD / step_rad))
    tilt, rot = healpix.pix2ang(nside, np.arange(12 * nside**2))
    directions = torch.from_numpy(
        np.stack((np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)), axis=-1)
    )
    if turn is not None:
        directions = directions @ from_rotation_vector(turn[None].double())[0].T
        tilt, rot = directions[:, 2].clamp(-1, 1).arccos().numpy(), torch.atan2(*directions.T[[1, 0]]).numpy()
    nearness = torch.einsum("dj,gij,i->dg", directions, group.double(), _REFERENCE)
    keep = (nearness[:, 0] >= nearness.amax(1) - 1e-9).numpy()
    return torch.from_numpy(rot[keep]).float(), torch.from_numpy(tilt[keep]).float()


def orientation_grid(step_rad: float, group: Tensor, turn: Tensor | None = None) -> Tensor:
    """Orientations about ``step_rad`` apart that cover the asymmetric unit of a group.

    Parameters
    ----------
    step_rad : float
        Spacing of directions and of in-plane angles.
    group : Tensor
        ``(g, 3, 3)``.
    turn : Tensor, optional
        ``(3,)`` rotation vector applied to the whole grid, rad: successive searches that differ in it do not fall
        into the same gaps.

    Returns
    -------
    Tensor
        ``(directions * in-plane angles, 3, 3)`` image frame to volume frame, in-plane angle fastest.
    """
    rot, tilt = viewing_directions(step_rad, group)
    count = max(1, round(2 * math.pi / step_rad))
    psi = torch.arange(count) * (2 * math.pi / count)
    grid = from_euler(rot.repeat_interleave(count), tilt.repeat_interleave(count), psi.repeat(len(rot)))
    if turn is not None:
        grid = grid @ from_rotation_vector(turn[None].to(grid))
    return grid
