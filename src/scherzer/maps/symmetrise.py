"""Imposing a point group on inserted slices."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from scherzer.fourier.slices import PADDING, SliceGrid, sinc2_correction, slice_table, volume_from_sums, weighted_rows

MIRROR = (1.0, -1.0, 1.0)  # real, imaginary, weight at the opposite frequency


def symmetrise_sums(sums: Tensor, grid: SliceGrid, group: Tensor) -> Tensor:
    """Add up the symmetry mates of inserted sums.

    The sum over the group is taken in steps, each over the cosets of a larger subgroup: O needs 5 steps, not 23. First
    come operators that permute the axes (all of D2 and O), which fall on grid points and cost one lookup; what remains
    is interpolated.

    Parameters
    ----------
    sums : Tensor
        ``(z, y, x, 3)`` real and imaginary part and weight on the grid.
    group : Tensor
        ``(g, 3, 3)`` operators, the identity first.

    Returns
    -------
    Tensor
        ``(z, y, x, 3)``, zero beyond the grid's radius.
    """
    radii = grid.radii(sums.device)
    radii[:, :, 0] = torch.inf  # the margin
    inside = torch.nonzero(radii.flatten() <= grid.radius)[:, 0]
    points = _points(inside.int(), grid)
    rows = sums.reshape(-1, 3)[inside]
    table = _filled(torch.zeros_like(sums), inside, rows)
    for mates in coset_steps(group):
        for operator in mates.to(sums):
            rows += _moved(table, points, grid, operator)
        table = _filled(table, inside, rows)
    return table


def _points(place: Tensor, grid: SliceGrid) -> Tensor:
    """Return the whole points, x, y, z in px of the padded box, of rows of the table: ``(3, p)`` int32."""
    _, ny, nx = grid.shape
    line = place // nx
    z = line // ny
    return torch.stack((place - line * nx - 1, line - z * ny - grid.extent, z - grid.extent))


def _place(points: Tensor, grid: SliceGrid) -> Tensor:
    """Rows of the table of ``(3, p)`` whole points, in px of the padded box; of the opposite points where x < 0."""
    _, ny, nx = grid.shape
    x, y, z = points
    offset = (z * ny + y) * nx + x
    return torch.where(x < 0, -offset, offset) + (grid.extent * (ny + 1) * nx + 1)


def coset_steps(group: Tensor) -> list[Tensor]:
    """Split the sum over a group into steps, permutations of the axes first.

    Returns
    -------
    list of Tensor
        Each ``(c, 3, 3)``: adding to a function its copies moved by these operators, step by step, adds up its copies
        over the group.
    """
    return _coset_steps(tuple(group.cpu().flatten().tolist()))


@lru_cache(maxsize=32)
def _coset_steps(entries: tuple[float, ...]) -> list[Tensor]:
    group = torch.tensor(entries).reshape(-1, 3, 3)
    elements = list(group)
    exact = [g for g in elements if torch.equal(g, g.round())]
    steps: list[Tensor] = []
    done = [group[0]]
    for pool in (exact, elements):
        while len(done) < len(pool):
            # The smallest subgroup that holds more than what is done keeps the number of operators least.
            grown = min((_closure([*done, g]) for g in pool if not _holds(done, g)), key=len)
            if pool is elements:
                grown = elements  # interpolate once: no error is compounded
            mates = []
            covered = list(done)
            for g in grown:
                if not _holds(covered, g):
                    mates.append(g)
                    covered += [h @ g for h in done]
            steps.append(torch.stack(mates))
            done = list(grown)
    return steps


def _holds(elements: list[Tensor], wanted: Tensor) -> bool:
    return bool(((torch.stack(elements) - wanted).abs().amax((1, 2)) < 1e-4).any())


def _closure(generators: list[Tensor]) -> list[Tensor]:
    elements = [torch.eye(3)]
    for element in elements:  # grows while it is walked
        for generator in generators:
            product = generator @ element
            if not _holds(elements, product):
                elements.append(product)
    return elements


def _moved(table: Tensor, points: Tensor, grid: SliceGrid, operator: Tensor) -> Tensor:
    """Rows of the table at moved points, ``(p, 3)``."""
    table = table.reshape(-1, 3)
    if torch.equal(operator, operator.round()):
        source = operator.abs().argmax(1)
        sign = operator.sum(1).int()
        moved = torch.stack([points[source[axis]] * sign[axis] for axis in range(3)])
        rows, mirrored = table.index_select(0, _place(moved, grid)), moved[0] < 0
    else:
        index, weight, mirrored = grid.corners((operator @ (points / PADDING)).T)
        rows = weighted_rows(table, index, weight)
    rows[:, 1] *= torch.where(mirrored, -1.0, 1.0)
    return rows


def _filled(table: Tensor, inside: Tensor, rows: Tensor) -> Tensor:
    """Lay rows into a table of the grid, its margin at x = -1 with them."""
    table.reshape(-1, 3).index_copy_(0, inside, rows)
    table[:, :, 0] = table[:, :, 2].flip(0, 1) * table.new_tensor(MIRROR)
    return table


def symmetrise_volume(volume: Tensor, group: Tensor) -> Tensor:
    """Average a ``(b, b, b)`` map over a point group about its centre pixel."""
    # Slicing and inserting both divide by the interpolation's envelope; one of the two is undone here.
    envelope = sinc2_correction(volume.shape[-1], volume.device)
    table = slice_table(volume * envelope, volume.shape[-1] / 2 - 1)
    sums = torch.cat((table.values, torch.ones_like(table.values[:, :1])), dim=1).reshape(*table.grid.shape, 3)
    total = symmetrise_sums(sums, table.grid, group)
    return volume_from_sums(torch.view_as_complex(total[..., :2].contiguous()) / len(group), table.grid) * envelope
