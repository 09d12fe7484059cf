"""Refinement and ab initio from a table of particles to a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from logging import Logger
from pathlib import Path

from scherzer.formats.errors import BadInput
from scherzer.formats.star import write_star
from scherzer.maps.abinitio import reconstruct_ab_initio
from scherzer.maps.refinement_round import working_box
from scherzer.maps.settings import AbInitioSettings, RefineSettings
from scherzer.session.checks import check_map
from scherzer.session.keys import fingerprint
from scherzer.session.stages.abinitio import MAP_FILE, STARTS_FILE
from scherzer.session.stages.abinitio import write as write_ab_initio
from scherzer.session.stages.context import Progress, StageOutcome
from scherzer.session.stages.map_files import MAP_FILES
from scherzer.session.stages.refine import with_poses
from scherzer.session.stages.refined import NUMBERS_FILE, read_numbers
from scherzer.session.stages.refinement_run import Task, refine_to_folder
from scherzer.session.stages.start_maps import StartMap
from scherzer.session.standalone.inputs import ParticleInput, load
from scherzer.session.standalone.run_folder import RunFolder

PARTICLES_FILE = "particles.star"


def refine_particles(
    given: ParticleInput, initial_map: Path, out: Path, settings: RefineSettings, progress: Progress
) -> StageOutcome:
    """Refine a table of particles.

    Parameters
    ----------
    given : ParticleInput
        n particles.
    initial_map : Path
        Where to start.
    out : Path
        Folder of the results.
    settings : RefineSettings
        Of the refinement.
    progress : callable
        Told how it goes.

    Raises
    ------
    BadInput
        If a map or stack cannot be used or the folder holds something else.
    """
    check_map(initial_map)
    described = {**given.described(), "initial_map": fingerprint(initial_map.absolute()), "settings": settings}
    run = RunFolder(out, "refine", described, (*MAP_FILES.values(), NUMBERS_FILE, PARTICLES_FILE))
    start = StartMap("all", f"the given map {initial_map.name}", initial_map, is_model=True)
    before = run.finished()
    if before is not None:
        return _refined(out, start, 0, before.notes)
    particles, notes = load(given, working_box(given.extent_A, settings))
    run = replace(run, notes=notes)
    with run.opened() as (session, log), rooms(log, "refine"):
        task = Task(start, given.symmetry, given.diameter_A, settings, given.box_px)
        refined, _ = refine_to_folder(particles, task, session, out, progress)
        write_star(with_poses(given.table, refined), out / PARTICLES_FILE)
        run.complete()
    return _refined(out, start, 1, notes)


def _refined(out: Path, start: StartMap, computed: int, notes: tuple[str, ...]) -> StageOutcome:
    """Say how far a refinement came and, last, whether there is a structure in it."""
    numbers = read_numbers(out / NUMBERS_FILE)
    value = None if numbers is None else numbers.resolution_fsc143_A
    summary = f"{'no resolution' if value is None else f'{value:.2f} A'} from {start.words}"
    if numbers is not None and numbers.tied:
        notes = (*notes, f"the half-maps were kept on one another: {numbers.tied}")
    if numbers is not None and numbers.structure is not None:
        notes = (*notes, str(numbers.structure["sentence"]))
    return StageOutcome(computed, summary, notes=notes)


def ab_initio_of_particles(
    given: ParticleInput, out: Path, settings: AbInitioSettings, progress: Progress
) -> StageOutcome:
    """Make a first map of a table of particles.

    Parameters
    ----------
    given : ParticleInput
        n particles.
    out : Path
        Folder of the results.
    settings : AbInitioSettings
        Of the search.
    progress : callable
        Told how it goes.

    Raises
    ------
    BadInput
        If a stack cannot be used or the folder holds something else.
    """
    run = RunFolder(out, "abinitio", {**given.described(), "settings": settings}, (MAP_FILE, STARTS_FILE))
    summary = f"map of {given.symmetry} symmetry from {len(given.table)} particles"
    before = run.finished()
    if before is not None:
        return StageOutcome(0, summary, notes=before.notes)
    particles, notes = load(given)
    run = replace(run, notes=notes)
    with run.opened() as (_, log), rooms(log, "abinitio"):
        found = reconstruct_ab_initio(particles, given.symmetry, given.diameter_A, settings, progress)
        write_ab_initio(out, found)
        run = replace(run, notes=(*notes, found.evidence.sentence))
        run.complete()
    return StageOutcome(1, summary, notes=run.notes)


@contextmanager
def rooms(log: Logger, command: str) -> Iterator[None]:
    """Turn the ValueError in which a room says what it cannot work with into one line."""
    try:
        yield
    except ValueError as error:
        log.exception("%s", command)
        raise BadInput(command, " ".join(str(error).split()), "details are in scherzer.log") from error
