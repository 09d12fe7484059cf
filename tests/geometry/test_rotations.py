"""Angles are RELION's, turn into matrices and back everywhere, and distances know the symmetry."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import angle_between, from_euler, from_rotation_vector, random_rotations, to_euler


def relion_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """RELION's Euler_angles2matrix: volume frame to image frame."""
    ca, cb, cg = math.cos(rot), math.cos(tilt), math.cos(psi)
    sa, sb, sg = math.sin(rot), math.sin(tilt), math.sin(psi)
    return np.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


def angles(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    rot, psi = generator.uniform(-math.pi, math.pi, (2, count))
    tilt = np.arccos(generator.uniform(-1, 1, count))
    return tuple(torch.from_numpy(a) for a in (rot, tilt, psi))


def test_matrix_is_the_transpose_of_relions() -> None:
    given = angles(50)
    found = from_euler(*given)
    for matrix, rot, tilt, psi in zip(found.numpy(), *(a.tolist() for a in given), strict=True):
        assert np.allclose(matrix, relion_matrix(rot, tilt, psi).T, atol=1e-12)


def test_third_column_is_the_viewing_direction() -> None:
    rot, tilt, psi = angles(20)
    found = from_euler(rot, tilt, psi)[:, :, 2]
    expected = torch.stack((torch.sin(tilt) * torch.cos(rot), torch.sin(tilt) * torch.sin(rot), torch.cos(tilt)), 1)
    assert torch.allclose(found, expected)


def test_angles_survive_the_way_there_and_back() -> None:
    rot, tilt, psi = angles(500)
    found = to_euler(from_euler(rot, tilt, psi))
    for got, given in zip(found, (rot, tilt, psi), strict=True):
        assert torch.allclose(got, given, atol=1e-9)


@pytest.mark.parametrize("tilt", [0.0, math.pi])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_poles_keep_the_orientation(tilt: float, dtype: torch.dtype) -> None:
    rot, _, psi = (a.to(dtype) for a in angles(100))
    matrices = from_euler(rot, torch.full_like(rot, tilt), psi)
    found = to_euler(matrices)
    assert (found[0] == 0).all()  # only one angle is defined: it is psi
    assert all(torch.isfinite(a).all() for a in found)
    assert torch.allclose(from_euler(*found), matrices, atol=1e-5)


@pytest.mark.parametrize("tilt", [1e-5, 1e-3, math.pi - 1e-3, math.pi - 1e-5])
def test_next_to_the_poles_float32_matrices_keep_the_orientation(tilt: float) -> None:
    rot, _, psi = angles(200)
    matrices = from_euler(rot, torch.full_like(rot, tilt), psi).float()
    half = random_rotations(200, np.random.default_rng(1))
    turned = half @ (half.mT @ matrices)  # rounded as by the products of a refinement
    assert (from_euler(*to_euler(turned)) - turned).abs().max() < 1e-3


def test_tilt_is_not_negative_and_angles_are_reduced() -> None:
    rot, tilt, psi = angles(100)
    found = to_euler(from_euler(rot + 2 * math.pi, -tilt, psi - 4 * math.pi))
    assert (found[1] >= 0).all()
    assert all(((a > -math.pi - 1e-9) & (a <= math.pi + 1e-9)).all() for a in found)
    assert torch.allclose(from_euler(*found), from_euler(rot, -tilt, psi), atol=1e-9)


def test_rotation_vectors_agree_with_scipy() -> None:
    vectors = np.random.default_rng(3).normal(size=(50, 3))
    vectors[0] = 0
    found = from_rotation_vector(torch.from_numpy(vectors))
    assert np.allclose(found.numpy(), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)


@pytest.mark.parametrize("symmetry", ["C1", "D2", "O", "I"])
def test_distance_is_the_least_over_symmetry_mates(symmetry: str) -> None:
    group = point_group(symmetry)
    orientation = random_rotations(20, np.random.default_rng(5))
    nearby = orientation @ from_rotation_vector(torch.tensor([[0.0, 0.1, 0.0]]))
    mate = group[torch.arange(20) % len(group)] @ nearby
    assert torch.allclose(angle_between(orientation, mate, group), torch.full((20,), 0.1), atol=2e-3)
    if symmetry != "C1":
        plain = angle_between(orientation, mate)
        expected = (Rotation.from_matrix(orientation.numpy()).inv() * Rotation.from_matrix(mate.numpy())).magnitude()
        assert np.allclose(plain.numpy(), expected, atol=5e-3)
        assert plain.max() > 1


def test_random_rotations_are_proper_reproducible_and_uniform() -> None:
    found = random_rotations(4000, np.random.default_rng(1))
    assert torch.allclose(found @ found.mT, torch.eye(3).expand(4000, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(found), torch.ones(4000), atol=1e-5)
    assert torch.equal(found, random_rotations(4000, np.random.default_rng(1)))
    assert found.mean(0).abs().max() < 5 / math.sqrt(3 * 4000)  # entries have variance 1/3
    assert torch.allclose((found**2).mean(0), torch.full((3, 3), 1 / 3), atol=0.03)
