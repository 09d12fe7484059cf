"""The axes of a map in an arbitrary setting are found, and only those that it has."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import random_rotations
from scherzer.maps.axis_search import centre_of_mass, find_axes, in_standard_setting
from scherzer.maps.map_alignment import moved_map
from scherzer.maps.symmetrise import symmetrise_volume

Scene = Any  # of conftest.py
PIXEL_SIZE_A, RESOLUTION_A = 4.0, 24.0


def in_odd_setting(volume: torch.Tensor, seed: int) -> torch.Tensor:
    rotation = random_rotations(1, np.random.default_rng(seed))[0]
    return moved_map(volume, rotation, torch.tensor([1.0, -0.6, 0.3]))


@pytest.mark.parametrize("symmetry", ["C2", "C3", "D2", "D3", "O"])
def test_axes_are_found(dihedral: Scene, symmetry: str) -> None:
    aside = dihedral.truth.roll((3, 2), (1, 2))
    volume = in_odd_setting(symmetrise_volume(aside, point_group(symmetry)), 4)
    axes = find_axes(volume, PIXEL_SIZE_A, symmetry, RESOLUTION_A)
    assert axes.correlation > 0.97
    standard = in_standard_setting(volume, axes)
    imposed = symmetrise_volume(standard, point_group(symmetry))
    assert fourier_shell_correlation(standard, imposed)[1:8].min() > 0.97


def test_symmetry_that_is_not_there_scores_less(dihedral: Scene) -> None:
    volume = in_odd_setting(dihedral.truth, 2)
    own = find_axes(volume, PIXEL_SIZE_A, "D2", RESOLUTION_A)
    for other in ("C3", "D3", "T"):
        assert find_axes(volume, PIXEL_SIZE_A, other, RESOLUTION_A).correlation < own.correlation - 0.15


def test_no_symmetry_needs_no_search(dihedral: Scene) -> None:
    axes = find_axes(dihedral.truth, PIXEL_SIZE_A, "C1", RESOLUTION_A)
    assert torch.equal(axes.rotation, torch.eye(3))
    assert math.isclose(axes.correlation, 1.0)


def test_centre_of_mass_is_in_pixels_from_the_centre_pixel() -> None:
    volume = torch.zeros(8, 8, 8)
    volume[5, 4, 2] = 3.0  # z, y, x
    assert centre_of_mass(volume).tolist() == [-2.0, 0.0, 1.0]
