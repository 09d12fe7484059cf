"""Smooth random deformations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from scherzer.formats.models import Atoms
from scherzer.geometry.rotations import random_rotations
from scherzer.simulate.flexibility import draw_deformations, polynomial_terms
from scherzer.simulate.specimen import project, specimen_of


@pytest.fixture(scope="module")
def positions_A() -> Tensor:
    rng = np.random.default_rng(4)
    points = torch.from_numpy(rng.normal(0, 1, (1500, 3)) * [40, 30, 55]).float()
    return points - points.mean(0)


def moved(positions_A: Tensor, count: int, flexibility_A: float, seed: int = 1) -> Tensor:
    """Displacements ``(count, p, 3)``."""
    drawn = draw_deformations(np.random.default_rng(seed), count, positions_A, flexibility_A)
    return polynomial_terms(positions_A) @ drawn - positions_A


def test_displacements_have_the_size_asked_for(positions_A: Tensor) -> None:
    shifts = moved(positions_A, 400, 2.5)
    assert float(shifts.square().sum(-1).mean().sqrt()) == pytest.approx(2.5, rel=0.03)
    each = shifts.square().sum(-1).mean(1).sqrt()
    assert 0.5 < float(each.min()) < 2.2 < 2.8 < float(each.max()) < 5


def test_neither_position_nor_orientation_changes(positions_A: Tensor) -> None:
    shifts = moved(positions_A, 50, 3.0)
    assert float(shifts.mean(1).abs().max()) < 1e-3
    turning = torch.linalg.cross(positions_A.expand_as(shifts), shifts).mean(1)
    assert float(turning.abs().max()) < 1e-2


def test_neighbours_move_together(positions_A: Tensor) -> None:
    near = positions_A + torch.tensor([0.9, -0.9, 0.9])
    drawn = draw_deformations(np.random.default_rng(1), 20, positions_A, 3.0)
    stretch = (polynomial_terms(near) - polynomial_terms(positions_A)) @ drawn
    change = (stretch.norm(dim=-1) / 0.9 / 3**0.5 - 1).abs()
    assert float(change.mean()) < 0.1  # bonds keep their length
    shifts = moved(positions_A, 20, 3.0)
    far = shifts[:, torch.randperm(1500, generator=torch.Generator().manual_seed(1))]
    assert float((shifts - far).norm(dim=-1).mean()) > 2  # what is far apart does not


def test_deformations_differ_from_particle_to_particle_and_follow_the_seed(positions_A: Tensor) -> None:
    first, again, other = (moved(positions_A, 3, 2.0, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.1)
    assert not torch.allclose(first[0], first[1], atol=0.1)


@pytest.mark.parametrize("shape", [(0, 0, 40), (40, 25, 0)], ids=["straight", "flat"])
def test_flat_and_straight_particles_stay_near_their_atoms(shape: tuple[float, ...]) -> None:
    points = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (200, 3)) * shape).float()
    shifts = moved(points - points.mean(0), 200, 2.0)
    assert float(shifts.square().sum(-1).mean().sqrt()) == pytest.approx(2.0, rel=0.1)


def test_projection_of_a_deformed_particle_is_that_of_its_moved_atoms() -> None:
    rng = np.random.default_rng(5)
    atoms = Atoms(rng.normal(0, 15, (500, 3)), rng.choice(["C", "N", "O"], 500), np.full(500, 20.0), np.ones(500))
    specimen = specimen_of(atoms, flexibility_A=2.0)
    drawn = specimen.draw_deformations(np.random.default_rng(1), 2)
    rotations, centre = random_rotations(2, np.random.default_rng(2)), torch.zeros(2, 2)
    found = project(specimen, rotations, centre, 64, 1.5, drawn)
    at_rest = project(specimen, rotations, centre, 64, 1.5)
    for number in range(2):
        particle = specimen.scatterers
        positions = (polynomial_terms(particle.positions_A) @ drawn[number]).double()
        shift = positions.mean(0)
        one = specimen_of(Atoms(positions.numpy(), atoms.elements, atoms.b_factors_A2, atoms.occupancies))
        # Its centre of mass has moved by what the deformation left of it: put it back.
        shift = (positions - one.scatterers.positions_A).mean(0).float() @ rotations[number][:, :2] / 1.5
        expected = project(one, rotations[number][None], shift[None], 64, 1.5)[0]
        assert float((found[number] - expected).abs().max()) < 0.01 * float(expected.abs().max())
        assert float((at_rest[number] - expected).abs().max()) > 0.05 * float(expected.abs().max())


def test_a_rigid_particle_draws_nothing_and_a_flexible_one_has_a_larger_box() -> None:
    atoms = Atoms(np.eye(3) * 30, np.array(["C", "N", "O"]), np.full(3, 20.0), np.ones(3))
    rng = np.random.default_rng(1)
    assert specimen_of(atoms).draw_deformations(rng, 5) is None
    assert rng.random() == np.random.default_rng(1).random()
    assert specimen_of(atoms, 5.0).box_px(1.0) > specimen_of(atoms).box_px(1.0)
