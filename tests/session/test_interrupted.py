"""The real chain, killed in three stages: the rerun finishes, and its results are those of an unbroken run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from scherzer.session.demo import prepare_simulated
from scherzer.session.settings import SessionSettings, write_settings
from scherzer.simulate.presets import read_preset

SCHERZER = (sys.executable, "-c", "from scherzer.cli.main import main; main()")
LONGEST_S = 1800


def quick(settings: SessionSettings) -> SessionSettings:
    """Shorten every stage that goes over all particles."""
    return replace(
        settings,
        extract=replace(settings.extract, finest_A=7.0),
        class2d=replace(settings.class2d, class_count=4, growing_rounds=3, full_rounds=2),
        abinitio=replace(settings.abinitio, seeds=1, batches=5, batch_particles=60),
        refine=replace(settings.refine, iterations=2),
        study=replace(settings.study, max_refinements=8, draws=2, minimum_particles=30),
    )


def start(root: Path, workers: int) -> subprocess.Popen[str]:
    command = [*SCHERZER, "run", "--out", str(root), "--workers", str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(root: Path, workers: int) -> str:
    process = start(root, workers)
    output, _ = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, output
    return output


def kill_when(root: Path, sign: Path) -> None:
    """Start a run and kill it as soon as a file is there."""
    process = start(root, 2)
    for _ in range(LONGEST_S * 20):
        if sign.exists():
            break
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def times_of(root: Path) -> dict[Path, int]:
    """Return when each file of a session was last written; the lock and the log are written by every run."""
    files = [path for path in root.rglob("*") if path.is_file() and path.name not in (".lock", "scherzer.log")]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
def test_killed_three_times_and_finished_like_an_unbroken_run(tmp_path: Path) -> None:
    simulation = read_preset(
        "small",
        {
            "micrographs": 6,
            "microscope.defocus_um": (1.2, 2.4),
            "exposure.frames": 2,
            "faults.drift": 0.0,
            "faults.empty": 0.0,
        },
    )
    unbroken, broken = tmp_path / "a" / "session", tmp_path / "b" / "session"
    session, settings = prepare_simulated(unbroken, simulation, None)
    write_settings(quick(settings), session.root)
    shutil.copytree(unbroken, broken)

    output = finish(unbroken, workers=1)
    assert "nothing had to be done" not in output
    kill_when(broken, broken / "ctf" / ".items" / "sim_0002.json")
    kill_when(broken, broken / "extract" / ".key")
    kill_when(broken, broken / "refine" / ".key")
    assert not (broken / "results.json").exists()
    finish(broken, workers=2)

    assert (broken / "results.json").read_bytes() == (unbroken / "results.json").read_bytes()
    results = json.loads((broken / "results.json").read_text())
    assert results["verdict"]["sentence"]
    assert len(results["micrographs"]) == 6
    assert (broken / "report.html").stat().st_size > 10_000

    before = times_of(broken)
    assert "This session is finished: nothing had to be done." in finish(broken, workers=2)
    after = times_of(broken)
    assert {path for path in after if after[path] != before.get(path)} == set()
