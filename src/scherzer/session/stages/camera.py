"""The camera's pixels: how the gain reference lies on the movies, and which pixels do not work."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.formats.atomic import write_text
from scherzer.formats.defects import read_defects
from scherzer.formats.eer import EerSettings
from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_mrc, write_mrc
from scherzer.formats.star import StarTable
from scherzer.micrographs.gain_orientation import Float32Array, find_gain_orientation, fixed_pattern
from scherzer.micrographs.motion_frames import Prepare
from scherzer.micrographs.sensor_defects import find_defects, stand_ins
from scherzer.session.exposure_settings import CameraSettings
from scherzer.session.folder import Session
from scherzer.session.items import Done, Job, run_items
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.camera_frames import sums_of_frames
from scherzer.session.stages.camera_gain import as_it_lies, fitting
from scherzer.session.stages.context import Context

FOLDER = "camera"
FACTS_FILE = "camera.json"
GAIN_FILE, DEFECTS_FILE = "gain.mrc", "defects.mrc"
# A fixed pattern beyond this, with no reference given, calls for one; our own choice.
NOTABLE_PATTERN = 0.01


@dataclass(frozen=True)
class Camera:
    """What movies are corrected with before they are aligned.

    Attributes
    ----------
    gain, defects : str or None
        Files, relative to the session: the reference as it lies on the frames, to multiply by; 1 where a pixel is bad.
    key : str
        Of all that they were made from.
    notes : tuple of str
        What a person should know.
    """

    gain: str | None = None
    defects: str | None = None
    key: str = ""
    notes: tuple[str, ...] = ()

    def correction(self, root: Path) -> Prepare | None:
        """Return what multiplies a frame by the gain and replaces its defects in place; None where there is nothing."""
        if self.gain is None and self.defects is None:
            return None
        gain = None if self.gain is None else torch.from_numpy(read_mrc(root / self.gain).data)
        filling = None if self.defects is None else stand_ins(read_mrc(root / self.defects).data > 0)

        def correct(frame: Tensor, number: int) -> Tensor:
            if gain is not None:
                frame *= gain
            if filling is not None:
                filling.fill(frame, number)
            return frame

        return correct


@dataclass(frozen=True)
class CameraTask:
    """What is found of the camera depends on this besides the movies."""

    acquisition: tuple[str | None, int | None, int | None, str | None]
    eer: EerSettings
    settings: CameraSettings


def find_camera(session: Session, table: StarTable, settings: SessionSettings, context: Context) -> Camera:
    """Look at the frames of some movies, unless that was done before.

    Parameters
    ----------
    session : Session
        Gets the folder ``camera``.
    table : StarTable
        Of the exposures.
    settings : SessionSettings
        With the gain reference and defects that the user gave.
    context : Context
        Workers.

    Raises
    ------
    BadInput
        If the gain reference or the list of defects cannot be used with these movies.
    """
    rows = table.accepted().rows
    movies = [session.absolute(name) for name in rows.loc[rows["sczFrameCount"] > 1, "rlnMicrographName"]]
    folder = session.root / FOLDER
    if not movies:
        (folder / FACTS_FILE).unlink(missing_ok=True)
        return Camera()
    given = settings.acquisition
    places = np.linspace(0, len(movies) - 1, min(len(movies), max(1, settings.camera.movies))).round().astype(int)
    chosen = tuple(movies[place] for place in places)
    files = (*chosen, *(Path(name) for name in (given.gain, given.defects) if name is not None))
    job = Job("camera", {"movies": len(chosen), "pixel_size_A": given.pixel_size_A}, files)
    task = CameraTask(
        (given.gain, given.gain_rotation, given.gain_flip, given.defects), settings.exposures.eer, settings.camera
    )
    context.progress(0.0, "the camera's pixels")
    results = run_items(folder, look, [job], task, context.workers)
    (result,) = results.done
    if result.state == "failed":
        raise BadInput("camera", result.reason, "mend --gain or --defects, or leave them out")
    facts = json.dumps(result.data, indent=1, allow_nan=False) + "\n"
    if not (folder / FACTS_FILE).is_file() or (folder / FACTS_FILE).read_text(encoding="utf-8") != facts:
        write_text(folder / FACTS_FILE, facts)
    names = {file.name for file in result.files}
    return Camera(
        f"{FOLDER}/{GAIN_FILE}" if GAIN_FILE in names else None,
        f"{FOLDER}/{DEFECTS_FILE}" if DEFECTS_FILE in names else None,
        results.key,
        tuple(result.data["notes"]),
    )


def look(job: Job, folder: Path, task: CameraTask) -> Done:
    """Find the orientation of the gain reference and the defects from the first of a job's files, its movies."""
    movies = job.files[: job.row["movies"]]
    gain_file, rotation, flip, defects_file = task.acquisition
    seen = sums_of_frames(movies, task.eer)
    notes: list[str] = []
    facts: dict[str, Any] = {"movies": seen.movies, "gain": None}
    gain: Float32Array | None = None
    if gain_file is not None:
        stored = fitting(Path(gain_file), seen)
        found = find_gain_orientation(seen.sums, stored)
        gain, note = as_it_lies(stored, found, rotation, flip, seen)
        notes.append(note)
        facts["gain"] = asdict(found)
    elif seen.movies > 1 and (pattern := fixed_pattern(seen.sums)) > NOTABLE_PATTERN:
        notes.append(
            f"pixels deviate alike in all movies, by {100 * pattern:.1f} %: is a gain reference missing (--gain)?"
        )
        facts["fixed_pattern"] = pattern
    defects = np.zeros(seen.shape, bool) if defects_file is None else read_defects(Path(defects_file), seen.shape)
    known = int(defects.sum())
    # One movie cannot tell a defect from a speck of the specimen.
    if task.settings.find_defects and seen.movies > 1:
        defects |= find_defects(seen.sums, gain)
    elif gain is not None:
        defects |= gain == 0
    facts["defects"] = int(defects.sum())
    if facts["defects"]:
        of_these = f", {known} of them as given" if known else ""
        notes.append(f"{facts['defects']} bad pixels are replaced by their neighbours{of_these}")
    files = written(folder, gain, defects, float(job.row["pixel_size_A"] or 1.0))
    return Done(files=files, data={**facts, "notes": notes})


def written(
    folder: Path, gain: Float32Array | None, defects: NDArray[np.bool_], pixel_size_A: float
) -> tuple[Path, ...]:
    """Write what movies are corrected with, and take away what was there from other settings."""
    files: list[Path] = []
    for name, values in ((GAIN_FILE, gain), (DEFECTS_FILE, defects.astype(np.int8) if defects.any() else None)):
        path = folder / name
        if values is None:
            path.unlink(missing_ok=True)
            continue
        write_mrc(path, values, pixel_size_A, "image")
        files.append(path)
    return tuple(files)
