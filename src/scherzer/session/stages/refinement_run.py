"""One refinement from particles to files, the same for a session and for a table of particles alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scherzer.likelihood.particle_set import ParticleSet
from scherzer.maps.judgement import judge
from scherzer.maps.refinement import Refinement, refine
from scherzer.maps.refinement_round import fit_sampling
from scherzer.maps.settings import RefineSettings
from scherzer.session.folder import Session
from scherzer.session.stages.context import Progress
from scherzer.session.stages.map_files import MAP_FILES, write_map_files
from scherzer.session.stages.refined import NUMBERS_FILE, numbers_of, write_numbers
from scherzer.session.stages.start_maps import StartMap
from scherzer.study.refined import RefinedSubset

STATE_FILE = "state.pt"  # there only while a refinement is under way


@dataclass(frozen=True)
class Task:
    """What to refine with.

    Attributes
    ----------
    start : StartMap
        Where to start.
    symmetry : str
        Point group in RELION's setting.
    diameter_A : float
        Of the particle.
    settings : RefineSettings
        Of the refinement.
    box_px : int
        Of the maps that are written: that of the particles on disk, which may be finer than refinement needs.
    """

    start: StartMap
    symmetry: str
    diameter_A: float
    settings: RefineSettings
    box_px: int


def refine_to_folder(
    particles: ParticleSet, task: Task, session: Session, folder: Path, progress: Progress
) -> tuple[Refinement, RefinedSubset]:
    """Refine particles, judge what came of it, and write maps, curves and numbers; go on where an earlier try ended.

    Parameters
    ----------
    particles : ParticleSet
        n particles.
    task : Task
        How.
    session : Session
        To whose root the paths in the numbers are relative.
    folder : Path
        Where the files go; the numbers last.
    progress : callable
        Told how it goes.
    """
    volume, voxel_A = task.start.read()
    refined = refine(
        particles,
        volume,
        voxel_A,
        task.symmetry,
        task.diameter_A,
        task.settings,
        progress=progress,
        state_file=folder / STATE_FILE,
    )
    model = fit_sampling(volume, voxel_A, len(refined.volume), refined.pixel_size_A) if task.start.is_model else None
    write_map_files(folder, refined, task.box_px, model)
    files = {role: session.relative(folder / name) for role, name in MAP_FILES.items()}
    judgement = judge(refined, particles, volume, voxel_A, task.symmetry, task.diameter_A, task.settings)
    numbers = numbers_of(refined, particles, files, task.box_px, judgement)
    write_numbers(numbers, folder / NUMBERS_FILE)
    return refined, numbers
