"""The other ways in which a symmetric map's spherical harmonics can be signed.

Images in unknown orientations fix, to second order, only the correlations of a map's harmonics of each order (Kam
1980, J. Theor. Biol. 82, 15). Where the point group allows but one harmonic of an order, this leaves its sign open,
which only weaker higher correlations tell. A map with a sign wrong is therefore where searches get stuck: of an
octahedral shell the setting turned by 45 degrees has the sign of order 4 wrong.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

HIGHEST_SIGN = 8  # orders beyond follow once these are right
HIGHEST_KEPT = 10  # orders beyond belong to the signs that were, and would draw the map back to them
CHUNK = 4096  # voxels worked on at a time


def signed_orders(group: Tensor) -> list[int]:
    """Even orders, from 2, of which a ``(g, 3, 3)`` point group allows one harmonic only."""
    return [order for order in range(2, HIGHEST_SIGN + 1, 2) if _invariants(group, order) == 1]


def resigned(volume: Tensor, group: Tensor, order: int, extent: float) -> Tensor:
    """Return a map's low orders with the sign of one of them changed.

    Parameters
    ----------
    volume : Tensor
        ``(b, b, b)``.
    group : Tensor
        ``(g, 3, 3)`` point group of the map.
    order : int
        Whose sign is changed.
    extent : float
        Highest order that the map holds: its radius times the largest wave number.
    """
    kept = [low for low in range(HIGHEST_KEPT + 1) if _invariants(group, low)]
    return _weighted(volume, {low: -1.0 if low == order else 1.0 for low in kept}, extent)


def _invariants(group: Tensor, order: int) -> int:
    """How many harmonics of an order a group leaves as they are: the mean of the characters."""
    trace = group.double().diagonal(dim1=1, dim2=2).sum(1)
    angle = torch.arccos(((trace - 1) / 2).clamp(-1, 1)).clamp(min=1e-6)
    return round(float((torch.sin((order + 0.5) * angle) / torch.sin(angle / 2)).mean()))


def _weighted(volume: Tensor, weights: dict[int, float], extent: float) -> Tensor:
    """Sum of a map's harmonic orders, each weighted: zonal kernels over spheres around the centre pixel."""
    box, device = len(volume), volume.device
    centre = box // 2
    reach = centre - 1
    directions, share = _quadrature(math.ceil((extent + max(weights)) / 2) + 1)
    directions, share = directions.to(volume), share.to(volume)
    points = torch.arange(reach + 1, device=device)[:, None, None] * directions
    spheres = grid_sample(volume[None, None], ((points + centre) * 2 / (box - 1) - 1)[None, None], align_corners=True)
    spheres = spheres[0, 0, 0] * share  # (radius, direction)
    axis = torch.arange(box, device=device, dtype=volume.dtype) - centre
    voxels = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], dim=-1).reshape(-1, 3)
    radius = voxels.norm(dim=1)
    result = torch.zeros(box**3, device=device, dtype=volume.dtype)
    for rows in torch.nonzero(radius < reach)[:, 0].split(CHUNK):
        cosine = (voxels[rows] / radius[rows, None].clamp(min=1e-6)) @ directions.T
        # By the three-term recurrence of the Legendre polynomials.
        kernel, before, present = torch.zeros_like(cosine), torch.zeros_like(cosine), torch.ones_like(cosine)
        for order in range(max(weights) + 1):
            if order in weights:
                kernel += weights[order] * (2 * order + 1) * present
            following = ((2 * order + 1) * cosine * present - order * before) / (order + 1)
            before, present = present, following
        found = kernel @ spheres.T
        low = radius[rows].long()
        at = torch.arange(len(rows), device=device)
        result[rows] = torch.lerp(found[at, low], found[at, low + 1], radius[rows] - low)
    return result.reshape(box, box, box)


def _quadrature(nodes: int) -> tuple[Tensor, Tensor]:
    """Directions and shares of a mean over the sphere that is exact below order ``2 nodes``."""
    cosine, weight = np.polynomial.legendre.leggauss(nodes)
    turns = 2 * nodes
    angle = np.arange(turns) * 2 * np.pi / turns
    sine = np.sqrt(1 - cosine**2)
    z = np.outer(cosine, np.ones(turns))
    directions = np.stack([np.outer(sine, np.cos(angle)), np.outer(sine, np.sin(angle)), z], axis=-1).reshape(-1, 3)
    return torch.from_numpy(directions).float(), torch.from_numpy(np.repeat(weight, turns) / turns / 2).float()
