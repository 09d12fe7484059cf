"""Commands: one clear line and exit code 2 for what a user can mend; help that fits a screen."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scherzer.cli.main import app
from scherzer.formats.mrc import write_mrc

COMMANDS = (
    "run",
    "demo",
    "simulate",
    "import",
    "motion",
    "ctf",
    "contrast",
    "pick",
    "extract",
    "class2d",
    "abinitio",
    "refine",
    "study",
    "report",
)
KNOWN = ("--voltage", "300", "--cs", "2.7", "--diameter", "130")


@pytest.fixture
def micrograph(tmp_path: Path) -> Path:
    """Return a micrograph whose header has no pixel size."""
    path = tmp_path / "mic.mrc"
    write_mrc(path, np.random.default_rng(0).normal(size=(96, 128)).astype(np.float32), 1.0, "image")
    return path


def refused(*arguments: str) -> str:
    """Run scherzer, and return the one line with which it refuses."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_a_missing_pixel_size_is_asked_for(micrograph: Path, tmp_path: Path) -> None:
    line = refused("run", str(micrograph), *KNOWN, "--out", str(tmp_path / "out"))
    assert line == (
        "scherzer: pixel size: not given and is not in the image headers; "
        "give --pixel-size in A (or pixel_size_A in session.yaml)"
    )
    assert not (tmp_path / "out").exists()


def test_an_unknown_symmetry_is_refused(micrograph: Path, tmp_path: Path) -> None:
    line = refused("run", str(micrograph), *KNOWN, "--pixel-size", "1.5", "--symmetry", "D1", "--out", str(tmp_path))
    assert "--symmetry: unknown point group 'D1'" in line


def test_an_output_folder_that_cannot_be_written_is_refused(micrograph: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "session"
    line = refused("run", str(micrograph), *KNOWN, "--pixel-size", "1.5", "--out", str(out))
    assert "output folder" in line
    assert "--out" in line


def test_an_input_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "nowhere.mrc: no such file" in refused("run", "nowhere.mrc", *KNOWN, "--out", str(tmp_path / "out"))


def test_a_slip_in_a_unit_is_named(micrograph: Path, tmp_path: Path) -> None:
    line = refused("run", str(micrograph), "--voltage", "300000", "--out", str(tmp_path / "out"))
    assert "--voltage: 300000 kV is not a likely acceleration voltage" in line


@pytest.mark.parametrize("stage", ["motion", "pick", "study", "report"])
def test_a_folder_that_is_no_session_is_refused(stage: str, tmp_path: Path) -> None:
    assert "is not a session" in refused(stage, str(tmp_path))


def test_a_stage_before_its_time_says_which_one_is_missing(micrograph: Path, tmp_path: Path) -> None:
    session = str(tmp_path / "out")
    arguments = ["import", session, str(micrograph), "--pixel-size", "1.5", "--voltage", "300", "--cs", "2.7"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "1 micrographs: 1 accepted" in result.output
    assert f"run 'scherzer motion {session}' first" in refused("ctf", session)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_screen_and_gives_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
    assert result.exit_code == 0
    lines = result.output.rstrip().splitlines()
    assert len(lines) <= 25, result.output
    assert f"Example: scherzer {command}" in result.output


def test_all_commands_are_listed_on_one_screen() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
    assert len(result.output.rstrip().splitlines()) <= 25
    assert all(f" {command} " in result.output for command in COMMANDS)


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = "import sys, scherzer.cli.main; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def spectrum_file(path: Path, defocus_A: float) -> None:
    """Write an amplitude spectrum whose rings are known, at 1.4 A, 300 kV, 2.7 mm, amplitude contrast 0.1."""
    axis = (np.arange(256) - 128) / (256 * 1.4)
    k2 = axis**2 + axis[:, None] ** 2
    phase = np.pi * 0.0196875 * k2 * (defocus_A - 2.7e7 * 0.0196875**2 * k2 / 2) + np.arcsin(0.1)
    power = 1 / (1 + 200 * k2) + 0.3 * np.exp(-20 * k2) * np.sin(phase) ** 2
    scatter = np.random.default_rng(0).gamma(50, 0.02, power.shape)
    write_mrc(path, np.sqrt(power * scatter).astype(np.float32), 1.4, "image")


SPECTRA_KNOWN = ("--voltage", "300", "--cs", "2.7", "--amplitude-contrast", "0.1")


def test_given_spectra_are_fitted_one_line_each_and_a_bad_one_costs_itself(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("a.mrc", "not there.mrc", "b.mrc", "noise.mrc")]
    spectrum_file(Path(names[0]), 12000)
    spectrum_file(Path(names[2]), 16000)
    noise = np.random.default_rng(1).gamma(5, 0.2, (256, 256)).astype(np.float32)
    write_mrc(Path(names[3]), noise, 1.4, "image")
    result = CliRunner().invoke(app, ["ctf", "--power-spectrum", *names, *SPECTRA_KNOWN, "--csv", "-"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "file,defocus_u_A,defocus_v_A,defocus_angle_deg,phase_shift_deg,fit_resolution_A,confidence"
    found = {Path(row["file"]).stem: row for row in csv.DictReader(lines)}
    assert list(found) == ["a", "b", "noise"]
    for name, expected_A in (("a", 12000), ("b", 16000)):
        mean_A = (float(found[name]["defocus_u_A"]) + float(found[name]["defocus_v_A"])) / 2
        assert mean_A == pytest.approx(expected_A, abs=40)
        assert float(found[name]["confidence"]) > 0.95
    # No number where there is no reliable fit.
    assert found["noise"]["defocus_u_A"] == ""
    assert float(found["noise"]["confidence"]) < 0.95
    errors = result.stderr.strip().splitlines()
    assert len(errors) == 2
    assert "not there.mrc: no such file" in errors[0]
    assert "noise.mrc: no reliable fit" in errors[1]


def test_the_table_of_given_spectra_is_written(tmp_path: Path) -> None:
    spectrum_file(tmp_path / "a.mrc", 12000)
    table = tmp_path / "fits.csv"
    pattern = str(tmp_path / "*.mrc")
    result = CliRunner().invoke(
        app, ["ctf", "--power-spectrum", pattern, *SPECTRA_KNOWN, "--pixel-size", "1.4", "--csv", str(table)]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert row["file"].endswith("a.mrc")
    assert float(row["phase_shift_deg"]) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--power-spectrum", "x.mrc", "--cs", "2.7"), "acceleration voltage: not given; give --voltage in kV"),
        (("--power-spectrum", "x.mrc", "--voltage", "300", "--cs", "2700000"), "--cs: 2.7e+06 mm is not a likely"),
        (("--power-spectrum", "x.mrc", *SPECTRA_KNOWN), "x.mrc: no such file"),
        (("--voltage", "300"), "these options are for spectra"),
        ((), "0 sessions given"),
        (("a", "b"), "2 sessions given"),
    ],
)
def test_ctf_says_what_it_lacks(arguments: tuple[str, ...], text: str) -> None:
    result = CliRunner().invoke(app, ["ctf", *arguments])
    assert result.exit_code == 2, result.output
    assert text in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_image_is_not_a_spectrum(micrograph: Path) -> None:
    result = CliRunner().invoke(app, ["ctf", "--power-spectrum", str(micrograph), *SPECTRA_KNOWN])
    assert result.exit_code == 2
    assert "mic.mrc: a spectrum is square" in result.stderr
