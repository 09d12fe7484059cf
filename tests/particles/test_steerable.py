"""Centres of particles that are not round."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scherzer.particles.steerable import SteerableModel, centred, learn, rings

RADIUS_PX, SPACING_PX, SIDE = 11.0, 34, 12


def bars(noise: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Bars at any angle on a loose grid: the image, its noise alone, true rows and columns."""
    generator = torch.Generator().manual_seed(3)
    size = SPACING_PX * SIDE
    place = torch.arange(SIDE) * SPACING_PX + SPACING_PX / 2
    rows, columns = (grid.flatten() for grid in torch.meshgrid(place, place, indexing="ij"))
    rows, columns = (axis + 6 * torch.rand(SIDE**2, generator=generator) - 3 for axis in (rows, columns))
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    image = torch.zeros(size, size)
    for row, column, angle in zip(rows, columns, math.pi * torch.rand(SIDE**2, generator=generator), strict=True):
        along = (y - row) * torch.sin(angle) + (x - column) * torch.cos(angle)
        across = (y - row) * torch.cos(angle) - (x - column) * torch.sin(angle)
        image += torch.exp(-((along / 6) ** 4) - (across / 2.5) ** 2)
    ground = noise * torch.randn(size, size, generator=generator)
    return image + ground, ground, rows, columns


def learnt(image: Tensor, ground: Tensor, rows: Tensor, columns: Tensor) -> SteerableModel:
    places = torch.arange(20, len(image) - 20, 13)
    grid = torch.meshgrid(places, places, indexing="ij")
    empty = rings(ground, grid[0].flatten(), grid[1].flatten(), RADIUS_PX)
    return learn(rings(image, rows, columns, RADIUS_PX), empty, RADIUS_PX)


def test_places_bars_that_were_picked_off_their_centres() -> None:
    image, ground, rows, columns = bars(noise=0.4)
    generator = torch.Generator().manual_seed(4)
    start_rows, start_columns = (
        (axis + 1.6 * torch.randn(len(axis), generator=generator)).round().long() for axis in (rows, columns)
    )
    model = learnt(image, ground, start_rows, start_columns)
    found_rows, found_columns = centred(image, start_rows, start_columns, model, reach_px=5, spread_px=1.6)
    before = torch.hypot(start_rows - rows, start_columns - columns).square().mean().sqrt()
    after = torch.hypot(found_rows - rows, found_columns - columns).square().mean().sqrt()
    assert before > 2.0
    assert after < 0.5 * before


def test_learns_two_fold_views_of_bars_and_nothing_of_noise() -> None:
    image, ground, rows, columns = bars(noise=0.4)
    assert len(learnt(image, ground, rows, columns).weight) >= 1
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(5))
    assert len(learnt(0.4 * noise, ground, rows, columns).weight) == 0


def test_rings_read_the_picture_where_they_lie() -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    read = rings(2 * x + 3 * y, torch.tensor([20.0]), torch.tensor([30.0]), 8.0)
    # Of a plane the mean over a ring is the value at its centre, whatever the radius.
    torch.testing.assert_close(read.mean(-1), torch.full((1, 8), 120.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(read[0, -1, 0] - read[0, -1, 24], torch.tensor(2 * 2 * 7.5))
