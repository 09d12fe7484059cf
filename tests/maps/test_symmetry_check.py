"""Point groups related to the imposed one: those that are true fit as well, those that are not do not."""

from typing import Any

import torch

from scherzer.geometry.point_groups import point_group
from scherzer.maps.map_alignment import moved_map
from scherzer.maps.stochastic import Specimen, Stage, resampled, specimen_at
from scherzer.maps.symmetrise import symmetrise_volume
from scherzer.maps.symmetry_check import GroupScore, check_symmetry, fits_as_well, fits_better, sentence_of

Scene = Any  # of conftest.py
RESOLUTION_A = 18.0
STAGE = Stage(10, 120, RESOLUTION_A, RESOLUTION_A, 1.0, 1.0)


def known(scene: Scene, symmetry: str) -> tuple[Specimen, torch.Tensor]:
    """The particles, a third of them held out, and the true map under a group."""
    held = torch.arange(len(scene.particles)) % 3 == 0
    group = point_group(symmetry)
    specimen = specimen_at(scene.particles, RESOLUTION_A, group, scene.diameter_A, 8.0, held)
    return specimen, resampled(symmetrise_volume(scene.truth, group), specimen.particles.box)


def score(scores: list[GroupScore], symmetry: str) -> GroupScore:
    return next(entry for entry in scores if entry.symmetry == symmetry)


def test_true_group_stands(dihedral: Scene) -> None:
    scores = check_symmetry(*known(dihedral, "D2"), "D2", STAGE, 0)
    assert [entry.symmetry for entry in scores] == ["D2", "D4", "D6", "T", "C2"]
    for larger in ("D4", "D6", "T"):
        assert not fits_as_well(score(scores, larger))
    assert not fits_better(score(scores, "C2"))
    assert sentence_of(scores) == "D2 stands against D4, D6, T, C2"


def test_larger_true_group_fits_as_well(dihedral: Scene) -> None:
    """Of D2 particles under C2, whose other two axes lie at any angle about z."""
    specimen, volume = known(dihedral, "C2")
    turned = moved_map(volume, torch.tensor([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]))
    scores = check_symmetry(specimen, turned, "C2", STAGE, 0)
    assert fits_as_well(score(scores, "D2"))
    assert score(scores, "D2").correlation > 0.9
    assert not fits_as_well(score(scores, "C4"))
    assert not fits_as_well(score(scores, "C6"))
    assert "D2 fits as well as C2" in sentence_of(scores)


def test_symmetry_that_is_not_there_is_flagged(asymmetric: Scene) -> None:
    scores = check_symmetry(*known(asymmetric, "D2"), "D2", STAGE, 0)
    assert fits_better(score(scores, "C2"))
    assert sentence_of(scores).startswith("D2 may be too high a symmetry: C2 fits clearly better")
