"""Halves are laid on one another along the free axes, maps and poses alike, and along no other."""

import numpy as np
import pytest
import torch

from scherzer.fourier.shifts import phase_ramp
from scherzer.fourier.slices import slice_table
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import angle_between, from_rotation_vector, random_rotations
from scherzer.likelihood.band import make_band
from scherzer.maps.pose_search import WeightedPoses
from scherzer.maps.tie import Freedom, Move, freedom_of, tie

BOX, EXTENT_A = 32, 256.0


def blobs(rotation: torch.Tensor, shift_px: torch.Tensor) -> torch.Tensor:
    """Smooth density whose motion is exact: blobs at turned and shifted centres."""
    generator = torch.Generator().manual_seed(4)
    centres = (torch.rand(7, 3, generator=generator) - 0.5) * 14
    centres = centres @ rotation.T + shift_px
    axis = torch.arange(BOX) - BOX // 2.0
    profile = torch.exp(-((axis[None, None] - centres[..., None]) ** 2) / (2 * 2.0**2))
    return torch.einsum("nz,ny,nx->zyx", profile[:, 2], profile[:, 1], profile[:, 0])


@pytest.mark.parametrize(
    ("symmetry", "expected"),
    [
        ("C1", Freedom.ALL),
        ("C4", Freedom.AXIS),
        ("D2", Freedom.NOTHING),
        ("T", Freedom.NOTHING),
        ("O", Freedom.NOTHING),
    ],
)
def test_what_a_group_leaves_free(symmetry: str, expected: Freedom) -> None:
    assert freedom_of(point_group(symmetry)) is expected


@pytest.mark.parametrize("freedom", [Freedom.ALL, Freedom.AXIS])
def test_motion_along_the_free_axes_is_undone(freedom: Freedom) -> None:
    turn = torch.tensor([0.05, -0.08, 0.1]) if freedom is Freedom.ALL else torch.tensor([0.0, 0.0, 0.1])
    shift = torch.tensor([0.6, -0.4, 0.8]) if freedom is Freedom.ALL else torch.tensor([0.0, 0.0, 0.8])
    rotation = from_rotation_vector(turn[None])[0]
    first, second = blobs(rotation, shift), blobs(torch.eye(3), torch.zeros(3))
    move = tie(first, second, freedom, EXTENT_A)
    assert move is not None
    assert float(angle_between(move.rotation[None], rotation[None])) < 0.01
    assert torch.allclose(move.shift_px, shift, atol=0.1)


def test_nothing_moves_where_nothing_is_free_or_nothing_has_moved() -> None:
    moved = blobs(from_rotation_vector(torch.tensor([[0.0, 0.0, 0.1]]))[0], torch.zeros(3))
    still = blobs(torch.eye(3), torch.zeros(3))
    assert tie(moved, still, Freedom.NOTHING, EXTENT_A) is None
    assert tie(still, still, Freedom.ALL, EXTENT_A) is None


def test_poses_move_with_the_map() -> None:
    """The image at a pose on the map is the image at the moved pose on the moved map."""
    move = Move(from_rotation_vector(torch.tensor([[0.3, -0.2, 0.5]]))[0], torch.tensor([1.5, -0.7, 0.9]))
    rotations = random_rotations(6, np.random.default_rng(0))[:, None]
    shifts = torch.randn(6, 1, 2, generator=torch.Generator().manual_seed(0))
    one = torch.ones(6, 1)
    before = WeightedPoses(rotations, shifts, one, one)
    after = move.of_poses(before, 1.0)
    band = make_band(BOX, 8)
    images = []
    for volume, poses in ((blobs(torch.eye(3), torch.zeros(3)), before), (blobs(move.rotation, move.shift_px), after)):
        slices = slice_table(volume, 9).slices(poses.rotations[:, 0], band.kx, band.ky)
        images.append(slices * phase_ramp(poses.shift_px[:, 0] / BOX, band.kx, band.ky))
    assert (images[0] - images[1]).norm() / images[0].norm() < 0.05
    assert (images[0] - images[1].roll(1, 0)).norm() / images[0].norm() > 0.5
