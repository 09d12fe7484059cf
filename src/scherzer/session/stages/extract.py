"""Extract: particles cut out, normalised and dealt into two half-sets, once for the whole session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable
from scherzer.particles.ctf_multiplication import field_size_px
from scherzer.particles.extraction import (
    ExtractSettings,
    Multiply,
    assign_half_sets,
    box_size_px,
    extract_particles,
    resolution_held_A,
)
from scherzer.physics.ctf import electron_wavelength_A
from scherzer.physics.optics import Optics, optics_of_groups
from scherzer.session.acquisition import optics_of, stated
from scherzer.session.complete import begin, complete, is_complete
from scherzer.session.folder import Session
from scherzer.session.items import Done, Job, run_items
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.images import ctf_of, read_micrograph
from scherzer.session.stages.micrograph_stage import absolute_file, jobs_of, relative_file
from scherzer.session.stages.particle_sets import PREMULTIPLIED

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
    field_px: int
    optics: dict[int, Optics]
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
    lost = len(picks) - len(table)
    edge = f" ({lost} picks are cut by an edge)" if lost else ""
    return StageOutcome(results.computed, f"{len(table)} particles{edge}, {words(task, _max_defocus_A(micrographs))}")


def task_of(settings: SessionSettings, micrographs: StarTable) -> ExtractTask:
    """Choose the box of the session by the largest underfocus among its accepted micrographs."""
    optics = optics_of(settings.acquisition)
    diameter_A, max_defocus_A = stated(settings.acquisition, "diameter_A"), _max_defocus_A(micrographs)
    wavelength_A = float(electron_wavelength_A(optics.voltage_kV))
    raw, working, pixel_A = box_size_px(diameter_A, optics.pixel_size_A, max_defocus_A, wavelength_A, settings.extract)
    field = raw
    if settings.extract.premultiply_ctf:
        # It holds all detail up to the Nyquist frequency of the stacks.
        field = field_size_px(raw, optics.pixel_size_A, diameter_A, max_defocus_A, wavelength_A, 2 * pixel_A)
    groups = optics_of_groups(micrographs.optics)
    return ExtractTask(optics.pixel_size_A, diameter_A, raw, working, pixel_A, field, groups, settings.extract)


def _max_defocus_A(micrographs: StarTable) -> float:
    return float(micrographs.accepted().rows["rlnDefocusU"].max())


def words(task: ExtractTask, max_defocus_A: float) -> str:
    """Say which box was chosen and what it holds of the most defocused images."""
    diameters = task.raw_box_px * task.pixel_size_A / task.diameter_A
    box = f"box {task.working_box_px} px of {task.working_pixel_A:.3g} A, {diameters:.2f} diameters"
    if task.settings.premultiply_ctf:
        return f"{box}, multiplied by the CTF in {task.field_px} px of {task.pixel_size_A:.3g} A"
    wavelength_A = float(electron_wavelength_A(next(iter(task.optics.values())).voltage_kV))
    held_A = resolution_held_A(task.raw_box_px, task.pixel_size_A, task.diameter_A, max_defocus_A, wavelength_A)
    return f"{box}: at {max_defocus_A / 1e4:.1f} um it holds all detail up to {held_A:.1f} A"


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
    multiply = None
    if task.settings.premultiply_ctf:
        multiply = Multiply(ctf_of(job.row, task.optics[int(job.row["rlnOpticsGroup"])]), task.field_px)
    cut = extract_particles(
        image,
        x_px,
        y_px,
        task.pixel_size_A,
        task.diameter_A,
        task.raw_box_px,
        task.working_box_px,
        task.settings,
        multiply,
    )
    kept = torch.nonzero(cut.kept).flatten().tolist()
    if not kept:
        return Done(data={"kept": kept})
    stack = folder / f"{job.name}.mrcs"
    write_mrc(stack, cut.images.numpy().astype(task.settings.stack_type), task.working_pixel_A, "stack")
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
    if task.settings.premultiply_ctf:
        optics = optics.assign(**{PREMULTIPLIED: 1})
    return StarTable("particles", optics, rows)
