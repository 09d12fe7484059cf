"""Settings: from the command line over session.yaml to the headers, each slip named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scherzer.formats.errors import BadInput
from scherzer.session.acquisition import Acquisition
from scherzer.session.checks import completed
from scherzer.session.prepare import prepare
from scherzer.session.settings import SessionSettings, read_settings, with_stated, write_settings

KNOWN = {"voltage_kV": 300.0, "cs_mm": 2.7, "diameter_A": 130.0}


def test_settings_survive_the_disk(tmp_path: Path) -> None:
    settings = SessionSettings(inputs=("/data/a.mrc",), acquisition=Acquisition(pixel_size_A=0.83, symmetry="D2"))
    settings = replace(settings, ctf=replace(settings.ctf, max_resolution_A=3.5))
    write_settings(settings, tmp_path)
    assert read_settings(tmp_path) == settings


def test_command_line_goes_before_the_file_and_the_file_before_the_headers(exposures: Path, tmp_path: Path) -> None:
    root = tmp_path / "session"
    _, from_headers = prepare(root, [str(exposures)], KNOWN)
    assert from_headers.acquisition.pixel_size_A == 1.5
    _, again = prepare(root, [], {"voltage_kV": 200.0, "symmetry": "d2"})
    assert again.inputs == from_headers.inputs
    assert (again.acquisition.voltage_kV, again.acquisition.cs_mm, again.acquisition.symmetry) == (200.0, 2.7, "D2")
    text = (root / "session.yaml").read_text().replace("pixel_size_A: 1.5", "pixel_size_A: 0.75")
    (root / "session.yaml").write_text(text)
    assert prepare(root, [], {})[1].acquisition.pixel_size_A == 0.75


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("pixel_size_A", 150.0, "--pixel-size.*150 A.*between 0.1 and 20"),
        ("voltage_kV", 3.0, "--voltage.*3 kV"),
        ("voltage_kV", 300000.0, "--voltage.*kV"),
        ("cs_mm", 27.0, "--cs"),
        ("amplitude_contrast", 7.0, "--amplitude-contrast"),
        ("dose_per_frame_e_per_A2", 0.0, "--dose-per-frame"),
        ("diameter_A", 12.0, "--diameter"),
    ],
)
def test_a_value_in_another_unit_is_refused_by_name(name: str, value: float, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        with_stated(SessionSettings(), {name: value})


@pytest.mark.parametrize("name", ["voltage_kV", "cs_mm"])
def test_a_missing_value_is_asked_for_by_name(name: str, exposures: Path) -> None:
    known = {**KNOWN, name: None}
    settings = replace(with_stated(SessionSettings(), known), inputs=(str(exposures),))
    option = {"voltage_kV": "--voltage in kV", "cs_mm": "--cs in mm"}[name]
    with pytest.raises(BadInput, match=option):
        completed(settings, Path())


def test_a_pixel_size_that_no_header_holds_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "text.mrc").write_text("no header")
    settings = replace(with_stated(SessionSettings(), KNOWN), inputs=(str(tmp_path),))
    with pytest.raises(BadInput, match="pixel size: not given and is not in the image headers; give --pixel-size in A"):
        completed(settings, Path())


@pytest.mark.parametrize("symmetry", ["D1", "C0", "Q", "I9", "", "D2; rm"])
def test_an_unknown_symmetry_is_refused(symmetry: str, exposures: Path) -> None:
    settings = replace(with_stated(SessionSettings(), {**KNOWN, "symmetry": symmetry}), inputs=(str(exposures),))
    with pytest.raises(BadInput, match="--symmetry: unknown point group"):
        completed(settings, Path())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("pick:\n  treshold: 3\n", "unknown setting pick.treshold"),
        ("acquisition:\n  voltage_kV: three hundred\n", "acquisition.voltage_kV is 'three hundred'.*in kV"),
        ("acquisition: 3\n", "acquisition is not a section"),
        ("- 1\n- 2\n", "holds no settings"),
        ("a: [1\n", "cannot be read"),
        ("study:\n  draws: 1\n", "draws must be at least 2"),
    ],
)
def test_a_slip_in_the_file_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "session.yaml").write_text(content)
    with pytest.raises(BadInput, match=words) as caught:
        read_settings(tmp_path)
    assert "\n" not in str(caught.value)


def test_nothing_is_written_when_something_is_wrong(exposures: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        prepare(tmp_path / "session", [str(exposures)], {**KNOWN, "symmetry": "X"})
    assert not (tmp_path / "session").exists()


def test_a_folder_that_cannot_be_made_is_refused(exposures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "session"):
        with pytest.raises(BadInput, match="file"):
            prepare(root, [str(exposures)], KNOWN)


def test_missing_gain_and_map_are_named(exposures: Path) -> None:
    for stated, option in (({"gain": "none.mrc"}, "--gain"), ({"initial_map": "none.mrc"}, "none.mrc")):
        settings = replace(with_stated(SessionSettings(), {**KNOWN, **stated}), inputs=(str(exposures),))
        with pytest.raises(BadInput, match=option):
            completed(settings, Path())


def test_weights_are_kept_until_others_are_stated(tmp_path: Path) -> None:
    chosen = with_stated(SessionSettings(), {"contrast_weights": tmp_path / "w.safetensors"})
    assert chosen.contrast.weights == str(tmp_path / "w.safetensors")
    write_settings(chosen, tmp_path)
    again = with_stated(read_settings(tmp_path), {"contrast_weights": None, "cs_mm": 2.7})
    assert again.contrast == chosen.contrast
