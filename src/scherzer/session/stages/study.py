"""Study: subsets refined from one start in one mask, and the verdict; it speaks also where the chain broke off."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from scherzer.formats.atomic import write_text
from scherzer.formats.mrc import read_mrc
from scherzer.fourier.crop import resize_volume
from scherzer.geometry.point_groups import point_group
from scherzer.maps.refinement_round import working_box
from scherzer.session.acquisition import stated
from scherzer.session.complete import begin, complete, has_run, is_complete, key_of_stage
from scherzer.session.folder import Session
from scherzer.session.found_diameter import found_diameter_path
from scherzer.session.keys import key_of
from scherzer.session.results import further_map, results_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.camera import FACTS_FILE as CAMERA_FACTS_FILE
from scherzer.session.stages.camera import FOLDER as CAMERA_FOLDER
from scherzer.session.stages.class2d import retained_facts
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.import_ import SOURCES_FILE
from scherzer.session.stages.map_files import MAP_FILES
from scherzer.session.stages.particle_sets import extent_A, load_particles
from scherzer.session.stages.refined import NUMBERS_FILE, read_numbers
from scherzer.session.stages.start_maps import StartMap, start_maps
from scherzer.session.stages.subset_refiner import RefinementCache, SubsetRefiner
from scherzer.study.grid import Grid, read_grid
from scherzer.study.plan import plan_study
from scherzer.study.refined import RefinedSubset, subset_key
from scherzer.study.run import StudyResult, run_study
from scherzer.study.settings import StudyContext, StudySettings

STAGE = "study"
RESULTS_FILE = "results.json"
# What the study rests on; each may be missing where the chain broke off.
UPSTREAM = ("contrast", "pick", "extract", "class2d", "abinitio", "refine")


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Run the experiments and write ``results.json``."""
    upstream = {stage: key_of_stage(session, stage) for stage in UPSTREAM if has_run(session, stage)}
    key = key_of(upstream, settings.acquisition, settings.refine, settings.study, session.root.name)
    target = session.root / RESULTS_FILE
    if is_complete(session, STAGE, key, [target]):
        return StageOutcome(0, summary(json.loads(target.read_text(encoding="utf-8"))))
    begin(session, STAGE)
    starts = start_maps(session, settings) if "refine" in upstream else []
    micrographs = session.read("pick" if "pick" in upstream else "contrast").rows
    result = experiments(session, settings, micrographs, starts, key_of(upstream, settings.refine), context)
    results = results_of(
        session.root.resolve().name,
        settings,
        micrographs,
        counts(session, "pick"),
        counts(session, "class2d"),
        result,
        recording(session),
        further_maps(session, settings, starts[1:]),
    )
    results["class2d"] = retained_facts(session)
    write_text(target, json.dumps(results, indent=1, allow_nan=False) + "\n")
    complete(session, STAGE, key)
    return StageOutcome(1, summary(results))


def experiments(
    session: Session,
    settings: SessionSettings,
    micrographs: pd.DataFrame,
    starts: list[StartMap],
    key: str,
    context: Context,
) -> StudyResult:
    """Run the study over the particles that there are."""
    picked, selected = particle_tables(session)
    cache = RefinementCache(session.stage(STAGE) / ".refined", key, session.root)
    folders = folders_of(session, read_grid(micrographs, picked, selected), settings.study)
    if starts:
        numbers = read_numbers(session.stage("refine") / starts[0].name / NUMBERS_FILE)
        if numbers is not None:
            cache[subset_key(np.flatnonzero(selected))] = numbers
    refiner = refiner_of(session, settings, starts, folders) if len(picked) else _nothing_to_refine
    about = study_context(settings, starts)
    return run_study(micrographs, picked, selected, refiner, about, settings.study, cache, context.progress)


def particle_tables(session: Session) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return all extracted particles and which of them 2D classification kept; empty where the chain broke off."""
    if not has_run(session, "extract"):
        empty = pd.DataFrame({"rlnMicrographName": pd.Series(dtype=str), "rlnRandomSubset": pd.Series(dtype=int)})
        return empty, np.zeros(0, dtype=bool)
    picked = session.read("extract", "particles").rows
    if not has_run(session, "class2d"):
        return picked, np.zeros(len(picked), dtype=bool)
    states = session.read("class2d", "particles").rows["sczState"]
    return picked, np.asarray(states == "accepted", dtype=bool)


def folders_of(session: Session, grid: Grid, settings: StudySettings) -> dict[str, Path]:
    """Return where the maps of whole groups are kept; those of random draws are not."""
    plan = plan_study(grid, settings)
    groups = [*plan.own.values(), *plan.picked.values(), *([plan.joined] if plan.joined is not None else [])]
    return {
        subset_key(subset.indices): session.stage(STAGE) / re.sub(r"\W+", "_", subset.name).strip("_")
        for subset in groups
    }


def refiner_of(
    session: Session, settings: SessionSettings, starts: list[StartMap], folders: Mapping[str, Path]
) -> SubsetRefiner:
    """Load what every refinement of the study shares."""
    start, voxel_A = starts[0].read() if starts else (None, 1.0)
    table = session.read("extract", "particles")
    particles = load_particles(session, table, working_box(extent_A(table), settings.refine))
    mask = None
    if starts:
        written = read_mrc(session.stage("refine") / starts[0].name / MAP_FILES["mask"]).data
        mask = resize_volume(torch.from_numpy(written), particles.box).clamp(0, 1)
    return SubsetRefiner(
        particles=particles,
        start=start,
        start_pixel_size_A=voxel_A,
        mask=mask,
        symmetry=settings.acquisition.symmetry,
        diameter_A=stated(settings.acquisition, "diameter_A"),
        settings=settings.refine,
        folders=folders,
        root=session.root,
    )


def study_context(settings: SessionSettings, starts: list[StartMap]) -> StudyContext:
    """Return what the study is told of the specimen and the start."""
    symmetry = settings.acquisition.symmetry
    return StudyContext(
        symmetry=symmetry,
        symmetry_order=len(point_group(symmetry)),
        start=starts[0].words if starts else "no start map",
        start_resolution_A=settings.refine.start_resolution_A,
    )


def further_maps(session: Session, settings: SessionSettings, starts: list[StartMap]) -> list[dict[str, Any]]:
    """Return the entries of the refinements from other starts."""
    entries = []
    for start in starts:
        numbers = read_numbers(session.stage("refine") / start.name / NUMBERS_FILE)
        if numbers is not None:
            subset = f"all selected, from the {start.words}"
            entries.append(further_map(subset, settings.acquisition.symmetry, start.words, numbers))
    return entries


def counts(session: Session, stage: str) -> dict[str, int]:
    """Return the number of accepted particles of a stage's table by micrograph; empty where it was not run."""
    if not has_run(session, stage):
        return {}
    names = session.read(stage, "particles").accepted().rows["rlnMicrographName"]
    return {str(name): int(count) for name, count in names.value_counts().items()}


def recording(session: Session) -> dict[str, Any]:
    """Return what was found of how the session was recorded, and of its particles' size; null where nothing was."""
    files = {
        "sources": session.stage("import") / SOURCES_FILE,
        "camera": session.root / CAMERA_FOLDER / CAMERA_FACTS_FILE,
        "diameter": found_diameter_path(session),
    }
    return {
        name: json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None for name, path in files.items()
    }


def summary(results: Mapping[str, Any]) -> str:
    """Return the verdict's sentence."""
    return str(results["verdict"]["sentence"])


def _nothing_to_refine(indices: NDArray[np.int64]) -> RefinedSubset:
    raise AssertionError("the study asked for a refinement although there are no particles")
