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
    table = sums.reshape(-1, 3)
    points = grid.frequencies(sums.device).reshape(-1, 3)
    inside = torch.nonzero((points.norm(dim=1) <= grid.radius) & (points[:, 0] >= 0))[:, 0]
    points = points[inside]
    table = _only(table, inside, grid, table[inside])
    for mates in coset_steps(group):
        total = table[inside]
        for operator in mates.to(table):
            total = total + _moved(table, points, grid, operator)
        table = _only(table, inside, grid, total)
    return table.reshape(sums.shape)


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
    sign = table.new_tensor(MIRROR)
    moved = points @ operator.T
    if not torch.equal(operator, operator.round()):
        index, weight, mirrored = grid.corners(moved)
        rows = weighted_rows(table, index, weight)
        return torch.where(mirrored[:, None], rows * sign, rows)
    _, ny, nx = grid.shape
    whole = torch.round(moved * PADDING).int()
    mirrored = whole[:, 0] < 0
    whole = torch.where(mirrored[:, None], -whole, whole)
    rows = table[(whole[:, 2] + grid.extent) * (ny * nx) + (whole[:, 1] + grid.extent) * nx + whole[:, 0] + 1]
    return torch.where(mirrored[:, None], rows * sign, rows)


def _only(table: Tensor, inside: Tensor, grid: SliceGrid, rows: Tensor) -> Tensor:
    """Return a table that holds only these rows, with its margin at x = -1 filled."""
    result = torch.zeros_like(table)
    result[inside] = rows
    cube = result.reshape(*grid.shape, 3)
    cube[:, :, 0] = cube[:, :, 2].flip(0, 1) * table.new_tensor(MIRROR)
    return result


def symmetrise_volume(volume: Tensor, group: Tensor) -> Tensor:
    """Average a ``(b, b, b)`` map over a point group about its centre pixel."""
    # Slicing and inserting both divide by the interpolation's envelope; one of the two is undone here.
    envelope = sinc2_correction(volume.shape[-1], volume.device)
    table = slice_table(volume * envelope, volume.shape[-1] / 2 - 1)
    sums = torch.cat((table.values, torch.ones_like(table.values[:, :1])), dim=1).reshape(*table.grid.shape, 3)
    total = symmetrise_sums(sums, table.grid, group)
    return volume_from_sums(torch.view_as_complex(total[..., :2].contiguous()) / len(group), table.grid) * envelope
