"""Where the axes of a point group lie in a map that does not have it imposed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.crop import resize_volume
from scherzer.fourier.filters import apply_radial
from scherzer.fourier.slices import SliceTable, slice_table
from scherzer.geometry.point_groups import generators, normaliser, point_group
from scherzer.geometry.rotations import from_euler, from_rotation_vector
from scherzer.geometry.sphere import orientation_grid, viewing_directions
from scherzer.maps.map_alignment import half_ball, moved_map
from scherzer.maps.reconstruction import radial_power

GRID_RAD = math.radians(10)
CLIMBERS = 4  # candidates of the grid that are refined
CLIMB_ROUNDS = (
    14  # each tries a step both ways along every parameter, takes the best, and halves the steps if none helps
)
CENTRE_STEP_A = 4.0  # first step of the centre, which begins at the centre of mass
CHUNK_POINTS = 2**19  # interpolated at a time
LEAST_BOX = 32


@dataclass(frozen=True)
class Axes:
    """A point group's setting in a map.

    Attributes
    ----------
    rotation : Tensor
        ``(3, 3)`` from the group's standard setting to the map: an axis ``u`` of the group lies along ``rotation @ u``.
    centre_px : Tensor
        ``(3,)`` x, y, z: where the axes meet, from the centre pixel.
    correlation : float
        Mean correlation of the map with its copies under the group's generators, each shell whitened; -1 to 1.
    """

    rotation: Tensor
    centre_px: Tensor
    correlation: float


def find_axes(
    volume: Tensor, pixel_size_A: float, symmetry: str, resolution_A: float, rotations: Tensor | None = None
) -> Axes:
    """Find the setting of a point group that a map comes closest to.

    The map is correlated with its copies under the generators of the group, over a grid of settings; the best ones are
    refined together with the centre.

    Parameters
    ----------
    volume : Tensor
        ``(b, b, b)``.
    pixel_size_A : float
        Of the map.
    symmetry : str
        Point group.
    resolution_A : float
        Edge of the band that is correlated.
    rotations : Tensor, optional
        ``(r, 3, 3)`` settings to try; all, 10 degrees apart, when not given.
    """
    steps = generators(symmetry).to(volume)
    extent_A = len(volume) * pixel_size_A
    radius = extent_A / resolution_A
    small = resize_volume(volume, min(len(volume), max(LEAST_BOX, 2 * math.ceil(radius + 2))))
    scale = len(volume) / len(small)
    centre = centre_of_mass(small)
    if len(steps) == 0:
        return Axes(torch.eye(3, device=volume.device), centre * scale, 1.0)
    points = half_ball(radius, volume.device)
    table = slice_table(_white(small), radius)
    if rotations is None:
        rotations = _settings(symmetry)
    rotations = rotations.to(volume)
    scores = torch.cat(
        [
            _scores(table, points, steps, part, centre.expand(len(part), 3))
            for part in rotations.split(max(1, CHUNK_POINTS // (len(points) * len(steps))))
        ]
    )
    top = torch.topk(scores, min(CLIMBERS, len(scores))).indices
    first_px = CENTRE_STEP_A / pixel_size_A / scale
    found = [_climb(table, points, steps, rotations[start], centre, first_px) for start in top]
    best = max(found, key=lambda axes: axes.correlation)
    return Axes(best.rotation, best.centre_px * scale, best.correlation)


def in_standard_setting(volume: Tensor, axes: Axes) -> Tensor:
    """Turn and centre a ``(b, b, b)`` map so that the group's axes lie in their standard setting."""
    return moved_map(volume, axes.rotation, -(axes.rotation.T @ axes.centre_px))


def centre_of_mass(volume: Tensor) -> Tensor:
    """Centre of the positive density of a ``(b, b, b)`` map from its centre pixel: ``(3,)`` x, y, z."""
    density = volume.clamp(min=0)
    axis = torch.arange(len(volume), device=volume.device, dtype=volume.dtype) - len(volume) // 2
    total = density.sum().clamp(min=1e-20)
    return torch.stack([(density.sum(dims) * axis).sum() / total for dims in ((0, 1), (0, 2), (1, 2))])


def _settings(symmetry: str) -> Tensor:
    """Settings of a group that differ: ``(r, 3, 3)``, 10 degrees apart."""
    group = point_group(symmetry)
    if len(generators(symmetry)) == 1:  # Cn: directions of its only axis on a hemisphere
        rot, tilt = viewing_directions(GRID_RAD, torch.eye(3)[None])
        upper = tilt <= math.pi / 2 + 1e-6
        return from_euler(rot[upper], tilt[upper], torch.zeros_like(rot[upper]))
    same = torch.einsum("nij,gjk->ngik", normaliser(symmetry, GRID_RAD), group).reshape(-1, 3, 3)
    return orientation_grid(GRID_RAD, same).mT


def _white(volume: Tensor) -> Tensor:
    """Give every shell of a map the same power, so that the correlation is not that of the coarsest ones."""
    power = radial_power(volume)
    return apply_radial(volume, torch.rsqrt(power.clamp(min=1e-8 * float(power.max()))))


def _scores(table: SliceTable, points: Tensor, steps: Tensor, rotations: Tensor, centres: Tensor) -> Tensor:
    """Mean correlation of the map, centred, with its copies in each setting: ``(r,)``."""
    unit = 2 * math.pi / table.grid.box
    own = table.at(points)[:, 0]
    power = (own.abs() ** 2).sum()
    phase = unit * (centres @ points.T)
    total = torch.zeros(len(rotations), device=points.device)
    for step in steps:
        operators = rotations @ step @ rotations.mT
        moved = points @ operators  # (r, p, 3): the copy's transform at k is the map's at k @ operator
        copies = table.at(moved)[..., 0]
        change = unit * (moved @ centres[:, :, None])[..., 0] - phase
        product = own.conj() * copies
        cross = (product.real * torch.cos(change) - product.imag * torch.sin(change)).sum(1)
        total += cross / torch.sqrt(power * (copies.abs() ** 2).sum(1)).clamp(min=1e-20)
    return total / len(steps)


def _climb(table: SliceTable, points: Tensor, steps: Tensor, rotation: Tensor, centre: Tensor, step_px: float) -> Axes:
    """Compass search over setting and centre."""
    axes = torch.cat((torch.eye(3), -torch.eye(3))).to(points)
    step_rad = GRID_RAD / 2
    score = float(_scores(table, points, steps, rotation[None], centre[None])[0])
    for _ in range(CLIMB_ROUNDS):
        tried = torch.cat((rotation @ from_rotation_vector(axes * step_rad), rotation.expand(6, 3, 3)))
        centres = torch.cat((centre.expand(6, 3), centre + axes * step_px))
        scores = _scores(table, points, steps, tried, centres)
        best = int(scores.argmax())
        if float(scores[best]) > score:
            rotation, centre, score = tried[best], centres[best], float(scores[best])
        else:
            step_rad, step_px = step_rad / 2, step_px / 2
    return Axes(rotation, centre, score)
