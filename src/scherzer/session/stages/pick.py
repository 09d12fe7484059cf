"""Pick: where the particles are in every accepted micrograph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from scherzer.formats.errors import BadInput
from scherzer.formats.star import StarTable
from scherzer.particles.picking import PickSettings, pick_blobs
from scherzer.physics.optics import Optics, optics_of_groups
from scherzer.session.acquisition import stated
from scherzer.session.complete import begin, complete, is_complete
from scherzer.session.folder import Session
from scherzer.session.items import Done, Job, run_items
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.images import ctf_of, read_micrograph
from scherzer.session.stages.micrograph_stage import absolute_file, jobs_of, lost_in, with_results

STAGE = "pick"


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
    task = PickTask(optics_of_groups(table.optics), stated(settings.acquisition, "diameter_A"), settings.pick)
    results = run_items(session.stage(STAGE), pick, jobs, task, context.workers, context.progress)
    picks = picks_table(table, jobs, results.done)
    files = [session.table_path(STAGE, "micrographs"), session.table_path(STAGE, "particles")]
    joined = with_results(table, results)
    if not is_complete(session, STAGE, results.key, files):
        begin(session, STAGE)
        session.write(STAGE, joined)
        session.write(STAGE, picks)
        complete(session, STAGE, results.key)
    return StageOutcome(results.computed, f"{len(picks)} picks in {len(jobs)} micrographs", lost_in(table, joined))


def pick(job: Job, folder: Path, task: PickTask) -> Done:
    """Pick one micrograph."""
    image = read_micrograph(absolute_file(folder, job.row["rlnMicrographName"]))
    optics = task.optics[int(job.row["rlnOpticsGroup"])]
    found = pick_blobs(image, optics, ctf_of(job.row, optics), task.diameter_A, task.settings)
    picks = {"x_px": found.x_px.tolist(), "y_px": found.y_px.tolist(), "score": found.score.tolist()}
    return Done(columns={"sczPickCount": len(found)}, data=picks)


def picks_table(table: StarTable, jobs: list[Job], done: list[Done]) -> StarTable:
    """Return the table of all picks, one row a pick, in the order of the micrographs."""
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
