"""Pick: where the particles are in every accepted micrograph.

Candidates are found once and kept down to a low score; the threshold selects among them without picking again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from scherzer.formats.errors import BadInput
from scherzer.formats.star import StarTable, write_star
from scherzer.particles.picking import AUTOMATIC_THRESHOLD, PickSettings, find_candidates
from scherzer.physics.optics import Optics, optics_of_groups
from scherzer.session.acquisition import stated
from scherzer.session.complete import begin, complete, is_complete
from scherzer.session.folder import Session
from scherzer.session.items import Done, Job, run_items
from scherzer.session.keys import key_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.images import ctf_of, read_micrograph
from scherzer.session.stages.micrograph_stage import absolute_file, jobs_of, lost_in, with_results

STAGE = "pick"
CANDIDATES_FILE = "candidates.star"


@dataclass(frozen=True)
class PickTask:
    """What the picks of one micrograph depend on besides its image and CTF."""

    optics: dict[int, Optics]
    diameter_A: float
    settings: PickSettings


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Pick every accepted micrograph and write the tables of picks and of their counts."""
    table = session.read("contrast")
    jobs = jobs_of(session, table)
    if not jobs:
        raise BadInput(STAGE, "no micrograph was accepted", "their reasons are in contrast/micrographs.star")
    # The threshold selects among candidates that do not depend on it.
    finding = replace(settings.pick, threshold=None)
    optics = optics_of_groups(table.optics)
    task = PickTask(optics, stated(settings.acquisition, "diameter_A"), finding)
    results = run_items(session.stage(STAGE), find, jobs, task, context.workers, context.progress)
    threshold = AUTOMATIC_THRESHOLD if settings.pick.threshold is None else settings.pick.threshold
    candidates = picks_table(table, jobs, results.done)
    picks = above(candidates, threshold)
    counts = picks.rows["rlnMicrographName"].value_counts()
    after = with_results(table, results)
    accepted = after.rows["sczState"] == "accepted"
    after.rows["sczPickCount"] = after.rows["rlnMicrographName"].map(counts).fillna(0).astype(int).where(accepted, 0)
    key = key_of(results.key, threshold)
    path = session.stage(STAGE) / CANDIDATES_FILE
    files = [session.table_path(STAGE, "micrographs"), session.table_path(STAGE, "particles"), path]
    if not is_complete(session, STAGE, key, files):
        begin(session, STAGE)
        session.write(STAGE, after)
        session.write(STAGE, picks)
        write_star(candidates, path)
        complete(session, STAGE, key)
    summary = f"{len(picks)} picks above {threshold:g} of {len(candidates)} candidates in {len(jobs)} micrographs"
    return StageOutcome(results.computed, summary, lost_in(table, after))


def find(job: Job, folder: Path, task: PickTask) -> Done:
    """Find the candidates of one micrograph."""
    image = read_micrograph(absolute_file(folder, job.row["rlnMicrographName"]))
    optics = task.optics[int(job.row["rlnOpticsGroup"])]
    found = find_candidates(image, optics, ctf_of(job.row, optics), task.diameter_A, task.settings)
    return Done(data={"x_px": found.x_px.tolist(), "y_px": found.y_px.tolist(), "score": found.score.tolist()})


def above(candidates: StarTable, threshold: float) -> StarTable:
    """Return the candidates above a score.

    Raises
    ------
    BadInput
        If there are none.
    """
    rows = candidates.rows
    picks = rows[rows["rlnAutopickFigureOfMerit"] > threshold].reset_index(drop=True)
    if not len(picks):
        highest = rows["rlnAutopickFigureOfMerit"].max()
        remedy = f"the highest of {len(rows)} candidates has {highest:.2f}: check the diameter, or set pick.threshold"
        raise BadInput(STAGE, f"no particle has a score above {threshold:g}", remedy)
    return candidates.with_rows(picks)


def picks_table(table: StarTable, jobs: list[Job], done: list[Done]) -> StarTable:
    """Return the table of all candidates, one row each, in the order of the micrographs."""
    frames = [
        pd.DataFrame(
            {
                "rlnMicrographName": job.row["rlnMicrographName"],
                "rlnCoordinateX": result.data["x_px"],
                "rlnCoordinateY": result.data["y_px"],
                "rlnAutopickFigureOfMerit": result.data["score"],
                "rlnOpticsGroup": int(job.row["rlnOpticsGroup"]),
            }
        )
        for job, result in zip(jobs, done, strict=True)
        if result.data.get("x_px")
    ]
    if not frames:
        raise BadInput(STAGE, "no particles were found", "check the diameter and look at the micrographs")
    return StarTable("particles", table.optics, pd.concat(frames, ignore_index=True))
