"""What the stages that go micrograph by micrograph have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from scherzer.formats.star import StarTable
from scherzer.session.complete import begin, complete, is_complete
from scherzer.session.folder import Session
from scherzer.session.items import Done, Job, Results, Row, run_items
from scherzer.session.stages.context import Context, StageOutcome

# Mask of what is left out of a micrograph, over its whole field in coarse pixels; where there is nothing, no file.
LEFT_OUT = "sczLeftOutMask"
# Files of one micrograph that later stages read.
FILE_COLUMNS = ("rlnMicrographName", "rlnMicrographNameNoDW", LEFT_OUT)
# Comparisons with the session's other micrographs; nothing that is made of one micrograph depends on them.
COMPARISON_COLUMNS = (
    "rlnMicrographIceThickness",
    "sczIceThicknessError",
    "sczIceThicknessRelative",
    "sczIceThicknessMethod",
)


def jobs_of(session: Session, table: StarTable) -> list[Job]:
    """Return one job for each accepted row of a micrograph table."""
    own = table.accepted()
    own = own.with_rows(own.rows.drop(columns=[name for name in COMPARISON_COLUMNS if name in own.rows]))
    return [
        Job(str(row["sczName"]), row, tuple(session.absolute(row[name]) for name in FILE_COLUMNS if row.get(name)))
        for row in rows_of(own)
    ]


def rows_of(table: StarTable) -> list[Row]:
    """Return the rows as dictionaries without their empty cells."""
    records = table.rows.to_dict("records")
    return [{str(name): value for name, value in row.items() if not pd.isna(value)} for row in records]


def with_results(table: StarTable, results: Results) -> StarTable:
    """Return a micrograph table with what came of its accepted rows; the other rows pass through untouched."""
    done = iter(results.done)
    rows: list[dict[str, Any]] = []
    for record in table.rows.to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        if row["sczState"] == "accepted":
            result = next(done)
            row = {**row, **result.columns, "sczState": result.state, "sczReason": result.reason}
        rows.append(row)
    frame = pd.DataFrame(rows)
    for name in frame:
        if any(isinstance(value, str) for value in frame[name]):
            frame[name] = frame[name].fillna("")
    last = [name for name in ("sczState", "sczReason") if name in frame]
    return table.with_rows(frame[[*(name for name in frame if name not in last), *last]])


def run_micrograph_stage(
    session: Session,
    stage: str,
    table: StarTable,
    function: Callable[..., Done],
    settings: object,
    context: Context,
) -> tuple[StageOutcome, Results]:
    """Work on every accepted micrograph of a table and write the table of this stage.

    Parameters
    ----------
    session, stage
        Where to write.
    table : StarTable
        Of the stage upstream.
    function : callable
        ``(Job, Path, settings) -> Done``.
    settings : dataclass
        Everything that the results depend on besides the row and its files.
    context : Context
        Workers and progress.
    """
    folder = session.stage(stage)
    results = run_items(folder, function, jobs_of(session, table), settings, context.workers, context.progress)
    joined = with_results(table, results)
    if not is_complete(session, stage, results.key, [session.table_path(stage, "micrographs")]):
        begin(session, stage)
        session.write(stage, joined)
        complete(session, stage, results.key)
    return StageOutcome(results.computed, counted(joined), lost_in(table, joined)), results


def counted(table: StarTable) -> str:
    """Say how many micrographs a table holds in each state."""
    counts = table.rows["sczState"].value_counts()
    parts = [f"{counts[state]} {state}" for state in ("accepted", "rejected", "failed") if state in counts]
    return f"{len(table)} micrographs: {', '.join(parts)}"


def lost_in(before: StarTable | None, after: StarTable) -> tuple[str, ...]:
    """Name the micrographs that were accepted before a stage and are not after it."""
    was = set(after.rows["sczName"] if before is None else before.accepted().rows["sczName"])
    return tuple(
        f"{row['sczName']}: {row['sczState']}, {row['sczReason']}"
        for row in rows_of(after)
        if row["sczState"] != "accepted" and row["sczName"] in was
    )


def absolute_file(folder: Path, name: str) -> Path:
    """Return a file that a row names, from within a stage's function."""
    return folder.parent / name


def relative_file(folder: Path, path: Path) -> str:
    """Return a file of the session as the tables name it."""
    return str(path.relative_to(folder.parent))
