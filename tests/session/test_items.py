"""Items: kept on disk, failing alone, the same for every number of workers."""

from __future__ import annotations

import json
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from scherzer.formats.errors import BadInput
from scherzer.session.exposure_settings import ExposureSettings
from scherzer.session.items import Done, Job, run_items
from scherzer.session.stages.import_ import examine
from scherzer.session.workers import DIED, Workers


@dataclass(frozen=True)
class Factor:
    factor: float = 2.0


calls: list[str] = []


def times(job: Job, folder: Path, settings: Factor) -> Done:
    calls.append(job.name)
    value = job.row["value"]
    if value == 3:
        raise BadInput(job.name, "three is not liked", "give another number")
    if value == 4:
        raise ZeroDivisionError("four")
    target = folder / f"{job.name}.txt"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(str(value * settings.factor))
    return Done({"rlnProduct": value * settings.factor}, (target,))


def make_jobs(tmp_path: Path, count: int = 5) -> list[Job]:
    source = tmp_path / "input.txt"
    if not source.exists():
        source.write_text("content")
    return [Job(f"item{value}", {"value": value}, (source,)) for value in range(count)]


@pytest.fixture(autouse=True)
def _forget_calls() -> None:
    calls.clear()


def test_failures_cost_one_item_and_say_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Workers(1) as workers, caplog.at_level(logging.ERROR, logger="scherzer"):
        done = run_items(tmp_path / "stage", times, make_jobs(tmp_path), Factor(), workers).done
    assert [entry.state for entry in done] == ["accepted", "accepted", "accepted", "failed", "failed"]
    assert done[2].columns == {"rlnProduct": 4.0}
    assert done[3].reason == "three is not liked"
    assert done[4].reason == "unforeseen ZeroDivisionError: four"
    assert "Traceback" in caplog.text
    assert "item4" in caplog.text
    assert "item3" not in caplog.text


def test_nothing_is_repeated_until_something_changes(tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    with Workers(1) as workers:
        first = run_items(stage, times, make_jobs(tmp_path), Factor(), workers)
        calls.clear()
        again = run_items(stage, times, make_jobs(tmp_path), Factor(), workers)
        assert calls == []
        assert again.done == first.done
        assert again.computed == 0
        assert again.key == first.key

        more = run_items(stage, times, make_jobs(tmp_path, 6), Factor(), workers)
        assert calls == ["item5"]
        assert more.key != first.key

        calls.clear()
        assert run_items(stage, times, make_jobs(tmp_path), Factor(3.0), workers).done[2].columns == {"rlnProduct": 6.0}
        assert len(calls) == 5

        calls.clear()
        (tmp_path / "input.txt").write_text("other content")
        assert run_items(stage, times, make_jobs(tmp_path), Factor(3.0), workers).computed == 5

        calls.clear()
        (stage / "item1.txt").unlink()
        run_items(stage, times, make_jobs(tmp_path), Factor(3.0), workers)
        assert calls == ["item1"]


def test_a_half_written_record_is_repeated(tmp_path: Path) -> None:
    with Workers(1) as workers:
        run_items(tmp_path / "stage", times, make_jobs(tmp_path), Factor(), workers)
        record = tmp_path / "stage" / ".items" / "item0.json"
        record.write_text(record.read_text()[:20])
        calls.clear()
        run_items(tmp_path / "stage", times, make_jobs(tmp_path), Factor(), workers)
    assert calls == ["item0"]


def test_results_do_not_depend_on_the_number_of_workers(tmp_path: Path, mixed: Path) -> None:
    paths = sorted(mixed.glob("*.mrc"))
    jobs = [Job(path.stem, {}, (path,)) for path in paths]
    found = []
    for count in (1, 3):
        with Workers(count) as workers:
            results = run_items(tmp_path / f"stage{count}", examine, jobs, ExposureSettings(), workers)
        records = [json.loads((tmp_path / f"stage{count}" / ".items" / f"{job.name}.json").read_text()) for job in jobs]
        found.append((results.done, records))
    assert found[0] == found[1]
    assert [done.state for done in found[0][0]].count("failed") == 3


def test_a_dying_process_takes_nothing_with_it() -> None:
    with Workers(2) as workers:
        outcomes = dict(workers.outcomes(os._exit, [(1,), (1,)]))
        assert [outcomes[index].problem for index in (0, 1)] == [DIED, DIED]
        assert all(outcome.passing for outcome in outcomes.values())
        roots = dict(workers.outcomes(math.sqrt, [(4.0,), (-1.0,), (9.0,)]))
    assert roots[0].value == 2.0
    assert roots[2].value == 3.0
    assert "unforeseen" not in roots[1].problem
    assert roots[1].problem


def test_fewer_workers_where_memory_asks_for_it() -> None:
    with Workers(3) as workers:
        with workers.at_most(5) as same:
            assert same is workers
        with workers.at_most(1) as fewer:
            assert fewer.count == 1
            assert dict(fewer.outcomes(math.sqrt, [(4.0,), (9.0,)]))[1].value == 3.0
