"""Import: bad files cost themselves, each with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from scherzer.formats.errors import BadInput
from scherzer.formats.star import read_star
from scherzer.session.folder import Session
from scherzer.session.prepare import prepare
from scherzer.session.stages import import_
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.workers import Workers

KNOWN = {"voltage_kV": 300.0, "cs_mm": 2.7, "diameter_A": 130.0}


def run_import(root: Path, inputs: list[str]) -> tuple[Session, StageOutcome]:
    session, settings = prepare(root, inputs, KNOWN)
    with Workers(1) as workers:
        return session, import_.run(session, settings, Context(workers))


def test_every_bad_file_is_named_with_its_reason_and_the_others_go_on(mixed: Path, tmp_path: Path) -> None:
    session, outcome = run_import(tmp_path / "session", [str(mixed)])
    table = session.read("import")
    states = dict(zip(table.rows["sczName"], table.rows["sczState"], strict=True))
    reasons = dict(zip(table.rows["sczName"], table.rows["sczReason"], strict=True))
    assert [name for name, state in states.items() if state == "accepted"] == ["mic_0", "mic_1", "mic_2"]
    assert "not an MRC file" in reasons["text"]
    assert "truncated" in reasons["cut"]
    assert reasons["zero"] == "is zero everywhere"
    assert reasons["square"] == "image is 100 x 100 px, the session's are 128 x 96"
    assert reasons["zoomed"] == "pixel size in the header is 2.5 A, the session's is 1.5 A"
    assert len(outcome.lost) == 5
    assert any(line.startswith("zero: failed, ") for line in outcome.lost)


def test_paths_are_relative_inside_the_session_and_absolute_outside(exposures: Path, tmp_path: Path) -> None:
    session, _ = run_import(tmp_path, [str(exposures)])
    assert session.read("import").rows["rlnMicrographName"].tolist() == [f"data/mic_{n}.mrc" for n in range(3)]
    session, _ = run_import(tmp_path / "elsewhere", [str(exposures)])
    assert session.read("import").rows["rlnMicrographName"].tolist() == [
        str(exposures / f"mic_{n}.mrc") for n in range(3)
    ]


def test_the_optics_block_says_what_was_given(exposures: Path, tmp_path: Path) -> None:
    session, _ = run_import(tmp_path / "session", [str(exposures)])
    optics = read_star(session.table_path("import", "micrographs")).optics.iloc[0]
    assert (optics["rlnVoltage"], optics["rlnSphericalAberration"], optics["rlnMicrographPixelSize"]) == (
        300.0,
        2.7,
        1.5,
    )


def test_a_pixel_size_goes_before_the_headers_and_the_conflict_is_shown(exposures: Path, tmp_path: Path) -> None:
    session, settings = prepare(tmp_path / "session", [str(exposures)], {**KNOWN, "pixel_size_A": 0.75})
    with Workers(1) as workers:
        outcome = import_.run(session, settings, Context(workers))
    assert outcome.summary == "3 micrographs: 3 accepted; pixel size 0.75 A as given, though the headers say 1.5 A"
    assert session.read("import").optics["rlnMicrographPixelSize"].tolist() == [0.75]


def test_nothing_usable_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text.mrc").write_text("no")
    with pytest.raises(BadInput, match="pixel size"):
        run_import(tmp_path / "session", [str(tmp_path / "data")])


def test_importing_again_changes_nothing_and_one_more_file_is_added(exposures: Path, tmp_path: Path) -> None:
    session, first = run_import(tmp_path / "session", [str(exposures)])
    assert first.computed == 3
    before = session.table_path("import", "micrographs").stat().st_mtime_ns
    _, again = run_import(tmp_path / "session", [])
    assert again.computed == 0
    assert session.table_path("import", "micrographs").stat().st_mtime_ns == before
    (exposures / "mic_9.mrc").write_bytes((exposures / "mic_1.mrc").read_bytes())
    _, more = run_import(tmp_path / "session", [str(exposures)])
    assert more.computed == 1
    assert len(session.read("import")) == 4
