"""The chain: goes on where it can, repeats nothing, and survives being killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# A chain of three stages that sleep, over the real machinery; run by its own interpreter, so that it can be killed.
SCRIPT = """
import json, sys, time
from pathlib import Path
from scherzer.formats.atomic import write_text
from scherzer.session import chain
from scherzer.session.complete import begin, complete, is_complete, key_of_stage
from scherzer.session.folder import create_session
from scherzer.session.items import Done, Job, run_items
from scherzer.session.keys import key_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.context import StageOutcome
from scherzer.session.workers import Workers

pause = float(sys.argv[2])

def square(job, folder, settings):
    time.sleep(pause)
    target = folder / f"{job.name}.txt"
    write_text(target, str(job.row["value"] ** 2))
    return Done({"square": job.row["value"] ** 2}, (target,))

def items(name, upstream):
    def run(session, settings, context):
        if upstream:
            values = json.loads((session.stage(upstream) / "table.json").read_text())
        else:
            values = list(range(8))
        jobs = [Job(f"i{n}", {"value": value}, ()) for n, value in enumerate(values)]
        with Workers(1) as workers:
            results = run_items(session.stage(name), square, jobs, {}, workers, context.progress)
        table = session.stage(name) / "table.json"
        if not is_complete(session, name, results.key, [table]):
            begin(session, name)
            write_text(table, json.dumps([done.columns["square"] for done in results.done]))
            complete(session, name, results.key)
        return StageOutcome(results.computed, name)
    return run

def whole(session, settings, context):
    key = key_of(key_of_stage(session, "second"))
    target = session.root / "results.json"
    if is_complete(session, "study", key, [target]):
        return StageOutcome(0, "study")
    begin(session, "study")
    time.sleep(8 * pause)
    values = json.loads((session.stage("second") / "table.json").read_text())
    write_text(target, json.dumps({"sum": sum(values)}))
    complete(session, "study", key)
    return StageOutcome(1, "study")

class Silent:
    def begin(self, stage):
        return lambda fraction, message: None
    def end(self, stage, outcome):
        print(stage, outcome.computed, flush=True)

def report(root):
    write_text(root / "report.html", "done")
    return root / "report.html"

stages = (
    chain.Stage("first", items("first", None)),
    chain.Stage("second", items("second", "first")),
    chain.Stage("study", whole),
)
print("computed", chain.run_all(create_session(Path(sys.argv[1])), SessionSettings(), 1, Silent(), report, stages))
"""


def start(script: Path, root: Path, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, str(script), str(root), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(script: Path, root: Path) -> str:
    process = start(script, root, 0.0)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(2400):
        if path.exists():
            return
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def test_killed_in_three_stages_and_finished_like_an_unbroken_run(tmp_path: Path) -> None:
    script = tmp_path / "chain.py"
    script.write_text(SCRIPT)
    unbroken, broken = tmp_path / "a" / "session", tmp_path / "b" / "session"
    finish(script, unbroken)
    for sign in (
        broken / "first" / ".items" / "i3.json",
        broken / "second" / ".items" / "i3.json",
        broken / "second" / ".key",
    ):
        process = start(script, broken, 0.2)
        wait_for(sign, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (broken / "results.json").exists()
    output = finish(script, broken)
    assert "first 0\nsecond 0\nstudy 1" in output
    assert (broken / "results.json").read_bytes() == (unbroken / "results.json").read_bytes()
    assert json.loads((broken / "results.json").read_text()) == {"sum": sum(n**4 for n in range(8))}
    assert "computed 0" in finish(script, broken)


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    from scherzer.formats.errors import BadInput
    from scherzer.session.folder import create_session, locked

    session = create_session(tmp_path)
    with locked(session), pytest.raises(BadInput, match="another scherzer"), locked(session):
        pass
    with locked(session):
        pass
