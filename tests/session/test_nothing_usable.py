"""A session with nothing to pick still ends in a verdict and a report, and nothing stale is left in them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable
from scherzer.report.page import build_report
from scherzer.session.chain import run_all
from scherzer.session.folder import create_session
from scherzer.session.prepare import prepare
from scherzer.session.settings import SessionSettings
from scherzer.session.stages import pick
from scherzer.session.stages.context import Context, Progress, StageOutcome
from scherzer.session.workers import Workers

KNOWN = {"voltage_kV": 300.0, "cs_mm": 2.7, "diameter_A": 130.0}


@dataclass
class Listener:
    """Remembers how every stage ended."""

    summaries: dict[str, str] = field(default_factory=dict)

    def begin(self, stage: str) -> Progress:
        return lambda fraction, message: None

    def end(self, stage: str, outcome: StageOutcome) -> None:
        self.summaries[stage] = outcome.summary


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Return a folder of three images of shot noise."""
    rng = np.random.default_rng(1)
    for number in range(3):
        image = rng.poisson(20, size=(384, 384)).astype(np.float32)
        write_mrc(tmp_path / "data" / f"noise_{number}.mrc", image, 1.5, "image")
    return tmp_path / "data"


def test_noise_ends_in_a_verdict_that_says_what_happened(noise: Path, tmp_path: Path) -> None:
    session, settings = prepare(tmp_path / "session", [str(noise)], KNOWN)
    stale = session.stage("class2d")
    stale.mkdir()
    (stale / "classes.star").write_text("of an earlier run\n")
    (stale / ".key").write_text("of an earlier run")
    heard = Listener()
    assert run_all(session, settings, 1, heard, build_report) > 0
    assert heard.summaries["contrast"] == "3 micrographs: 3 rejected"
    assert "no micrograph was accepted" in heard.summaries["pick"]
    assert not {"extract", "class2d", "abinitio", "refine"} & set(heard.summaries)
    assert not (stale / "classes.star").exists()

    results = json.loads((session.root / "results.json").read_text())
    assert results["verdict"]["decision"] in ("cannot_tell", "improve")
    assert results["maps"] == []
    assert [entry["state"] for entry in results["micrographs"]] == ["rejected"] * 3
    assert all(entry["picks"] is None and entry["picks_reason"] for entry in results["micrographs"])
    assert results["verdict"]["sentence"] in (session.root / "report.html").read_text()
    assert run_all(session, settings, 1, heard, build_report) == 0


def test_a_diameter_that_cannot_be_measured_is_asked_for(tmp_path: Path) -> None:
    session = create_session(tmp_path / "session")
    write_mrc(session.root / "noise.mrc", np.random.default_rng(2).normal(size=(384, 384)).astype(np.float32), 1.5)
    row = {"sczName": "noise", "rlnMicrographName": "noise.mrc", "rlnDefocusU": 1e4, "rlnDefocusV": 1e4}
    row |= {"rlnDefocusAngle": 0.0, "rlnOpticsGroup": 1, "sczState": "accepted", "sczReason": ""}
    group = {"rlnOpticsGroup": 1, "rlnMicrographPixelSize": 1.5, "rlnVoltage": 300.0}
    optics = pd.DataFrame([{**group, "rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1}])
    session.write("contrast", StarTable("micrographs", optics, pd.DataFrame([row])))
    with (
        Workers(1) as workers,
        pytest.raises(BadInput, match=r"particle diameter: it was not given .*; give --diameter in A"),
    ):
        pick.run(session, SessionSettings(), Context(workers))
