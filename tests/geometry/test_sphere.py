"""Grids cover every orientation up to symmetry, and waste none on symmetry mates."""

import math

import numpy as np
import pytest
import torch

from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import angle_between, from_rotation_vector, random_rotations
from scherzer.geometry.sphere import orientation_grid, viewing_directions

STEP_RAD = math.radians(12)


def nearest(rotations: torch.Tensor, grid: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Angle to the nearest orientation of the grid under the group, rad."""
    best = torch.full((len(rotations),), -3.0)
    for operator in group:
        traces = (operator @ rotations).flatten(1) @ grid.flatten(1).T
        best = torch.maximum(best, traces.amax(1))
    return torch.acos(((best - 1) / 2).clamp(-1, 1))


@pytest.mark.parametrize("symmetry", ["C1", "C3", "D2", "D7", "T", "O", "I"])
@pytest.mark.parametrize("turned", [False, True])
def test_every_orientation_is_near_the_grid(symmetry: str, turned: bool) -> None:
    group = point_group(symmetry)
    turn = torch.tensor([0.3, -0.8, 1.1]) if turned else None
    grid = orientation_grid(STEP_RAD, group, turn)
    distance = nearest(random_rotations(400, np.random.default_rng(2)), grid, group)
    assert distance.max() < 1.05 * STEP_RAD
    assert distance.median() < 0.65 * STEP_RAD


def test_without_the_mates_the_grid_does_not_cover() -> None:
    """The check above can fail: the asymmetric unit of O alone leaves most orientations far off."""
    grid = orientation_grid(STEP_RAD, point_group("O"))
    distance = nearest(random_rotations(200, np.random.default_rng(2)), grid, point_group("C1"))
    assert (distance > 2 * STEP_RAD).float().mean() > 0.5


@pytest.mark.parametrize("symmetry", ["C2", "C3", "D2", "D7", "T", "O", "I"])
def test_asymmetric_unit_is_the_groups_share_of_the_sphere(symmetry: str) -> None:
    step = math.radians(3)
    whole = len(viewing_directions(step, point_group("C1"))[0])
    part = len(viewing_directions(step, point_group(symmetry))[0])
    assert part * len(point_group(symmetry)) == pytest.approx(whole, rel=0.12)
    assert whole == pytest.approx(4 * math.pi / step**2, rel=0.05)


def test_no_two_orientations_are_mates() -> None:
    group = point_group("O")
    grid = orientation_grid(math.radians(20), group)
    first, second = torch.triu_indices(len(grid), len(grid), offset=1)
    assert angle_between(grid[first], grid[second], group).min() > math.radians(3)


def test_in_plane_angle_runs_fastest() -> None:
    grid = orientation_grid(math.radians(30), point_group("C1"))
    rot, _ = viewing_directions(math.radians(30), point_group("C1"))
    assert len(grid) == 12 * len(rot)
    views = grid[:, :, 2].reshape(len(rot), 12, 3)
    assert torch.allclose(views, views[:, :1].expand_as(views), atol=1e-6)
    assert torch.allclose(angle_between(grid[:11], grid[1:12]), torch.full((11,), math.radians(30)), atol=1e-3)


def test_turn_moves_the_whole_grid_rigidly() -> None:
    turn = torch.tensor([0.1, 0.2, -0.3])
    plain, turned = (orientation_grid(STEP_RAD, point_group("D2"), t) for t in (None, turn))
    assert torch.allclose(turned, plain @ from_rotation_vector(turn[None]), atol=1e-6)
    assert torch.allclose(angle_between(plain, turned), turn.norm().expand(len(plain)), atol=1e-3)


def test_coarse_steps_still_give_a_grid() -> None:
    grid = orientation_grid(math.radians(200), point_group("C1"))
    assert len(grid) >= 12
