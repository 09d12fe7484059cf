"""Groups have the right size, are closed, and are those of crystallography in RELION's setting."""

import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scherzer.geometry.point_groups import parse_symmetry, point_group

ORDERS = {"C1": 1, "C2": 2, "C7": 7, "C24": 24, "D2": 4, "D3": 6, "D7": 14, "T": 12, "O": 24, "I": 60}


def holds(elements: np.ndarray, wanted: np.ndarray) -> bool:
    return bool((np.abs(elements - wanted).max((1, 2)) < 1e-5).any())


def same(first: np.ndarray, second: np.ndarray) -> bool:
    return len(first) == len(second) and all(holds(second, element) for element in first)


@pytest.mark.parametrize(("symmetry", "order"), ORDERS.items())
def test_order_identity_and_closure(symmetry: str, order: int) -> None:
    group = point_group(symmetry).double().numpy()
    assert len(group) == order
    assert np.array_equal(group[0], np.eye(3))
    assert np.allclose(np.linalg.det(group), 1, atol=1e-5)
    assert sum(np.abs(group - element).max((1, 2)).min() < 1e-5 for element in group) == order
    distances = np.abs(group[:, None] - group[None]).max((2, 3)) + np.eye(order)
    assert distances.min() > 1e-2  # no operator twice
    for first, second in itertools.islice(itertools.product(group, group), 0, None, max(1, order**2 // 200)):
        assert holds(group, first @ second)
        assert holds(group, first.T)


@pytest.mark.parametrize("symmetry", ["C1", "C4", "C6", "D2", "D5", "D6", "O"])
def test_same_as_scipys(symmetry: str) -> None:
    assert same(Rotation.create_group(symmetry).as_matrix(), point_group(symmetry).numpy())


@pytest.mark.parametrize("symmetry", ["T", "I"])
def test_same_as_scipys_in_another_setting(symmetry: str) -> None:
    ours, theirs = point_group(symmetry).double().numpy(), Rotation.create_group(symmetry).as_matrix()

    def threefolds(group: np.ndarray) -> np.ndarray:
        vectors = Rotation.from_matrix(group).as_rotvec()
        length = np.linalg.norm(vectors, axis=1)
        return vectors[np.abs(length - 2 * np.pi / 3) < 1e-3]

    axes = threefolds(ours)
    a = axes[0]
    b = next(axis for axis in axes if np.linalg.norm(np.cross(a, axis)) > 0.1)
    settings = (
        Rotation.align_vectors([c, d], [a, b])[0].as_matrix()
        for c, d in itertools.permutations(threefolds(theirs), 2)
        if abs(c @ d - a @ b) < 1e-3
    )
    assert any(same(turn @ ours @ turn.T, theirs) for turn in settings)


def test_relions_settings() -> None:
    def has(symmetry: str, fold: int, axis: tuple[float, float, float]) -> bool:
        vector = 2 * np.pi / fold * np.array(axis) / np.linalg.norm(axis)
        return holds(point_group(symmetry).double().numpy(), Rotation.from_rotvec(vector).as_matrix())

    assert has("C5", 5, (0, 0, 1))
    assert has("D5", 5, (0, 0, 1))
    assert has("D5", 2, (1, 0, 0))
    assert has("T", 3, (0, 0, 1))
    assert has("T", 2, (0, 0.816496581, 0.577350269))
    for axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert has("O", 4, axis)
        assert has("I", 2, axis)
    assert has("I", 5, (0.525731112, 0, 0.850650808))
    assert not has("I", 5, (0.850650808, 0, 0.525731112))  # that is I1


def test_permutations_of_the_axes_are_exact_integers() -> None:
    for symmetry in ("C2", "C4", "D2", "O"):
        group = point_group(symmetry)
        assert torch.equal(group, group.round())


@pytest.mark.parametrize(
    ("given", "name"), [("c1", "C1"), (" d2 ", "D2"), ("C04", "C4"), ("o", "O"), ("t", "T"), ("I2", "I"), ("i", "I")]
)
def test_names_are_normalised(given: str, name: str) -> None:
    assert parse_symmetry(given) == name


@pytest.mark.parametrize("name", ["", "C", "C0", "D1", "D0", "C-2", "I1", "I3", "O2", "X4", "C2.5", "Td", "C4 D2"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="unknown symmetry"):
        parse_symmetry(name)
    with pytest.raises(ValueError, match="unknown symmetry"):
        point_group(name)
