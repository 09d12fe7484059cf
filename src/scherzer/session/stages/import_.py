"""Import: which exposures there are, what is known of each, and which of them can be used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from scherzer.formats.atomic import write_text
from scherzer.formats.errors import BadInput
from scherzer.formats.movies import open_exposure
from scherzer.formats.sidecars import find_sidecar
from scherzer.formats.star import StarTable
from scherzer.session.acquisition import optics_of
from scherzer.session.complete import begin, complete, is_complete
from scherzer.session.exposure_names import unique_names
from scherzer.session.exposure_settings import ExposureSettings
from scherzer.session.folder import Session
from scherzer.session.inputs import find_exposures
from scherzer.session.items import Done, Job, run_items
from scherzer.session.keys import key_of
from scherzer.session.optics_groups import OpticsGroups, optics_groups
from scherzer.session.settings import SessionSettings
from scherzer.session.sources import TOLERANCE, Description, Source, commonest, compare_sources, describe
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.micrograph_stage import counted, lost_in

STAGE = "import"
SOURCES_FILE = "sources.json"
PIXEL_SIZE_TOLERANCE = TOLERANCE["pixel_size_A"]


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Look into every exposure and write the table of them all."""
    paths = find_exposures(settings.inputs, session.root, settings.acquisition.gain).paths
    jobs = [
        Job(name, {"path": session.relative(path)}, _files(path))
        for name, path in zip(unique_names(paths), paths, strict=True)
    ]
    results = run_items(session.stage(STAGE), examine, jobs, settings.exposures, context.workers, context.progress)
    descriptions = [Description(**done.data) for done in results.done]
    optics = optics_of(settings.acquisition)
    groups = optics_groups(
        descriptions, optics, settings.exposures.group_by_beam_shift, settings.exposures.least_images_per_group
    )
    sources = compare_sources(descriptions, settings.acquisition)
    table = exposure_table(session, jobs, results.done, descriptions, groups)
    key = key_of(results.key, settings.acquisition, settings.exposures)
    target = session.stage(STAGE) / SOURCES_FILE
    if not is_complete(session, STAGE, key, [session.table_path(STAGE, table.kind), target]):
        begin(session, STAGE)
        session.write(STAGE, table)
        write_text(target, json.dumps(facts_of(sources, descriptions, groups), indent=1, allow_nan=False) + "\n")
        complete(session, STAGE, key)
    return StageOutcome(
        results.computed, counted(table), lost_in(None, table), notes(sources, jobs, descriptions, groups)
    )


def _files(path: Path) -> tuple[Path, ...]:
    """Return the files that the description of an exposure depends on."""
    sidecar = find_sidecar(path)
    return (path,) if sidecar is None else (path, sidecar)


def examine(job: Job, folder: Path, settings: ExposureSettings) -> Done:
    """Open one exposure; a single micrograph is also read, for one that is empty must not go further."""
    exposure = open_exposure(job.files[0], settings.eer)
    if exposure.frame_count == 1:
        exposure.read()
    return Done(data=asdict(describe(exposure)))


def exposure_table(
    session: Session,
    jobs: Sequence[Job],
    done: Sequence[Done],
    descriptions: Sequence[Description],
    groups: OpticsGroups,
) -> StarTable:
    """Return the table of exposures; those unlike the others of the session are failed with the reason.

    Only one image size and pixel size can go through one classification, so the commonest wins.

    Raises
    ------
    BadInput
        If none of them can be used.
    """
    readable = [one for one, result in zip(descriptions, done, strict=True) if result.state == "accepted"]
    shapes = Counter((one.width, one.height) for one in readable)
    shape = shapes.most_common(1)[0][0] if shapes else (0, 0)
    pixel_sizes_A = (
        commonest([one.pixel_size_A for one in readable]),
        commonest([one.header_pixel_size_A for one in readable]),
    )
    rows: list[dict[str, Any]] = []
    for job, result, one, group in zip(jobs, done, descriptions, groups.numbers, strict=True):
        reason = result.reason or _unlike(one, shape, pixel_sizes_A)
        row: dict[str, Any] = {"rlnMicrographName": job.row["path"], "rlnOpticsGroup": group, "sczName": job.name}
        if one.frames > 1:
            row["rlnMicrographMovieName"] = job.row["path"]
        row |= {"sczFrameCount": one.frames, **metadata_columns(session, one)}
        rows.append({**row, "sczState": "failed" if reason else "accepted", "sczReason": reason})
    if not any(row["sczState"] == "accepted" for row in rows):
        raise BadInput("INPUT", f"none of the {len(rows)} exposures can be used", f"the first: {rows[0]['sczReason']}")
    movies = all("rlnMicrographMovieName" in row for row in rows if row["sczState"] == "accepted")
    frame = pd.DataFrame(rows)
    for name in ("rlnMicrographMovieName", "sczMetadata", "sczMetadataProblem"):
        if name in frame:
            frame[name] = frame[name].fillna("")
    last = ["sczState", "sczReason"]
    frame = frame[[*(name for name in frame if name not in last), *last]]
    return StarTable("movies" if movies else "micrographs", groups.optics, frame)


def metadata_columns(session: Session, one: Description) -> dict[str, Any]:
    """Return what the metadata beside an exposure say, without what they leave out."""
    x, y = one.beam_shift or (None, None)
    columns: dict[str, Any] = {
        "sczMetadata": session.relative(Path(one.metadata_file)) if one.metadata_file else None,
        "sczMetadataProblem": one.metadata_problem or None,
        "sczTargetDefocus": one.target_underfocus_A,
        "sczExposureDose": one.dose_e_per_A2,
        "sczExposureTime": one.exposure_s,
        "sczBeamShiftX": x,
        "sczBeamShiftY": y,
        "rlnMicrographTiltAngle": one.tilt_deg,
    }
    return {name: value for name, value in columns.items() if value is not None}


def facts_of(sources: Sequence[Source], descriptions: Sequence[Description], groups: OpticsGroups) -> dict[str, Any]:
    """Return what ``import/sources.json`` holds."""
    return {
        "sources": [source.to_json() for source in sources],
        "metadata_files": sum(bool(one.metadata_by) for one in descriptions),
        "metadata_files_unreadable": sum(bool(one.metadata_problem) for one in descriptions),
        "optics_groups": len(groups.optics),
        "beam_shift_positions": groups.positions,
    }


def notes(
    sources: Sequence[Source], jobs: Sequence[Job], descriptions: Sequence[Description], groups: OpticsGroups
) -> tuple[str, ...]:
    """Say where sources disagree, and what was made of the metadata."""
    lines = [source.in_words() for source in sources if not source.agree]
    known = sum(bool(one.metadata_by) for one in descriptions)
    if known:
        said = ", ".join(source.metadata_in_words() for source in sources if source.metadata is not None)
        lines.append(
            f"{sources[0].metadata_by} beside {known} of {len(descriptions)} exposures: {said or 'nothing of use'}"
        )
    bad = [(job.name, one) for job, one in zip(jobs, descriptions, strict=True) if one.metadata_problem]
    if bad:
        name, one = bad[0]
        file = Path(one.metadata_file).name
        lines.append(f"metadata of {len(bad)} exposures not used; the first, {file} of {name}: {one.metadata_problem}")
    if len(groups.optics) > 1:
        how = f"{groups.positions} positions of the beam shift" if groups.positions > 1 else "the voltages"
        lines.append(f"{len(groups.optics)} optics groups by {how}")
    return tuple(lines)


def _unlike(one: Description, shape: tuple[int, int], pixel_sizes_A: tuple[float | None, float | None]) -> str:
    if (one.width, one.height) != shape:
        return f"image is {one.width} x {one.height} px, the session's are {shape[0]} x {shape[1]}"
    own = (one.pixel_size_A, one.header_pixel_size_A)
    for own_A, common_A, where in zip(own, pixel_sizes_A, (f"its {one.metadata_by}", "the header"), strict=True):
        if own_A is not None and common_A is not None:
            if abs(own_A / common_A - 1) > PIXEL_SIZE_TOLERANCE:
                return f"pixel size in {where} is {own_A:g} A, the session's is {common_A:g} A"
            return ""  # headers are the weaker word
    return ""
