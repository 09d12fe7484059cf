"""Import: bad files cost themselves, each with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import read_star
from scherzer.session.folder import Session
from scherzer.session.prepare import prepare
from scherzer.session.stages import import_
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.workers import Workers

KNOWN = {"voltage_kV": 300.0, "cs_mm": 2.7, "diameter_A": 130.0}


def run_import(root: Path, inputs: list[str], **stated: float) -> tuple[Session, StageOutcome]:
    session, settings = prepare(root, inputs, {**KNOWN, **stated})
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
    session, outcome = run_import(tmp_path / "session", [str(exposures)], pixel_size_A=0.75)
    assert outcome.notes == (
        "pixel size 0.75 A used, 1.5 in the headers (a factor of 2: super-resolution or binning?)",
    )
    assert session.read("import").optics["rlnMicrographPixelSize"].tolist() == [0.75]
    facts = json.loads((tmp_path / "session" / "import" / "sources.json").read_text())
    assert [source["agree"] for source in facts["sources"]] == [False, True, True]


def epu_xml(
    pixel_m: float = 1.2e-10, dose_per_m2: float = 6e21, volt: float = 2e5, shift: tuple[float, float] = (0.0, 0.0)
) -> str:
    entries = {"Dose": dose_per_m2, "AppliedDefocus": -1.8e-6}
    custom = "".join(f"<e><Key>{key}</Key><Value>{value}</Value></e>" for key, value in entries.items())
    return (
        f"<MicroscopeImage><CustomData>{custom}</CustomData><SpatialScale><pixelSize><x><numericValue>{pixel_m}"
        "</numericValue></x></pixelSize></SpatialScale><microscopeData><acquisition><camera><ReadoutArea><width>128"
        "</width></ReadoutArea></camera></acquisition><gun><AccelerationVoltage>"
        f"{volt}</AccelerationVoltage></gun><optics><BeamShift><_x>{shift[0]}</_x><_y>{shift[1]}</_y></BeamShift>"
        "</optics></microscopeData></MicroscopeImage>"
    )


def movies(folder: Path, count: int = 3, pixel_size_A: float = 1.5) -> Path:
    for number in range(count):
        frames = np.random.default_rng(number).poisson(2.0, (4, 96, 128)).astype(np.int16)
        write_mrc(folder / f"m{number}_Fractions.mrc", frames, pixel_size_A, "stack")
    return folder


def test_what_the_user_leaves_out_comes_from_metadata_and_then_from_headers(tmp_path: Path) -> None:
    folder = movies(tmp_path / "data")
    _, settings = prepare(tmp_path / "a", [str(folder)], {**KNOWN, "voltage_kV": 300.0})
    assert (settings.acquisition.pixel_size_A, settings.acquisition.dose_per_frame_e_per_A2) == (1.5, None)
    for number in range(3):
        (folder / f"m{number}.xml").write_text(epu_xml())
    _, settings = prepare(tmp_path / "b", [str(folder)], {**KNOWN, "voltage_kV": None})
    found = settings.acquisition
    assert (found.pixel_size_A, found.voltage_kV, found.dose_per_frame_e_per_A2) == (1.2, 200.0, 15.0)
    _, settings = prepare(tmp_path / "c", [str(folder)], {**KNOWN, "pixel_size_A": 1.0})
    assert (settings.acquisition.pixel_size_A, settings.acquisition.voltage_kV) == (1.0, 300.0)


def test_user_metadata_and_headers_stand_side_by_side_where_they_disagree(tmp_path: Path) -> None:
    folder = movies(tmp_path / "data")
    for number in range(3):
        (folder / f"m{number}.xml").write_text(epu_xml())
    session, outcome = run_import(tmp_path / "s", [str(folder)], pixel_size_A=1.21, dose_per_frame_e_per_A2=15.2)
    assert outcome.notes == (
        "pixel size 1.21 A used, 1.2 in the EPU XML, 1.5 in the headers",
        "acceleration voltage 300 kV used, 200 in the EPU XML",
        "EPU XML beside 3 of 3 exposures: pixel size 1.2 A, acceleration voltage 200 kV, exposure per frame 15 e/A2",
    )
    table = session.read("import")
    assert table.optics[["rlnVoltage", "rlnMicrographPixelSize"]].to_numpy().tolist() == [[300.0, 1.21]]
    assert table.rows["sczTargetDefocus"].tolist() == pytest.approx([18000.0] * 3)
    assert table.rows["sczExposureDose"].tolist() == pytest.approx([60.0] * 3)
    assert table.rows["sczMetadata"].tolist() == [str(folder / f"m{number}.xml") for number in range(3)]


def test_bad_metadata_cost_a_note_and_nothing_else(tmp_path: Path) -> None:
    folder = movies(tmp_path / "data")
    (folder / "m0.xml").write_text(epu_xml(pixel_m=1.5e-10))
    (folder / "m1.xml").write_text("<MicroscopeImage>")
    session, outcome = run_import(tmp_path / "s", [str(folder)])
    table = session.read("import")
    assert set(table.rows["sczState"]) == {"accepted"}
    assert table.rows["sczMetadataProblem"].str.contains("not readable XML").tolist() == [False, True, False]
    assert any(line.startswith("metadata of 1 exposures not used; the first, m1.xml of m1") for line in outcome.notes)
    assert outcome.summary == "3 micrographs: 3 accepted"


def test_metadata_that_come_later_are_read_then(tmp_path: Path) -> None:
    folder = movies(tmp_path / "data")
    run_import(tmp_path / "s", [str(folder)])
    (folder / "m1.xml").write_text(epu_xml())
    session, outcome = run_import(tmp_path / "s", [])
    assert outcome.computed == 1
    assert "sczTargetDefocus" in session.read("import").rows


def test_beam_shifts_and_voltages_make_optics_groups(tmp_path: Path) -> None:
    folder = movies(tmp_path / "data", 13)
    for number in range(12):
        volt = 3e5 if number < 9 else 2e5
        jitter = 0.001 * np.random.default_rng(number).normal()
        (folder / f"m{number}.xml").write_text(epu_xml(1.5e-10, volt=volt, shift=(0.1 * (number % 3) + jitter, 0.0)))
    session, outcome = run_import(tmp_path / "s", [str(folder)])
    table = session.read("import")
    by_name = dict(zip(table.rows["sczName"], table.rows["rlnOpticsGroup"], strict=True))
    groups = [by_name[f"m{number}_Fractions"] for number in range(13)]
    assert groups[:9] == groups[:3] * 3
    assert len(set(groups)) == 7
    assert sorted(table.optics["rlnOpticsGroup"]) == list(range(1, 8))
    voltages = table.optics.set_index("rlnOpticsGroup")["rlnVoltage"]
    assert [voltages[group] for group in groups] == [300.0] * 9 + [200.0] * 3 + [300.0]
    assert "7 optics groups by 3 positions of the beam shift" in outcome.notes
    # What a user says of the voltage holds for all.
    session, _ = run_import(tmp_path / "t", [str(folder)], voltage_kV=120.0)
    assert set(session.read("import").optics["rlnVoltage"]) == {120.0}
    assert len(session.read("import").optics) == 4


def test_names_stay_apart_where_two_folders_hold_the_same(tmp_path: Path) -> None:
    for square in ("sq1", "sq2"):
        movies(tmp_path / "data" / square, 2)
    session, _ = run_import(tmp_path / "s", [str(tmp_path / "data")])
    names = session.read("import").rows["sczName"].tolist()
    assert names == [f"{square}_m{n}_Fractions_mrc" for square in ("sq1", "sq2") for n in range(2)]


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
