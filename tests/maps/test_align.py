"""Alignment searches around each particle's last position and never beyond the largest shift."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from scherzer.fourier.shifts import phase_ramp
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import angle_between
from scherzer.likelihood.band import make_band
from scherzer.likelihood.local import Poses
from scherzer.likelihood.search import shift_grid
from scherzer.maps.pose_search import RoundPlan, WeightedPoses, align

Scene = Any  # of conftest.py
AWAY_PX = torch.tensor([5.0, -4.0])
COUNT = 80


@pytest.fixture(scope="module")
def moved(dihedral: Scene) -> Scene:
    """The first particles, all of them far from the centre of their images."""
    rows = torch.arange(COUNT)
    particles = dihedral.particles[rows]
    band = make_band(particles.box, particles.box / 2 - 1)
    transforms = band.put(band.take(particles.transforms) * phase_ramp(AWAY_PX / band.box, band.kx, band.ky))
    shift_A = dihedral.shift_A[rows] + AWAY_PX * dihedral.pixel_size_A
    particles = replace(particles, transforms=transforms)
    return replace(dihedral, particles=particles, rotations=dihedral.rotations[rows], shift_A=shift_A)


def found(scene: Scene, last: Poses, max_shift_px: float) -> WeightedPoses:
    plan = RoundPlan(11.0, 9.0, 0.2, shift_grid(2, 1), max_shift_px, torch.zeros(3))
    noise = torch.full((scene.particles.box // 2 + 1,), scene.noise_power)
    return align(scene.particles, scene.truth, noise, last, plan, point_group("D2"))


def poses(shift_px: torch.Tensor, score: float) -> Poses:
    return Poses(torch.eye(3).expand(COUNT, 3, 3), shift_px.expand(COUNT, 2), torch.full((COUNT,), score))


def share_found(scene: Scene, result: WeightedPoses) -> float:
    error = angle_between(result.rotations[:, 0], scene.rotations, point_group("D2"))
    away = (result.shift_px[:, 0] * scene.pixel_size_A - scene.shift_A).norm(dim=1)
    return float(((error < 0.15) & (away < 3)).float().mean())


def test_search_is_around_the_last_position(moved: Scene) -> None:
    assert share_found(moved, found(moved, poses(AWAY_PX, 0.0), 10.0)) > 0.9
    assert share_found(moved, found(moved, poses(torch.zeros(2), 0.0), 10.0)) < 0.5


def test_particle_without_a_pose_is_searched_around_the_centre(moved: Scene, dihedral: Scene) -> None:
    assert share_found(moved, found(moved, poses(AWAY_PX, -torch.inf), 10.0)) < 0.5


def test_no_shift_is_longer_than_allowed(moved: Scene) -> None:
    result = found(moved, poses(torch.zeros(2), -torch.inf), 1.2)
    assert result.shift_px.norm(dim=2).max() < 1.2 + 1e-3
    assert torch.isfinite(result.score[:, 0]).all()


def test_weights_are_a_posterior_and_best_comes_first(moved: Scene) -> None:
    result = found(moved, poses(AWAY_PX, 0.0), 10.0)
    assert torch.allclose(result.weight.sum(1), torch.ones(COUNT))
    assert (result.weight.diff(dim=1) <= 0).all()
    assert (
        (result.score[:, 1] - result.score[:, 0]).exp() - result.weight[:, 1] / result.weight[:, 0]
    ).abs().max() < 1e-4
    best = result.best()
    assert torch.equal(best.score, result.score[:, 0])
