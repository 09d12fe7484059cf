"""Motion: movies to aligned sums, weighted by exposure and not; single micrographs pass through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from scherzer.formats.eer import EerSettings
from scherzer.formats.movies import open_exposure
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable
from scherzer.micrographs.motion import MotionResult, MotionSettings, correct_motion
from scherzer.physics.optics import Optics, optics_of_groups
from scherzer.session.folder import Session
from scherzer.session.items import Done, Job, Row
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.camera import Camera, find_camera
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.micrograph_stage import absolute_file, relative_file, run_micrograph_stage
from scherzer.session.star_blocks import write_blocks
from scherzer.session.workers import memory_bytes

BYTES_PER_PIXEL = 4
# Sums, transforms and the copy that decoding makes, in frames.
FRAMES_BESIDES = 20


@dataclass(frozen=True)
class MotionTask:
    """What the sums of one movie depend on besides its frames."""

    optics: dict[int, Optics]
    dose_per_frame_e_per_A2: float | None
    camera: Camera
    eer: EerSettings
    settings: MotionSettings


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Align and sum every accepted movie."""
    table = session.read("import")
    table = StarTable("micrographs", table.optics, table.rows)  # what was a movie leaves as a micrograph
    acquisition = settings.acquisition
    eer = settings.exposures.eer
    camera = find_camera(session, table, settings, context)
    task = MotionTask(optics_of_groups(table.optics), acquisition.dose_per_frame_e_per_A2, camera, eer, settings.motion)
    movies = int((table.accepted().rows["sczFrameCount"] > 1).sum())
    with context.workers.at_most(movies_at_once(session, table, eer)) as workers:
        few = replace(context, workers=workers)
        outcome, _ = run_micrograph_stage(session, "motion", table, correct, task, few)
    outcome = replace(outcome, notes=camera.notes)
    if movies and acquisition.dose_per_frame_e_per_A2 is None:
        note = f"{outcome.summary}; {movies} movies summed without dose weights (--dose-per-frame was not given)"
        return replace(outcome, summary=note)
    return outcome


def movies_at_once(session: Session, table: StarTable, eer: EerSettings) -> int:
    """Return how many of the session's movies fit into memory together."""
    largest = table.accepted().rows.nlargest(1, "sczFrameCount")
    bytes_of_one = 1
    for name in largest["rlnMicrographName"]:
        movie = open_exposure(session.absolute(name), eer)
        height, width = movie.shape
        bytes_of_one = BYTES_PER_PIXEL * (movie.frame_count + FRAMES_BESIDES) * height * width
    return max(1, memory_bytes() // 2 // bytes_of_one)


def correct(job: Job, folder: Path, task: MotionTask) -> Done:
    """Align and sum one movie; a single micrograph is left where it is."""
    movie = open_exposure(absolute_file(folder, job.row["rlnMicrographName"]), task.eer)
    if movie.frame_count == 1:
        return Done()
    frames = torch.from_numpy(movie.read())
    task.camera.correct(folder.parent, frames)
    optics = task.optics[int(job.row["rlnOpticsGroup"])]
    result = correct_motion(frames, optics, task.dose_per_frame_e_per_A2, task.settings)
    sums = {"rlnMicrographName": result.unweighted}
    if result.weighted is not None:
        sums = {"rlnMicrographName": result.weighted, "rlnMicrographNameNoDW": result.unweighted}
    return written(job, folder, sums, result, optics.pixel_size_A)


def written(job: Job, folder: Path, sums: dict[str, Tensor], result: MotionResult, pixel_size_A: float) -> Done:
    """Write the sums and the shifts of one movie."""
    endings = {"rlnMicrographName": ".mrc", "rlnMicrographNameNoDW": "_noDW.mrc"}
    files = {column: folder / f"{job.name}{endings[column]}" for column in sums}
    for column, path in files.items():
        write_mrc(path, sums[column].numpy(), pixel_size_A, "image")
    shifts = folder / f"{job.name}_shifts.star"
    write_blocks({"global_shift": shift_table(result, pixel_size_A)}, shifts)
    columns: Row = {column: relative_file(folder, path) for column, path in files.items()}
    columns |= {
        "rlnMicrographMetadata": relative_file(folder, shifts),
        "rlnAccumMotionTotal": result.total_A,
    }
    if result.early_A is not None and result.late_A is not None:
        columns |= {"rlnAccumMotionEarly": result.early_A, "rlnAccumMotionLate": result.late_A}
    return Done(columns=columns, files=(*files.values(), shifts))


def shift_table(result: MotionResult, pixel_size_A: float) -> pd.DataFrame:
    """Return the shift of every frame as RELION's movie metadata has them, pixels, frames from 1."""
    shifts_px = result.shifts_A.numpy() / pixel_size_A
    return pd.DataFrame(
        {
            "rlnMicrographFrameNumber": range(1, len(shifts_px) + 1),
            "rlnMicrographShiftX": shifts_px[:, 0],
            "rlnMicrographShiftY": shifts_px[:, 1],
        }
    )
