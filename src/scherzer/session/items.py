"""One function over the rows of a table: each result is kept on disk, each failure costs one row."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scherzer.formats.atomic import write_text
from scherzer.session.keys import fingerprint, key_of, plain
from scherzer.session.workers import Outcome, Workers

Row = dict[str, Any]
Progress = Callable[[float, str], None]
CACHE_FOLDER = ".items"


@dataclass(frozen=True)
class Job:
    """One item to work on.

    Attributes
    ----------
    name : str
        Unique within the session; names the item's files.
    row : dict
        The item's row in the table upstream.
    files : tuple of Path
        Files that the result depends on.
    """

    name: str
    row: Row
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Done:
    """What a stage's function returns for one item.

    Attributes
    ----------
    columns : dict
        STAR columns to add to the item's row.
    files : tuple of Path
        Files written, which must be there for the result to count.
    data : dict
        Further numbers and lists, kept in the item's cache but not in its row.
    state, reason : str
        "accepted", or "rejected" with the reason.
    """

    columns: Row = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    data: Row = field(default_factory=dict)
    state: str = "accepted"
    reason: str = ""


@dataclass(frozen=True)
class Results:
    """What came of a stage's items.

    Attributes
    ----------
    done : list of Done
        In the order of the jobs.
    computed : int
        How many of them had to be computed now.
    key : str
        Key of all of them together.
    """

    done: list[Done]
    computed: int
    key: str


def run_items(
    folder: Path,
    function: Callable[..., Done],
    jobs: Sequence[Job],
    settings: object,
    workers: Workers,
    progress: Progress | None = None,
) -> Results:
    """Call ``function(job, folder, settings)`` for every job whose result is not on disk yet.

    Parameters
    ----------
    folder : Path
        The stage's folder, where the function writes its files.
    function : callable
        ``(Job, Path, settings) -> Done``; importable by name.
    jobs : sequence of Job
        The items.
    settings : dataclass
        All that the results depend on besides the items; part of their keys.
    workers : Workers
        Processes to work in.
    progress : callable, optional
        Called with the fraction done and the item's name.

    Notes
    -----
    An exception from one item makes it ``failed`` with the reason. It is tried again when its inputs or the settings
    have changed, or when the cause may have passed (memory, disk). Tracebacks of unforeseen ones go to the log.
    """
    keys = [key_of(function.__qualname__, function.__module__, job.row, _seen(job, folder), settings) for job in jobs]
    results = [_cached(folder, job.name, key) for job, key in zip(jobs, keys, strict=True)]
    missing = [index for index, result in enumerate(results) if result is None]
    calls = [(jobs[index], folder, settings) for index in missing]
    for count, (position, outcome) in enumerate(workers.outcomes(function, calls), start=1):
        index = missing[position]
        results[index] = done = _judged(jobs[index].name, folder.name, outcome)
        if not outcome.passing:
            _keep(folder, jobs[index].name, keys[index], done)
        if progress is not None:
            progress((len(jobs) - len(missing) + count) / len(jobs), jobs[index].name)
    done_in_order = [result for result in results if result is not None]
    return Results(done_in_order, len(missing), key_of(keys, [done.state for done in done_in_order]))


def _seen(job: Job, folder: Path) -> list[object]:
    """Fingerprint the files of a job; those inside the session by their place in it, so that it can be moved."""
    root = folder.parent
    prints = [fingerprint(path) for path in job.files]
    for path, entry in zip(job.files, prints, strict=True):
        if path.is_relative_to(root):
            entry[0] = str(path.relative_to(root))
    return list(prints)


def _judged(name: str, stage: str, outcome: Outcome) -> Done:
    if outcome.trace:
        logging.getLogger("scherzer").error("%s of %s:\n%s", stage, name, outcome.trace)
    return outcome.value if not outcome.problem else Done(state="failed", reason=outcome.problem)


def _cache_path(folder: Path, name: str) -> Path:
    return folder / CACHE_FOLDER / f"{name}.json"


def _cached(folder: Path, name: str, key: str) -> Done | None:
    """Return the result on disk if it has this key and its files are there."""
    try:
        record: Mapping[str, Any] = json.loads(_cache_path(folder, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if record.get("key") != key:
        return None
    files = tuple(folder / file for file in record["files"])
    if not all(file.is_file() for file in files):
        return None
    return Done(record["columns"], files, record["data"], record["state"], record["reason"])


def _keep(folder: Path, name: str, key: str, done: Done) -> None:
    record = {
        "key": key,
        "state": done.state,
        "reason": done.reason,
        "files": [str(file.relative_to(folder)) for file in done.files],
        "columns": plain(done.columns),
        "data": plain(done.data),
    }
    write_text(_cache_path(folder, name), json.dumps(record, indent=1))
