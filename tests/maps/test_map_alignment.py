"""A map that was turned, shifted and mirrored is laid back on the original."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.geometry.point_groups import normaliser, point_group
from scherzer.geometry.rotations import angle_between, random_rotations
from scherzer.maps.map_alignment import align_map, half_ball, mirrored, moved_map
from scherzer.maps.symmetrise import symmetrise_volume

Scene = Any  # of conftest.py
RADIUS = 7.0  # Fourier px: 20 A
STEP_RAD = math.radians(25)


def lopsided(volume: torch.Tensor) -> torch.Tensor:
    """Take one half away, so that no symmetry is left."""
    ramp = torch.linspace(0, 1, len(volume))
    return volume * (ramp[:, None, None] + 0.5 * ramp[None, :, None] + 0.2 * ramp[None, None, :])


def test_turned_map_is_found_again(dihedral: Scene) -> None:
    truth = lopsided(dihedral.truth)
    rotation = random_rotations(1, np.random.default_rng(3))[0]
    moved = moved_map(truth, rotation, torch.tensor([1.0, -0.5, 0.7]))
    found = align_map(
        moved, truth, RADIUS, normaliser("C1", STEP_RAD), shift_range_px=2.0, climb_rad=STEP_RAD, hands=True
    )
    assert not found.mirrored
    assert found.correlation > 0.98
    assert math.degrees(float(angle_between(found.rotation[None], rotation.T[None])[0])) < 2
    back = moved_map(moved, found.rotation, found.shift_px)
    assert fourier_shell_correlation(back, truth)[1:8].min() > 0.97


def test_mirror_image_is_told_from_the_map(dihedral: Scene) -> None:
    truth = lopsided(dihedral.truth)
    grid = normaliser("C1", STEP_RAD)
    found = align_map(mirrored(truth), truth, RADIUS, grid, climb_rad=STEP_RAD)
    assert found.mirrored
    one_hand = align_map(mirrored(truth), truth, RADIUS, grid, climb_rad=STEP_RAD, hands=False)
    assert one_hand.correlation < found.correlation - 0.1


def test_moving_is_undone_by_the_opposite_and_keeps_the_map(octahedral: Scene) -> None:
    rotation = random_rotations(1, np.random.default_rng(1))[0]
    back = moved_map(moved_map(octahedral.truth, rotation), rotation.T)
    assert fourier_shell_correlation(back, octahedral.truth)[1:12].min() > 0.99
    turned = moved_map(octahedral.truth, point_group("O")[5])
    assert fourier_shell_correlation(turned, octahedral.truth)[1:12].min() > 0.999
    assert turned.max() == pytest.approx(float(octahedral.truth.max()), rel=0.06)


def test_half_ball_holds_one_of_each_pair() -> None:
    points = half_ball(3.0, torch.device("cpu"))
    both = torch.cat((points, -points))
    assert len(torch.unique(both, dim=0)) == len(both) == 122  # whole points within 3 px of the origin, without it


@pytest.mark.parametrize("symmetry", ["C3", "D2", "D5", "T", "O", "I"])
def test_normaliser_keeps_a_symmetric_map_symmetric(symmetry: str) -> None:
    group = point_group(symmetry)
    rotations = normaliser(symmetry, 0.3)
    for rotation in rotations:
        turned = rotation.T @ group @ rotation
        nearest = (turned[:, None] - group[None]).abs().amax((2, 3)).amin(1)
        assert nearest.max() < 1e-4
    apart = torch.stack([angle_between(rotations[:1].expand_as(rotations[1:]), rotations[1:], group)])
    assert rotations.shape[0] == 1 or apart.min() > 0.05  # none is an operator of the group


def test_turned_symmetric_map_is_the_same_map(dihedral: Scene) -> None:
    aside = dihedral.truth.roll((4, 3), (1, 2))  # so that nothing of its own symmetry is left
    volume = symmetrise_volume(aside, point_group("D3"))
    turned = moved_map(volume, normaliser("D3", 1.0)[1])
    assert fourier_shell_correlation(turned, volume)[2:8].min() < 0.5
    found = align_map(turned, volume, RADIUS, normaliser("D3", 1.0))
    assert found.correlation > 0.95
