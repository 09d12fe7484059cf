"""Pick: where the particles are in every accepted micrograph.

A diameter that was not stated is measured first. Candidates are found once and kept down to a low score; the threshold
selects among them without picking again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_mrc
from scherzer.formats.star import StarTable, write_star
from scherzer.particles.diameter import Diameter, joined, measure_diameter
from scherzer.particles.picking import AUTOMATIC_THRESHOLD, PickSettings, find_candidates
from scherzer.physics.optics import Optics, optics_of_groups
from scherzer.session.complete import begin, complete, is_complete
from scherzer.session.folder import Session
from scherzer.session.found_diameter import found_diameter_path, write_found_diameter
from scherzer.session.items import Done, Job, run_items
from scherzer.session.keys import key_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.images import ctf_of, read_micrograph
from scherzer.session.stages.micrograph_stage import LEFT_OUT, absolute_file, jobs_of, lost_in, with_results

STAGE = "pick"
CANDIDATES_FILE = "candidates.star"
# Micrographs from which a diameter is measured: their median hardly moves with more of them.
MEASURED = 5


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
    optics = optics_of_groups(table.optics)
    diameter_A, found, measured = diameter_of(session, settings.acquisition.diameter_A, jobs, optics, context)
    # The threshold selects among candidates that do not depend on it.
    task = PickTask(optics, diameter_A, replace(settings.pick, threshold=None))
    results = run_items(session.stage(STAGE), find, jobs, task, context.workers, context.progress)
    threshold = AUTOMATIC_THRESHOLD if settings.pick.threshold is None else settings.pick.threshold
    candidates = picks_table(table, jobs, results.done)
    picks = above(candidates, threshold)
    counts = picks.rows["rlnMicrographName"].value_counts()
    after = with_results(table, results)
    accepted = after.rows["sczState"] == "accepted"
    after.rows["sczPickCount"] = after.rows["rlnMicrographName"].map(counts).fillna(0).astype(int).where(accepted, 0)
    key = key_of(results.key, threshold, found)
    path = session.stage(STAGE) / CANDIDATES_FILE
    files = [session.table_path(STAGE, "micrographs"), session.table_path(STAGE, "particles"), path]
    if found is not None:
        files.append(found_diameter_path(session))
    if not is_complete(session, STAGE, key, files):
        begin(session, STAGE)
        session.write(STAGE, after)
        session.write(STAGE, picks)
        write_star(candidates, path)
        write_found_diameter(session, found)
        complete(session, STAGE, key)
    summary = f"{len(picks)} picks above {threshold:g} of {len(candidates)} candidates in {len(jobs)} micrographs"
    if found is not None:
        summary += f"; diameter {diameter_A:.0f} +- {found.error_A:.0f} A, measured in {found.micrographs} of them"
    return StageOutcome(measured + results.computed, summary, lost_in(table, after))


def diameter_of(
    session: Session, stated_A: float | None, jobs: list[Job], optics: dict[int, Optics], context: Context
) -> tuple[float, Diameter | None, int]:
    """Return the diameter that was stated or is measured, what was measured, and how many measurements were new.

    Raises
    ------
    BadInput
        If it was not stated and the micrographs do not show it.
    """
    if stated_A is not None:
        return stated_A, None, 0
    named = [Job(f"{job.name}_diameter", job.row, job.files) for job in telling(jobs)]
    results = run_items(session.stage(STAGE), measure, named, optics, context.workers)
    values = [done.data.get("diameter_A") for done in results.done]
    found = joined([math.nan if value is None else float(value) for value in values])
    if found is None:
        remedy = "give --diameter in A (or diameter_A in session.yaml)"
        raise BadInput("particle diameter", "it was not given and the micrographs do not show it", remedy)
    return float(round(found.diameter_A)), found, results.computed


def telling(jobs: list[Job]) -> list[Job]:
    """Choose micrographs to measure a diameter in: nothing beside good ice, over the whole range of defocus."""
    clean = [job for job in jobs if not job.row.get("sczNote")]
    ordered = sorted(clean if len(clean) >= MEASURED else jobs, key=lambda job: float(job.row["rlnDefocusU"]))
    count = min(MEASURED, len(ordered))
    return [ordered[int((index + 0.5) * len(ordered) / count)] for index in range(count)]


def measure(job: Job, folder: Path, optics: dict[int, Optics]) -> Done:
    """Measure the particles' diameter in one micrograph."""
    image = read_micrograph(absolute_file(folder, job.row["rlnMicrographName"]))
    own = optics[int(job.row["rlnOpticsGroup"])]
    diameter_A = measure_diameter(image, own, ctf_of(job.row, own))
    return Done(data={"diameter_A": diameter_A if math.isfinite(diameter_A) else None})


def find(job: Job, folder: Path, task: PickTask) -> Done:
    """Find the candidates of one micrograph."""
    image = read_micrograph(absolute_file(folder, job.row["rlnMicrographName"]))
    optics = task.optics[int(job.row["rlnOpticsGroup"])]
    mask = job.row.get(LEFT_OUT)
    left_out = torch.from_numpy(read_mrc(absolute_file(folder, mask)).data > 0) if mask else None
    found = find_candidates(image, optics, ctf_of(job.row, optics), task.diameter_A, task.settings, left_out)
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
