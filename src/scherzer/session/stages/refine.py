"""Refinement of all kept particles, once from every start map there is."""

from __future__ import annotations

import numpy as np

from scherzer.formats.star import StarTable
from scherzer.geometry.rotations import to_euler
from scherzer.maps.refinement import Refinement
from scherzer.maps.refinement_round import working_box
from scherzer.session.acquisition import stated
from scherzer.session.complete import begin, complete, is_complete, key_of_stage
from scherzer.session.folder import Session
from scherzer.session.keys import key_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.class2d import kept_particles
from scherzer.session.stages.context import Context, Progress, StageOutcome
from scherzer.session.stages.map_files import MAP_FILES
from scherzer.session.stages.particle_sets import extent_A, load_particles
from scherzer.session.stages.refined import NUMBERS_FILE, read_numbers
from scherzer.session.stages.refinement_run import Task, refine_to_folder
from scherzer.session.stages.start_maps import StartMap, start_maps

STAGE = "refine"


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Refine the kept particles from the given map, if there is one, and from the ab initio map."""
    kept = kept_particles(session)
    starts = start_maps(session, settings)
    keys = [refinement_key(session, settings, start) for start in starts]
    computed = 0
    for number, (start, key) in enumerate(zip(starts, keys, strict=True)):
        place = f"{STAGE}/{start.name}"
        if is_complete(
            session, place, key, [session.stage(place) / name for name in (*MAP_FILES.values(), NUMBERS_FILE)]
        ):
            continue
        begin(session, STAGE)
        begin(session, place)

        def part(fraction: float, message: str, done: int = number) -> None:
            context.progress((done + fraction) / len(starts), message)

        _refine_from(session, settings, kept, start, is_main=number == 0, progress=part)
        complete(session, place, key)
        computed += 1
    if not is_complete(session, STAGE, key_of(keys), []):
        complete(session, STAGE, key_of(keys))
    return StageOutcome(computed, summary(session, starts), notes=judgements(session, starts))


def refinement_key(session: Session, settings: SessionSettings, start: StartMap) -> str:
    """Return the key of one refinement."""
    upstream = [key_of_stage(session, stage) for stage in ("class2d", *(() if start.is_model else ("abinitio",)))]
    acquisition = settings.acquisition
    return key_of(upstream, start.key(), acquisition.symmetry, acquisition.diameter_A, settings.refine)


def _refine_from(
    session: Session, settings: SessionSettings, kept: StarTable, start: StartMap, is_main: bool, progress: Progress
) -> None:
    """Refine from one start and write what came of it."""
    box_px = int(kept.optics["rlnImageSize"].iloc[0])
    diameter_A = stated(settings.acquisition, "diameter_A")
    task = Task(start, settings.acquisition.symmetry, diameter_A, settings.refine, box_px)
    folder = session.stage(STAGE) / start.name
    particles = load_particles(session, kept, working_box(extent_A(kept), settings.refine))
    refined, _ = refine_to_folder(particles, task, session, folder, progress)
    if is_main:
        session.write(STAGE, with_poses(kept, refined))


def with_poses(table: StarTable, refined: Refinement) -> StarTable:
    """Return the particles with RELION's angles and origins."""
    rot, tilt, psi = to_euler(refined.rotations)
    return table.with_rows(
        table.rows.assign(
            rlnAngleRot=np.degrees(rot.cpu().numpy()),
            rlnAngleTilt=np.degrees(tilt.cpu().numpy()),
            rlnAnglePsi=np.degrees(psi.cpu().numpy()),
            rlnOriginXAngst=-refined.shift_A[:, 0].cpu().numpy(),
            rlnOriginYAngst=-refined.shift_A[:, 1].cpu().numpy(),
            sczScore=refined.score.cpu().numpy(),
        )
    )


def judgements(session: Session, starts: list[StartMap]) -> tuple[str, ...]:
    """Say of each refinement whether there is a structure in it, and why."""
    found = [(start, read_numbers(session.stage(STAGE) / start.name / NUMBERS_FILE)) for start in starts]
    return tuple(
        f"from {start.words}: {numbers.structure['sentence']}"
        for start, numbers in found
        if numbers and numbers.structure
    )


def summary(session: Session, starts: list[StartMap]) -> str:
    """Say how far each refinement came."""
    parts = []
    for start in starts:
        numbers = read_numbers(session.stage(STAGE) / start.name / NUMBERS_FILE)
        value = None if numbers is None else numbers.resolution_fsc143_A
        reached = "no resolution" if value is None else f"{value:.2f} A"
        parts.append(f"{reached} from {start.words}")
    return ", ".join(parts)
