"""Extract: particles cut out, normalised and dealt into two half-sets, once for the whole session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable
from scherzer.particles.extraction import ExtractSettings, assign_half_sets, box_size_px, extract_particles
from scherzer.physics.ctf import electron_wavelength_A
from scherzer.session.acquisition import optics_of, stated
from scherzer.session.complete import begin, complete, is_complete
from scherzer.session.folder import Session
from scherzer.session.items import Done, Job, run_items
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.images import read_micrograph
from scherzer.session.stages.micrograph_stage import absolute_file, jobs_of, relative_file

STAGE = "extract"
# Columns of a micrograph that each of its particles carries, as RELION's particle tables do.
CARRIED = (
    "rlnMicrographName",
    "rlnOpticsGroup",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnPhaseShift",
    "rlnCtfMaxResolution",
    "rlnCtfFigureOfMerit",
)


@dataclass(frozen=True)
class ExtractTask:
    """What the particles of one micrograph depend on besides its image and picks; one box serves the whole session."""

    pixel_size_A: float
    diameter_A: float
    raw_box_px: int
    working_box_px: int
    working_pixel_A: float
    settings: ExtractSettings


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Cut the particles out of every micrograph and write one stack a micrograph and the table of them all."""
    micrographs, picks = session.read("pick"), session.read("pick", "particles")
    task = task_of(settings, micrographs)
    jobs = with_picks(jobs_of(session, micrographs), picks)
    results = run_items(session.stage(STAGE), extract, jobs, task, context.workers, context.progress)
    table = particles_table(micrographs, jobs, results.done, task)
    if not is_complete(session, STAGE, results.key, [session.table_path(STAGE, "particles")]):
        begin(session, STAGE)
        session.write(STAGE, table)
        complete(session, STAGE, results.key)
    box = f"box {task.working_box_px} px of {task.working_pixel_A:.3g} A"
    return StageOutcome(results.computed, f"{len(table)} particles, {box}")


def task_of(settings: SessionSettings, micrographs: StarTable) -> ExtractTask:
    """Choose the box of the session by the largest underfocus among its accepted micrographs."""
    optics = optics_of(settings.acquisition)
    diameter_A = stated(settings.acquisition, "diameter_A")
    wavelength_A = float(electron_wavelength_A(optics.voltage_kV))
    max_defocus_A = float(micrographs.accepted().rows["rlnDefocusU"].max())
    raw, working, pixel_A = box_size_px(diameter_A, optics.pixel_size_A, max_defocus_A, wavelength_A, settings.extract)
    return ExtractTask(optics.pixel_size_A, diameter_A, raw, working, pixel_A, settings.extract)


def with_picks(jobs: list[Job], picks: StarTable) -> list[Job]:
    """Return the jobs that have picks, with the picks in their rows."""
    by_micrograph = dict(tuple(picks.rows.groupby("rlnMicrographName", sort=False)))
    columns = ("rlnCoordinateX", "rlnCoordinateY", "rlnAutopickFigureOfMerit")
    return [
        Job(job.name, {**job.row, "picks": {column: own[column].tolist() for column in columns}}, job.files)
        for job in jobs
        if (own := by_micrograph.get(job.row["rlnMicrographName"])) is not None
    ]


def extract(job: Job, folder: Path, task: ExtractTask) -> Done:
    """Cut out the particles of one micrograph."""
    image = read_micrograph(absolute_file(folder, job.row["rlnMicrographName"]))
    x_px, y_px = (torch.tensor(job.row["picks"][f"rlnCoordinate{axis}"], dtype=torch.float64) for axis in "XY")
    cut = extract_particles(
        image,
        x_px,
        y_px,
        task.pixel_size_A,
        task.diameter_A,
        task.raw_box_px,
        task.working_box_px,
        task.settings,
    )
    kept = torch.nonzero(cut.kept).flatten().tolist()
    if not kept:
        return Done(data={"kept": kept})
    stack = folder / f"{job.name}.mrcs"
    write_mrc(stack, cut.images.numpy(), task.working_pixel_A, "stack")
    return Done(files=(stack,), data={"kept": kept, "stack": relative_file(folder, stack)})


def particles_table(micrographs: StarTable, jobs: list[Job], done: list[Done], task: ExtractTask) -> StarTable:
    """Return the table of all extracted particles.

    Raises
    ------
    BadInput
        If fewer than two micrographs have particles, for the two half-sets are split by micrograph.
    """
    frames: list[pd.DataFrame] = []
    for job, result in zip(jobs, done, strict=True):
        kept = result.data.get("kept", [])
        if not kept:
            continue
        picks: dict[str, list[float]] = job.row["picks"]
        frame = pd.DataFrame({name: [values[index] for index in kept] for name, values in picks.items()})
        frame.insert(0, "rlnImageName", [f"{index:06d}@{result.data['stack']}" for index in range(1, len(kept) + 1)])
        for name in CARRIED:
            if name in job.row:
                frame[name] = job.row[name]
        frame["sczMicrographNumber"] = len(frames) + 1
        frames.append(frame)
    if len(frames) < 2:
        raise BadInput(
            STAGE, "fewer than two micrographs have particles", "half-sets are split by micrograph: add more"
        )
    rows = pd.concat(frames, ignore_index=True)
    rows["rlnOriginXAngst"] = 0.0
    rows["rlnOriginYAngst"] = 0.0
    rows["rlnRandomSubset"] = assign_half_sets(
        torch.tensor(rows.pop("sczMicrographNumber").to_numpy(copy=True))
    ).numpy()
    optics = micrographs.optics.assign(
        rlnImagePixelSize=task.working_pixel_A, rlnImageSize=task.working_box_px, rlnImageDimensionality=2
    )
    return StarTable("particles", optics, rows)
