"""Rounds over every pose lead to the truth where there is one, learn where particles lie, and explain no noise."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.geometry.point_groups import point_group
from scherzer.maps import expectation
from scherzer.maps.expectation import Scene as Images
from scherzer.maps.expectation import climb, scene_at
from scherzer.maps.held_out import spherical_average
from scherzer.maps.stochastic import Specimen, resampled, specimen_at

Scene = Any  # of conftest.py
RESOLUTION_A = 18.0


def specimen_of(case: Scene) -> Specimen:
    held = torch.arange(len(case.particles)) % 5 == 0
    return specimen_at(case.particles, RESOLUTION_A, point_group(case.symmetry), case.diameter_A, 8.0, held)


@pytest.fixture(scope="module")
def images(octahedral: Scene) -> tuple[Specimen, Images, torch.Tensor]:
    specimen = specimen_of(octahedral)
    truth = resampled(octahedral.truth, specimen.particles.box)
    return specimen, scene_at(specimen, RESOLUTION_A, truth), truth


def test_a_ball_with_a_trace_of_the_truth_becomes_the_truth(images: tuple[Specimen, Images, torch.Tensor]) -> None:
    specimen, scene, truth = images
    ball = spherical_average(truth)
    begun = ball + 0.2 * (truth - ball)
    found = climb(scene, begun, 8, 1).volume
    curve = fourier_shell_correlation(found, truth * specimen.mask)
    assert (curve[1:8] > 0.9).all()
    gains = [float(scene.gain(volume).mean()) for volume in (ball, begun, found)]
    assert gains == sorted(gains)
    assert gains[2] > gains[0] + 1


def test_posterior_of_a_pose_is_exact(images: tuple[Specimen, Images, torch.Tensor]) -> None:
    """The gain is the log of the mean likelihood ratio over orientations and shifts, each as often as it is."""
    _, scene, truth = images
    _, bank = scene.bank(truth)
    band, rows = scene.held_out.band, scene.held_out[:2]
    shift = scene.shifts_px[:, None] / band.box
    ramps = torch.exp(-2j * torch.pi * (shift[..., 0] * band.kx + shift[..., 1] * band.ky))
    model = bank.values[:, None] * ramps
    cross = 2 * torch.einsum("rtm,nm->nrt", model.conj(), rows.data).real
    score = cross - (bank.values.abs() ** 2 @ rows.power.T).T[..., None] + scene.log_prior
    expected = torch.logsumexp(score.flatten(1), 1) - torch.log(torch.tensor(float(len(bank))))
    assert torch.allclose(scene.gain(truth)[:2], expected, atol=0.05 + 0.01 * float(expected.abs().max()))


def test_shifts_where_no_particle_lies_are_left_out(octahedral: Scene, images: tuple[Specimen, Images, Any]) -> None:
    """Its particles lie within 3.2 A of their centres, and 8 A are searched."""
    _, scene, _ = images
    assert float(scene.log_prior.exp().sum()) == pytest.approx(1, abs=1e-4)
    mean_A = (scene.log_prior.exp() * scene.shifts_px.norm(dim=1)).sum() * octahedral.particles.pixel_size_A
    uniform_A = 8.0 * 2 / 3
    assert mean_A < 0.6 * uniform_A


def test_shifts_that_a_coarser_band_rules_out_hold_nothing(images: tuple[Specimen, Images, torch.Tensor]) -> None:
    _, scene, truth = images
    _, bank = scene.bank(truth)
    everywhere = torch.ones((len(scene.training), len(scene.shifts_px)), dtype=torch.bool)
    near = scene.near(truth, torch.tensor([0.3, 0.2, 0.1]))
    whole = expectation._expected(scene, scene.training, bank, everywhere)
    part = expectation._expected(scene, scene.training, bank, near)
    assert near.float().mean() < 0.8
    assert torch.allclose(whole.at_shift.sum(1), torch.ones(len(near)), atol=1e-4)
    assert whole.at_shift[~near].sum() < 0.01 * len(near)
    assert torch.allclose(part.gain, whole.gain, atol=0.05 + 0.01 * float(whole.gain.max()))
    assert (part.sums - whole.sums).norm() < 0.05 * whole.sums.norm()
    other = expectation._expected(scene, scene.training, bank, ~near | (near.sum(1) == len(near[0]))[:, None])
    assert other.gain.mean() < whole.gain.mean() - 1


def test_rounds_of_a_part_remember_the_others(images: tuple[Specimen, Images, torch.Tensor]) -> None:
    specimen, scene, truth = images
    part = replace(scene, round_particles=40)
    ball = spherical_average(truth)
    found = climb(part, ball + 0.2 * (truth - ball), 10, 1).volume
    curve = fourier_shell_correlation(found, truth * specimen.mask)
    assert (curve[1:7] > 0.85).all()


def test_noise_is_not_explained(nothing: Scene) -> None:
    specimen = specimen_of(nothing)
    start = resampled(nothing.truth, specimen.particles.box)
    scene = scene_at(specimen, RESOLUTION_A, start)
    assert float(scene.gain(climb(scene, start, 5, 1).volume).mean()) < 0.1
