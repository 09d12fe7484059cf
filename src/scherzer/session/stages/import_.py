"""Import: which exposures there are, and which of them can be used."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from scherzer.formats.errors import BadInput
from scherzer.formats.movies import open_exposure
from scherzer.formats.star import StarTable
from scherzer.physics.optics import Optics
from scherzer.session.acquisition import optics_of
from scherzer.session.complete import begin, complete, is_complete
from scherzer.session.folder import Session
from scherzer.session.inputs import believable_pixel_size, exposure_paths, unique_names
from scherzer.session.items import Done, Job, run_items
from scherzer.session.keys import key_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.micrograph_stage import counted, lost_in

STAGE = "import"
# Headers of one magnification differ by rounding only.
PIXEL_SIZE_TOLERANCE = 0.01


@dataclass(frozen=True)
class ImportSettings:
    """Import has no settings of its own."""


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Look into every exposure and write the table of them all."""
    paths = exposure_paths(settings.inputs, session.root)
    jobs = [
        Job(name, {"path": session.relative(path)}, (path,))
        for name, path in zip(unique_names(paths), paths, strict=True)
    ]
    results = run_items(session.stage(STAGE), examine, jobs, ImportSettings(), context.workers, context.progress)
    optics = optics_of(settings.acquisition)
    key = key_of(results.key, optics)
    table = exposure_table([job.row["path"] for job in jobs], [job.name for job in jobs], results.done)
    table = StarTable(table.kind, optics_block(optics.pixel_size_A, settings), table.rows)
    if not is_complete(session, STAGE, key, [session.table_path(STAGE, table.kind)]):
        begin(session, STAGE)
        session.write(STAGE, table)
        complete(session, STAGE, key)
    summary = counted(table) + header_conflict([done.data.get("pixel_size_A") for done in results.done], optics)
    return StageOutcome(results.computed, summary, lost_in(None, table))


def examine(job: Job, folder: Path, settings: ImportSettings) -> Done:
    """Open one exposure; a single micrograph is also read, for one that is empty must not go further."""
    exposure = open_exposure(job.files[0])
    if exposure.frame_count == 1:
        exposure.read()
    height, width = exposure.shape
    header_A = exposure.pixel_size_A if believable_pixel_size(exposure.pixel_size_A) else None
    return Done(data={"frames": exposure.frame_count, "height": height, "width": width, "pixel_size_A": header_A})


def exposure_table(paths: list[str], names: list[str], done: list[Done]) -> StarTable:
    """Return the table of exposures; those unlike the others of the session are failed with the reason.

    Only one image size and pixel size can go through one classification, so the commonest wins.
    """
    readable = [result.data for result in done if result.state == "accepted"]
    shape = _commonest([(data["width"], data["height"]) for data in readable])
    pixel_size_A = _commonest([data["pixel_size_A"] for data in readable if data["pixel_size_A"] is not None])
    rows: list[dict[str, Any]] = []
    for path, name, result in zip(paths, names, done, strict=True):
        reason = result.reason or _unlike(result.data, shape, pixel_size_A)
        row: dict[str, Any] = {"rlnMicrographName": path, "rlnOpticsGroup": 1, "sczName": name}
        if result.data.get("frames", 1) > 1:
            row["rlnMicrographMovieName"] = path
        row["sczFrameCount"] = result.data.get("frames", 1)
        rows.append({**row, "sczState": "failed" if reason else "accepted", "sczReason": reason})
    if not any(row["sczState"] == "accepted" for row in rows):
        raise BadInput("INPUT", f"none of the {len(rows)} exposures can be used", f"the first: {rows[0]['sczReason']}")
    movies = all("rlnMicrographMovieName" in row for row in rows if row["sczState"] == "accepted")
    return StarTable("movies" if movies else "micrographs", pd.DataFrame(), pd.DataFrame(rows))


def header_conflict(headers_A: list[float | None], optics: Optics) -> str:
    """Say so where the headers agree on another pixel size than the one in use; the user's word goes before theirs."""
    commonest_A = _commonest([value for value in headers_A if value is not None])
    if commonest_A is None or abs(commonest_A / optics.pixel_size_A - 1) <= PIXEL_SIZE_TOLERANCE:
        return ""
    return f"; pixel size {optics.pixel_size_A:g} A as given, though the headers say {commonest_A:g} A"


def optics_block(pixel_size_A: float, settings: SessionSettings) -> pd.DataFrame:
    """Return RELION's optics block for the one setting of a session."""
    acquisition = settings.acquisition
    return pd.DataFrame(
        {
            "rlnOpticsGroupName": ["opticsGroup1"],
            "rlnOpticsGroup": [1],
            "rlnVoltage": [acquisition.voltage_kV],
            "rlnSphericalAberration": [acquisition.cs_mm],
            "rlnAmplitudeContrast": [acquisition.amplitude_contrast],
            "rlnMicrographOriginalPixelSize": [pixel_size_A],
            "rlnMicrographPixelSize": [pixel_size_A],
        }
    )


def _commonest(values: list[Any]) -> Any:
    """Return the commonest value, the earliest of those equally common; None where there are none."""
    return Counter(values).most_common(1)[0][0] if values else None


def _unlike(data: dict[str, Any], shape: tuple[int, int], pixel_size_A: float | None) -> str:
    width, height = data["width"], data["height"]
    if (width, height) != shape:
        return f"image is {width} x {height} px, the session's are {shape[0]} x {shape[1]}"
    own_A = data["pixel_size_A"]
    if own_A is not None and pixel_size_A is not None and abs(own_A / pixel_size_A - 1) > PIXEL_SIZE_TOLERANCE:
        return f"pixel size in the header is {own_A:g} A, the session's is {pixel_size_A:g} A"
    return ""
