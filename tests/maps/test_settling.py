"""A map in which one harmonic has the wrong sign is led to the right one, and a right one stays."""

from typing import Any

import pytest
import torch

from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.geometry.point_groups import point_group
from scherzer.maps.expectation import Scene as Images
from scherzer.maps.expectation import climb, scene_at
from scherzer.maps.harmonic_signs import resigned
from scherzer.maps.settling import settle
from scherzer.maps.stochastic import Specimen, resampled, specimen_at

Scene = Any  # of conftest.py
RESOLUTION_A = 18.0


def specimen_of(case: Scene, resolution_A: float) -> Specimen:
    held = torch.arange(len(case.particles)) % 5 == 0
    return specimen_at(case.particles, resolution_A, point_group(case.symmetry), case.diameter_A, 8.0, held)


@pytest.fixture(scope="module")
def images(octahedral: Scene) -> tuple[Specimen, Images, torch.Tensor]:
    specimen = specimen_of(octahedral, RESOLUTION_A)
    truth = resampled(octahedral.truth, specimen.particles.box) * specimen.mask
    return specimen, scene_at(specimen, RESOLUTION_A, truth), truth


def agreement(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(fourier_shell_correlation(first, second)[1:8].min())


def test_wrong_sign_is_a_trap_and_is_left(images: tuple[Specimen, Images, torch.Tensor]) -> None:
    specimen, scene, truth = images
    wrong = resigned(truth, specimen.group, 4, 16.0)
    trapped = climb(scene, wrong, 20, 1)
    found = settle(scene, [wrong], 1)
    assert agreement(trapped.volume, truth) < 0.5
    assert agreement(found.best.volume, truth) > 0.9
    assert found.best.training_gain > trapped.training_gain + 1
    assert any(agreement(other.volume, truth) < 0.5 for other in found.others)


def test_right_map_stays_and_the_best_start_is_named(images: tuple[Specimen, Images, torch.Tensor]) -> None:
    specimen, scene, truth = images
    found = settle(scene, [resigned(truth, specimen.group, 6, 16.0), truth], 1)
    assert found.start == 1
    assert agreement(found.best.volume, truth) > 0.95
