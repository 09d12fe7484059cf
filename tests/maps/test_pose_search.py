"""The grid of the search covers what it should, and quarter turns of its slices are slices."""

import math

import numpy as np
import pytest
import torch

from scherzer.fourier.slices import slice_table
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import angle_between, random_rotations
from scherzer.likelihood.band import make_band
from scherzer.likelihood.score import ScoredImages
from scherzer.likelihood.search import search, shift_grid
from scherzer.maps.pose_search import RoundPlan, affordable_grid, slice_bank

BOX, RADIUS = 28, 9.0


def planned(step_rad: float, symmetry: str, turn: tuple[float, float, float]) -> torch.Tensor:
    plan = RoundPlan(RADIUS, RADIUS, step_rad, shift_grid(1, 1), 3.0, torch.tensor(turn))
    return affordable_grid(plan, point_group(symmetry), 1, 10)


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.4, -1.1, 0.3)])
@pytest.mark.parametrize("symmetry", ["C1", "D2", "O"])
def test_every_orientation_is_near_the_grid(symmetry: str, turn: tuple[float, float, float]) -> None:
    step = math.radians(12)
    grid = planned(step, symmetry, turn)
    group = point_group(symmetry)
    wanted = random_rotations(100, np.random.default_rng(1))
    apart = torch.stack([angle_between(one.expand_as(grid), grid, group).min() for one in wanted])
    assert apart.max() < 1.1 * step


def test_turn_moves_the_grid() -> None:
    plain, turned = (planned(0.3, "D2", turn) for turn in ((0.0, 0.0, 0.0), (0.4, -1.1, 0.3)))
    nearest = torch.stack([angle_between(one.expand_as(plain), plain, point_group("D2")).min() for one in turned[::7]])
    assert nearest.median() > 0.05


def test_slices_of_quarter_turns_are_those_that_are_cut() -> None:
    volume = torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(0))
    grid = planned(0.5, "D2", (0.2, 0.5, -0.8))
    band, table = make_band(BOX, RADIUS), slice_table(volume, RADIUS)
    plain, turned = slice_bank(table, grid, band), slice_bank(table, grid, band, turns=4)
    assert len(plain) == len(turned) == len(grid)
    number = torch.arange(len(grid)).reshape(2, -1)
    assert torch.allclose(plain.take(number), turned.take(number), atol=1e-3 * float(plain.values.abs().max()))


def test_search_tells_half_turns_apart() -> None:
    """They share their products; numbers and scores are those of a bank that holds every slice."""
    volume = torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(0))
    grid = planned(0.5, "D2", (0.2, 0.5, -0.8))
    band, table = make_band(BOX, RADIUS), slice_table(volume, RADIUS)
    plain, turned = slice_bank(table, grid, band), slice_bank(table, grid, band, turns=4)
    wanted = torch.arange(3, len(grid), 17)  # some of every quarter
    power = torch.full((len(wanted), len(band)), 1e-3)
    images = ScoredImages(band, power * plain.values[wanted], power)
    prior = torch.linspace(0, 1, len(grid))
    found = [search(images, bank, shift_grid(1, 1), keep=2, log_prior=prior) for bank in (plain, turned)]
    assert torch.equal(found[1].reference[:, 0], wanted)
    assert torch.equal(found[0].reference, found[1].reference)
    assert torch.allclose(found[0].score, found[1].score, rtol=1e-2)
