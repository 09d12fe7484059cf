"""An interrupted refinement goes on from its last round to the same result, and never from another's state."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scherzer.maps import refinement
from scherzer.maps.refinement import Refinement, refine
from scherzer.maps.refinement_round import next_state
from scherzer.maps.settings import RefineSettings

Scene = Any  # of conftest.py
SETTINGS = RefineSettings(start_resolution_A=24.0, iterations=2, finest_A=12.0, shift_range_A=8.0)


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def few(dihedral: Scene) -> Scene:
    return replace(dihedral, particles=dihedral.particles[torch.arange(80)])


def run(scene: Scene, path: Path | None, settings: RefineSettings = SETTINGS) -> Refinement:
    return refine(scene.particles, scene.truth, scene.pixel_size_A, "D2", scene.diameter_A, settings, state_file=path)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the rounds that were run; the second one is killed once."""
    done: list[int] = []

    def counted(task: Any, state: Any, number: int) -> Any:
        done.append(number)
        if done == [0, 1]:
            raise Killed
        return next_state(task, state, number)

    monkeypatch.setattr(refinement, "next_state", counted)
    return done


def test_interrupted_refinement_goes_on_and_gives_the_same(few: Scene, rounds: list[int], tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(Killed):
        run(few, path)
    assert path.is_file()
    resumed = run(few, path)
    assert rounds == [0, 1, 1]
    assert not path.exists()
    unbroken = run(few, None)
    assert torch.equal(resumed.half_maps, unbroken.half_maps)
    assert torch.equal(resumed.rotations, unbroken.rotations)
    assert resumed.history_A == unbroken.history_A


def test_state_of_another_refinement_is_not_used(few: Scene, rounds: list[int], tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(Killed):
        run(few, path)
    run(few, path, replace(SETTINGS, seed=5))
    assert rounds == [0, 1, 0, 1]


def test_broken_state_file_is_ignored(few: Scene, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(b"not a state")
    assert len(run(few, path, replace(SETTINGS, iterations=1)).history_A) == 1
    assert not path.exists()
