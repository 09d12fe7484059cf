"""Which point groups lie in which, and how."""

import pytest
import torch

from scherzer.geometry.point_groups import generators, point_group
from scherzer.geometry.related_groups import embeddings, subgroups, supergroups

NAMES = ["C1", "C2", "C3", "C4", "C6", "D2", "D3", "D4", "D5", "D7", "T", "O", "I"]


@pytest.mark.parametrize("symmetry", NAMES)
def test_related_groups_lie_in_each_other(symmetry: str) -> None:
    for larger in supergroups(symmetry):
        check(symmetry, larger)
        assert len(point_group(larger)) % len(point_group(symmetry)) == 0
    for smaller in subgroups(symmetry):
        check(smaller, symmetry)


def check(small: str, large: str) -> None:
    rotations = embeddings(small, large)
    assert len(rotations) > 0
    for rotation in rotations:
        moved = rotation @ point_group(small) @ rotation.T
        assert (moved[:, None] - point_group(large)[None]).abs().amax((2, 3)).amin(1).max() < 1e-3


def test_known_relations() -> None:
    assert supergroups("O") == supergroups("I") == ()
    assert subgroups("O") == ("T", "D4", "D3")
    assert subgroups("D2") == ("C2",)
    assert subgroups("D6") == ("D3", "D2", "C6", "C2")
    assert subgroups("C6") == ("C3", "C2")
    assert subgroups("C1") == ()
    assert set(supergroups("D2")) == {"D4", "D6", "T"}
    assert "D3" in supergroups("C3")


def test_no_way_into_a_group_that_does_not_hold_it() -> None:
    assert len(embeddings("C5", "O")) == 0
    assert len(embeddings("D3", "T")) == 0
    assert len(embeddings("D2", "D4")) >= 2  # any of its three axes may become the 4-fold


@pytest.mark.parametrize("symmetry", NAMES)
def test_generators_make_the_group(symmetry: str) -> None:
    steps = generators(symmetry)
    assert len(steps) == {"C1": 0, "C": 1, "D": 2, "T": 2, "O": 2, "I": 3}.get(symmetry, 1 if symmetry[0] == "C" else 2)
    nearest = (steps[:, None] - point_group(symmetry)[None]).abs().amax((2, 3)).amin(1)
    assert len(steps) == 0 or nearest.max() < 1e-5
    assert not any(torch.allclose(step, torch.eye(3)) for step in steps)
