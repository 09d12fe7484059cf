"""Commands: one clear line and exit code 2 for what a user can mend; help that fits a screen."""

from __future__ import annotations

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
