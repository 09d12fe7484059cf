"""Particles at known poses give the truth back, on its scale, and the filter weighs by the correlation."""

from typing import Any

import pytest
import torch

from scherzer.fourier.crop import resize_volume
from scherzer.fourier.filters import apply_radial
from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.geometry.point_groups import point_group
from scherzer.likelihood.local import Poses
from scherzer.likelihood.noise import image_power
from scherzer.maps.half_set import insert, residuals
from scherzer.maps.pose_search import (
    COARSEST_STEP_RAD,
    RoundPlan,
    WeightedPoses,
    affordable_grid,
    angular_step_rad,
    shifts_for,
)
from scherzer.maps.reconstruction import radial_power, solve, symmetric
from scherzer.maps.refinement_round import fit_sampling
from scherzer.maps.settings import RefineSettings
from scherzer.maps.start_scale import sample_of, scaled_start

Scene = Any  # of conftest.py


def true_poses(scene: Scene, weight: float = 1.0) -> WeightedPoses:
    shift_px = scene.shift_A / scene.pixel_size_A
    ones = torch.ones(len(shift_px), 1)
    return WeightedPoses(scene.rotations[:, None], shift_px[:, None], ones, weight * ones)


def flat_noise(scene: Scene) -> torch.Tensor:
    return torch.full((scene.particles.box // 2 + 1,), scene.noise_power)


@pytest.mark.parametrize("symmetry", ["D2", "C1"])
def test_known_poses_give_the_truth_on_its_scale(dihedral: Scene, symmetry: str) -> None:
    sums = symmetric(insert(dihedral.particles, true_poses(dihedral), flat_noise(dihedral), 15), point_group(symmetry))
    found = solve(sums)
    correlation = fourier_shell_correlation(found, dihedral.truth)
    assert (correlation[1:9] > (0.97 if symmetry == "D2" else 0.85)).all()
    truth = dihedral.truth
    gain = radial_power(found)[2:8] / radial_power(truth)[2:8]
    assert torch.allclose(gain.sqrt(), torch.ones(6), atol=0.1 if symmetry == "D2" else 0.25)


def test_wrong_shifts_or_rotations_do_not_give_the_truth(dihedral: Scene) -> None:
    poses = true_poses(dihedral)
    for wrong in (
        WeightedPoses(poses.rotations, -poses.shift_px, poses.score, poses.weight),
        WeightedPoses(poses.rotations.mT, poses.shift_px, poses.score, poses.weight),
    ):
        found = solve(symmetric(insert(dihedral.particles, wrong, flat_noise(dihedral), 15), point_group("D2")))
        assert fourier_shell_correlation(found, dihedral.truth)[6:10].mean() < 0.8


def test_scale_of_noise_and_weights_divides_out(dihedral: Scene) -> None:
    group, noise = point_group("D2"), flat_noise(dihedral)
    first = solve(symmetric(insert(dihedral.particles, true_poses(dihedral), noise, 12), group))
    second = solve(symmetric(insert(dihedral.particles, true_poses(dihedral, 0.25), 50 * noise, 12), group))
    assert torch.allclose(first, second, atol=1e-3 * float(first.abs().max()))


@pytest.mark.parametrize("fsc", [0.8, 0.5, 0.1])
def test_filter_damps_shells_by_their_correlation(octahedral: Scene, fsc: float) -> None:
    sums = symmetric(insert(octahedral.particles, true_poses(octahedral), flat_noise(octahedral), 14), point_group("O"))
    curve = torch.full((octahedral.particles.box // 2 + 1,), fsc)
    gain = (radial_power(solve(sums, curve)) / radial_power(solve(sums))).sqrt()
    assert torch.allclose(gain[3:11], torch.full((8,), fsc), rtol=0.25)
    curve[6:] = 0
    gone = radial_power(solve(sums, curve))[8:12] / radial_power(solve(sums))[8:12]
    assert gone.max() < 0.02


def test_halves_add_up_to_the_whole(dihedral: Scene) -> None:
    poses, noise, group = true_poses(dihedral), flat_noise(dihedral), point_group("D2")
    rows = torch.arange(len(dihedral.particles))
    parts = []
    for half in (rows[::2], rows[1::2]):
        chosen = WeightedPoses(poses.rotations[half], poses.shift_px[half], poses.score[half], poses.weight[half])
        parts.append(symmetric(insert(dihedral.particles[half], chosen, noise, 12), group))
    whole = symmetric(insert(dihedral.particles, poses, noise, 12), group)
    joined = parts[0] + parts[1]
    assert torch.allclose(joined.sums, whole.sums, rtol=1e-3, atol=1e-4 * float(whole.sums.abs().max()))


def test_residuals_of_the_truth_are_the_noise(dihedral: Scene) -> None:
    poses = true_poses(dihedral).best()
    noise = flat_noise(dihedral)[None]
    found = residuals(dihedral.particles, dihedral.truth, noise, poses, 12)
    sums, counts = found.power[0]
    assert torch.allclose((sums / counts)[3:12] / dihedral.noise_power, torch.ones(9).double(), atol=0.12)
    assert (counts[14:] == 0).all()
    away = Poses(poses.rotations.flip(0), poses.shift_px, poses.score)
    wrong = residuals(dihedral.particles, dihedral.truth, noise, away, 12)
    assert wrong.power[0, 0].sum() > 1.05 * sums.sum()
    assert found.cross.sum() / found.square.sum() == pytest.approx(1, abs=0.03)
    assert wrong.cross.sum() / wrong.square.sum() < 0.7


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_start_map_is_put_on_the_images_scale(dihedral: Scene, factor: float) -> None:
    """Whatever its grey scale and fall-off, the start ends on the scale of the map that made the images."""
    shells = torch.arange(dihedral.particles.box // 2 + 1)
    start = factor * apply_radial(dihedral.truth, torch.exp(-0.2 * shells))
    settings = RefineSettings(start_resolution_A=18.0, shift_range_A=8.0)
    particles = dihedral.particles
    group = point_group("D2")
    found = scaled_start(sample_of(particles), start, image_power(particles), group, dihedral.diameter_A, settings)
    gain = (radial_power(found) / radial_power(dihedral.truth)).sqrt()[2:7]
    assert torch.allclose(gain, torch.ones(5), atol=0.3)


def test_start_map_is_resampled_about_its_centre(dihedral: Scene) -> None:
    truth = dihedral.truth  # 36 px of 4 A
    finer = resize_volume(truth, 48)  # 3 A
    assert torch.allclose(fit_sampling(finer, 3.0, 36, 4.0), truth, atol=1e-3 * float(truth.abs().max()))
    wide = torch.zeros(60, 60, 60)
    wide[12:48, 12:48, 12:48] = truth
    assert torch.allclose(fit_sampling(wide, 4.0, 36, 4.0), truth, atol=1e-5 * float(truth.abs().max()))
    assert fit_sampling(truth, 4.0, 48, 3.0).shape == (48, 48, 48)


def plan(step_rad: float, shifts: torch.Tensor) -> RoundPlan:
    return RoundPlan(12.0, 12.0, step_rad, shifts, 3.0, torch.zeros(3))


def test_grid_is_coarsened_to_what_a_round_can_afford() -> None:
    group = point_group("C1")
    shifts = shifts_for(12.0, 4.0, 12.0, torch.device("cpu"))
    few, many, beyond = (len(affordable_grid(plan(0.12, shifts), group, n, 200)) for n in (10, 10**5, 10**9))
    assert few > 3 * many
    assert beyond == len(affordable_grid(plan(COARSEST_STEP_RAD, shifts), group, 1, 200))


def test_steps_follow_the_resolution() -> None:
    displacement = 60 * angular_step_rad(6.0, 120.0)  # at the edge of the particle
    assert 3.0 < displacement < 7.5
    assert angular_step_rad(3.0, 120.0) == pytest.approx(angular_step_rad(6.0, 240.0))
    assert angular_step_rad(60.0, 120.0) == COARSEST_STEP_RAD
    shifts = shifts_for(9.0, 1.5, 6.0, torch.device("cpu"))
    assert shifts.norm(dim=1).max() == 4
    assert len(shifts_for(9.0, 1.5, 0.0, torch.device("cpu"))) == 5  # one step is always tried
