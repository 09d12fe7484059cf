"""Motion: movies to aligned sums, weighted by exposure and not; single micrographs pass through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scherzer.formats.eer import EerSettings
from scherzer.formats.movies import Movie, open_exposure
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable
from scherzer.micrographs.motion import MotionResult, MotionSettings, correct_motion
from scherzer.micrographs.motion_frames import KEPT_BYTES
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
# What aligning and summing hold besides the kept counts: arrays of a frame's size, and low frequencies of 64 frames.
FRAMES_HELD, LOW_FREQUENCIES_BYTES = 20, 64 * 22_000_000
NOTE = "sczMotionNote"
ENDINGS = {
    "rlnMicrographName": ".mrc",
    "rlnMicrographNameNoDW": "_noDW.mrc",
    "rlnMicrographNameEven": "_EVN.mrc",
    "rlnMicrographNameOdd": "_ODD.mrc",
}


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
        outcome, results = run_micrograph_stage(session, "motion", table, correct, task, few)
    told = zip(table.accepted().rows["sczName"], results.done, strict=True)
    left_out = (f"{name}: {done.columns[NOTE]}" for name, done in told if NOTE in done.columns)
    outcome = replace(outcome, notes=(*camera.notes, *left_out))
    if movies and acquisition.dose_per_frame_e_per_A2 is None:
        note = f"{outcome.summary}; {movies} movies summed without dose weights (--dose-per-frame was not given)"
        return replace(outcome, summary=note)
    return outcome


def movies_at_once(session: Session, table: StarTable, eer: EerSettings) -> int:
    """Return how many of the session's movies fit into memory together."""
    largest = table.accepted().rows.nlargest(1, "sczFrameCount")
    bytes_of_one = 1
    for name in largest["rlnMicrographName"]:
        height, width = open_exposure(session.absolute(name), eer).shape
        bytes_of_one = BYTES_PER_PIXEL * FRAMES_HELD * height * width + LOW_FREQUENCIES_BYTES + KEPT_BYTES
    return max(1, memory_bytes() // 2 // bytes_of_one)


def correct(job: Job, folder: Path, task: MotionTask) -> Done:
    """Align and sum one movie; a single micrograph is left where it is."""
    movie = open_exposure(absolute_file(folder, job.row["rlnMicrographName"]), task.eer)
    if movie.frame_count == 1:
        return Done()
    optics = task.optics[int(job.row["rlnOpticsGroup"])]
    dose = task.dose_per_frame_e_per_A2
    correction = task.camera.correction(folder.parent)

    def read() -> Iterator[Tensor]:
        for frame in movie.counts():
            whole = frame if frame.dtype == np.uint8 else frame.astype(np.float32, copy=False)
            yield torch.from_numpy(np.require(whole, requirements=["C", "W"]))

    result = correct_motion(read, (movie.frame_count, *movie.shape), optics, dose, task.settings, correction)
    return written(job, folder, movie, result, task)


def written(job: Job, folder: Path, movie: Movie, result: MotionResult, task: MotionTask) -> Done:
    """Write the sums and the shifts of one movie."""
    optics = task.optics[int(job.row["rlnOpticsGroup"])]
    sums, plain = result.sums, "rlnMicrographName" if result.sums.weighted is None else "rlnMicrographNameNoDW"
    images = {"rlnMicrographName": sums.weighted, plain: sums.unweighted}
    images |= {"rlnMicrographNameEven": sums.even, "rlnMicrographNameOdd": sums.odd}
    files: dict[str, Path] = {}
    for column, image in images.items():
        if image is not None:
            files[column] = folder / f"{job.name}{ENDINGS[column]}"
            write_mrc(files[column], image.numpy(), optics.pixel_size_A, "image")
    shifts = folder / f"{job.name}_shifts.star"
    columns: Row = {column: relative_file(folder, path) for column, path in files.items()}
    columns |= {
        "rlnMicrographMetadata": relative_file(folder, shifts),
        "rlnAccumMotionTotal": result.total_A,
        "sczMotionError": result.error_A,
    }
    if result.early_A is not None and result.late_A is not None:
        columns |= {"rlnAccumMotionEarly": result.early_A, "rlnAccumMotionLate": result.late_A}
    if result.local is not None:
        columns |= {"sczLocalMotionBlur": result.local.blur_A, "sczLocalMotionUndone": int(result.local_undone)}
    general = general_table(movie, job.row["rlnMicrographName"], optics, task.dose_per_frame_e_per_A2)
    write_blocks({"general": general, "global_shift": shift_table(result, optics.pixel_size_A)}, shifts)
    if note := frames_left_out(result.used):
        columns[NOTE] = note
    return Done(columns=columns, files=(*files.values(), shifts))


def general_table(movie: Movie, name: str, optics: Optics, dose_per_frame_e_per_A2: float | None) -> Row:
    """Return what RELION's movie metadata say of the movie as a whole."""
    general: Row = {
        "rlnImageSizeX": movie.shape[1],
        "rlnImageSizeY": movie.shape[0],
        "rlnImageSizeZ": movie.frame_count,
        "rlnMicrographMovieName": name,
        "rlnMicrographBinning": 1.0,
        "rlnMicrographOriginalPixelSize": optics.pixel_size_A,
        "rlnMicrographPreExposure": 0.0,
        "rlnVoltage": optics.voltage_kV,
        "rlnMicrographStartFrame": 1,
        "rlnMotionModelVersion": 0,
    }
    if dose_per_frame_e_per_A2 is not None:
        general["rlnMicrographDoseRate"] = dose_per_frame_e_per_A2
    return general


def shift_table(result: MotionResult, pixel_size_A: float) -> pd.DataFrame:
    """Return by how much every frame was shifted, as RELION's movie metadata have it: pixels, frames from 1.

    The shifts undo the specimen's movement, so they have the opposite sign of its positions.
    """
    shifts_px = -result.shifts_A.numpy() / pixel_size_A
    return pd.DataFrame(
        {
            "rlnMicrographFrameNumber": range(1, len(shifts_px) + 1),
            "rlnMicrographShiftX": shifts_px[:, 0],
            "rlnMicrographShiftY": shifts_px[:, 1],
            "sczFrameUsed": result.used.int().numpy(),
        }
    )


def frames_left_out(used: Tensor) -> str:
    """Say which frames are in no sum; empty where all are in."""
    lost = [str(number) for number in ((~used).nonzero()[:, 0] + 1).tolist()]
    if not lost:
        return ""
    which = (
        f"frame {lost[0]} of {len(used)} holds" if len(lost) == 1 else f"frames {', '.join(lost)} of {len(used)} hold"
    )
    return f"{which} no picture: left out"
