"""The 2D stage over a session: a person's choice is applied without classifying again, and what is kept is counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import avg_pool2d
from typer.testing import CliRunner

from scherzer.cli.main import app
from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable
from scherzer.fourier.grids import real_radius
from scherzer.particles.class_selection import ClassSelectionSettings
from scherzer.particles.classification2d import Class2DSettings
from scherzer.session.acquisition import Acquisition
from scherzer.session.complete import complete, key_of_stage
from scherzer.session.folder import Session, create_session
from scherzer.session.settings import SessionSettings, read_settings
from scherzer.session.stages import class2d
from scherzer.session.stages.class_choice import Choice
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.workers import Workers

BOX, PIXEL_A, DIAMETER_A, COUNT = 32, 4.0, 80.0, 96
SETTINGS = SessionSettings(
    acquisition=Acquisition(diameter_A=DIAMETER_A),
    class2d=Class2DSettings(class_count=2, nyquist_A=9.0, finest_A=16.0, growing_rounds=2, full_rounds=2),
    # What is chosen automatically is not the matter here.
    class_selection=ClassSelectionSettings(
        max_resolution_A=1000.0,
        min_foreground_diameters=0.0,
        max_off_centre_diameters=1.0,
        max_rim_share=1.0,
        max_darkness=100.0,
        max_noise_probability=1.0,
        min_score=0.0,
    ),
)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Particles of two unlike views on a good and a bad micrograph."""
    made = create_session(tmp_path / "s")
    generator = torch.Generator().manual_seed(0)
    patterns = avg_pool2d(torch.randn(2, BOX, BOX, generator=generator), 3, 1, 1) * (real_radius(BOX, 2) < 9)
    shown = patterns[torch.arange(COUNT) % 2] / patterns.std() / 3
    images = shown + torch.randn(COUNT, BOX, BOX, generator=generator)
    (made.root / "extract").mkdir()
    write_mrc(made.root / "extract" / "a.mrcs", images.numpy(), PIXEL_A, "stack")
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["one"],
            "rlnVoltage": [300.0],
            "rlnSphericalAberration": [0.0],
            "rlnAmplitudeContrast": [1.0],
            "rlnImagePixelSize": [PIXEL_A],
            "rlnImageSize": [BOX],
            "rlnImageDimensionality": [2],
        }
    )
    names = ["good.mrc", "bad.mrc"]
    rows = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@extract/a.mrcs" for i in range(COUNT)],
            "rlnMicrographName": np.repeat(names, COUNT // 2),
            "rlnOpticsGroup": 1,
            "rlnDefocusU": 0.0,
            "rlnDefocusV": 0.0,
            "rlnDefocusAngle": 0.0,
            "rlnPhaseShift": 0.0,
            "rlnRandomSubset": np.arange(COUNT) % 2 + 1,
        }
    )
    made.write("extract", StarTable("particles", optics, rows))
    complete(made, "extract", "extracted")
    micrographs = pd.DataFrame(
        {"rlnMicrographName": names, "rlnOpticsGroup": 1, "sczContrastClass": ["good", "bad"], "sczState": "accepted"}
    )
    made.stage("contrast").mkdir()
    made.write("contrast", StarTable("micrographs", optics, micrographs))
    return made


def run(session: Session, settings: SessionSettings = SETTINGS) -> StageOutcome:
    with Workers(1) as workers:
        return class2d.run(session, settings, Context(workers))


def test_a_choice_is_applied_counted_and_taken_back(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="not been classified"):
        class2d.choose(session, Choice(drop=(1,)))
    run(session)
    automatic, key = session.read("class2d", "particles").rows, key_of_stage(session, "class2d")
    assert not automatic.loc[automatic["sczNoiseProbability"] < 0.5].empty
    number = int(automatic.loc[automatic["sczState"] == "accepted", "rlnClassNumber"].iloc[0])
    monkeypatch.setattr(class2d, "classify2d", lambda *_: pytest.fail("classified again"))
    class2d.choose(session, Choice(drop=(number,)))
    outcome = run(session)
    assert outcome.computed == 1
    assert run(session).computed == 0
    assert f"--drop {number}" in outcome.notes[0]
    assert key_of_stage(session, "class2d") != key
    rows = session.read("class2d", "particles").rows
    assert not ((rows["rlnClassNumber"] == number) & (rows["sczState"] == "accepted")).any()
    facts = class2d.retained_facts(session)
    assert facts is not None
    assert facts["by_hand"] == f"--drop {number}"
    assert facts["kept"] == sum(group["kept"] for group in facts["by_contrast"].values())
    assert {name: group["particles"] for name, group in facts["by_contrast"].items()} == {
        "good": COUNT // 2,
        "bad": COUNT // 2,
    }
    class2d.choose(session, Choice())
    run(session)
    assert key_of_stage(session, "class2d") == key
    assert session.read("class2d", "particles").rows.equals(automatic)


def test_other_averages_set_a_choice_aside(session: Session) -> None:
    run(session)
    class2d.choose(session, Choice(keep=(2,)))
    assert run(session).notes
    assert not run(session, replace(SETTINGS, class2d=replace(SETTINGS.class2d, seed=5))).notes


def test_the_number_of_classes_given_on_the_command_line_stays(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scherzer.session.prepare.reopen", lambda root, stated: (session, SETTINGS))
    result = CliRunner().invoke(app, ["class2d", str(session.root), "--classes", "3"])
    assert result.exit_code == 0, result.output
    assert len(class2d.read_classes(session.stage("class2d"))) == 3
    assert read_settings(session.root).class2d == replace(SETTINGS.class2d, class_count=3)
