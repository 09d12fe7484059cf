"""``scherzer class2d`` over a particles.star: what it writes, a choice by hand over it, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scherzer.cli.main import app
from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_mrc
from scherzer.formats.star import read_star
from scherzer.particles.class_selection import ClassSelectionSettings
from scherzer.particles.classification2d import Class2DSettings
from scherzer.session.stages.class2d import read_classes
from scherzer.session.stages.class_choice import Choice
from scherzer.session.stages.context import StageOutcome
from scherzer.session.standalone.classes import classify_particles
from scherzer.session.standalone.inputs import particle_input

Project = Any  # of conftest.py
DIAMETER_A = 92.0
SETTINGS = Class2DSettings(class_count=3, nyquist_A=9.0, finest_A=16.0, growing_rounds=3, full_rounds=2)
LENIENT = ClassSelectionSettings(min_score=0.0, max_darkness=2.0, max_off_centre_diameters=0.5)


def classify(project: Project, out: Path, choice: Choice | None = None) -> StageOutcome:
    given = particle_input(project.star, None, DIAMETER_A)
    return classify_particles(given, out, SETTINGS, LENIENT, choice, lambda fraction, message: None)


def content(path: Path) -> bytes:
    """Return what a file holds but for its first line, which in a STAR file may be the time of writing."""
    return path.read_bytes().split(b"\n", 1)[1] if path.suffix == ".star" else path.read_bytes()


@pytest.fixture(scope="module")
def classified(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "classified"
    assert classify(project, out).computed == 1
    return out


def test_classes_and_particles_are_written(project: Project, classified: Path) -> None:
    table, classes = read_star(classified / "particles.star"), read_classes(classified)
    assert len(table) == len(project.table)
    assert table.rows["rlnImageName"].tolist() == project.table.rows["rlnImageName"].tolist()
    assert set(table.rows["rlnClassNumber"]) <= {1, 2, 3}
    assert read_mrc(classified / "classes.mrcs").data.shape[0] == len(classes) == 3
    assert classes["rlnReferenceImage"].tolist()[0] == "000001@classes.mrcs"
    in_a_class = table.rows.loc[table.rows["sczNoiseProbability"] <= 0.5, "rlnClassNumber"].value_counts()
    assert {number: in_a_class.get(number, 0) for number in (1, 2, 3)} == dict(
        enumerate(classes["sczClassParticles"], start=1)
    )


def test_a_choice_by_hand_needs_no_classification_and_can_be_taken_back(project: Project, classified: Path) -> None:
    before = {name: content(classified / name) for name in ("particles.star", "classes.star", "classes.mrcs")}
    number = int(read_star(classified / "particles.star").accepted().rows["rlnClassNumber"].iloc[0])
    outcome = classify(project, classified, Choice(drop=(number,)))
    assert f"--drop {number}" in outcome.notes[-1]
    kept = read_star(classified / "particles.star").accepted().rows
    assert number not in set(kept["rlnClassNumber"])
    again = classify(project, classified)  # what was said stands
    assert again.computed == 0
    assert f"--drop {number}" in again.notes[-1]
    classify(project, classified, Choice())
    assert {name: content(classified / name) for name in before} == before
    with pytest.raises(BadInput, match="no class 9"):
        classify(project, classified, Choice(keep=(9,)))


def test_the_command_says_what_is_wrong_in_a_line(project: Project, tmp_path: Path) -> None:
    star = str(project.star)
    for arguments, expected in (
        ((star, "--out", str(tmp_path / "a")), "give --diameter"),
        ((star, "--diameter", "92"), "give --out"),
        ((star, "--diameter", "92", "--out", str(tmp_path / "a"), "--keep", "one"), "no list of class numbers"),
        ((str(tmp_path), "--diameter", "92"), "not for a session"),
    ):
        result = CliRunner().invoke(app, ["class2d", *arguments])
        assert result.exit_code == 2
        assert expected in " ".join(result.output.split())
        assert not (tmp_path / "a").exists()
