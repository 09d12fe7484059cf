"""Micrographs' grey scales and optics groups' noise are found in the course of a round."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from scherzer.maps.refinement_round import first_state, make_task, micrograph_scale, next_state
from scherzer.maps.settings import RefineSettings

Scene = Any  # of conftest.py
SETTINGS = RefineSettings(start_resolution_A=20.0, iterations=3, finest_A=10.0, shift_range_A=8.0)


def test_scale_of_a_micrograph_is_its_fit_shrunk_towards_one() -> None:
    micrograph = torch.tensor([0, 0, 2, 2, 3])
    square = torch.tensor([4e4, 6e4, 1.0, 1.0, 50.0])
    found = micrograph_scale(micrograph, square * torch.tensor([1.2, 1.2, 3.0, 3.0, 2.0]), square)
    assert found[:2].tolist() == pytest.approx([1.2, 1.2], abs=0.01)
    assert found[2:4].tolist() == pytest.approx([1.08, 1.08], abs=0.02)  # says little: hardly moved
    assert float(found[4]) == pytest.approx(1.5, abs=0.01)  # as sure as the prior


@pytest.fixture(scope="module")
def uneven(dihedral: Scene) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """The state after two rounds with true grey scale and noise of each particle."""
    particles = dihedral.particles
    faint = torch.where(particles.micrograph % 4 < 2, 1.15, 0.85)
    noisy = torch.where(torch.arange(len(particles)) % 20 < 10, 1.0, 2.0)
    generator = torch.Generator().manual_seed(1)
    extra = torch.randn(particles.transforms.shape, dtype=torch.complex64, generator=generator)
    spread = (dihedral.noise_power * (noisy - 1)).sqrt()
    transforms = particles.transforms * faint[:, None, None] + spread[:, None, None] * extra
    group = (noisy > 1).long()
    particles = replace(particles, transforms=transforms)
    task = make_task(particles, "D2", dihedral.diameter_A, SETTINGS)
    # Groups of this size would be joined.
    halves = tuple(replace(part, optics_group=group[particles.half == h + 1]) for h, part in enumerate(task.halves))
    task = replace(task, halves=halves, sample=replace(task.sample, optics_group=group[: len(task.sample)]))
    state = first_state(task, dihedral.truth, dihedral.pixel_size_A)
    for number in range(2):
        state = next_state(task, state, number)
    order = torch.argsort(torch.cat([torch.nonzero(particles.half == h)[:, 0] for h in (1, 2)]))
    return state, torch.cat(state.scale)[order], faint


def test_grey_scales_are_found_and_are_one_on_average(uneven: tuple[Any, torch.Tensor, torch.Tensor]) -> None:
    _, scale, faint = uneven
    bright = faint > 1
    assert float(scale.mean()) == pytest.approx(1, abs=1e-4)
    assert 1.1 < scale[bright].mean() / scale[~bright].mean() < 1.5  # truth 1.35, shrunk


def test_noise_of_the_groups_is_told_apart(uneven: tuple[Any, torch.Tensor, torch.Tensor]) -> None:
    state, _, _ = uneven
    ratio = state.noise[1, 3:8] / state.noise[0, 3:8]
    mean = (1.15**2 + 0.85**2) / 2
    assert torch.allclose(ratio, torch.full((5,), (mean + 1) / mean), rtol=0.15)
