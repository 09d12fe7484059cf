"""2D classification of a table of particles to a folder, and a person's choice of its classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scherzer.formats.star import read_star
from scherzer.particles.class_selection import ClassSelectionSettings, select_classes
from scherzer.particles.classification2d import Class2DSettings, classify2d
from scherzer.session.stages.class2d import (
    AVERAGES_FILE,
    CLASSES_FILE,
    classes_table,
    outcome,
    read_classes,
    with_classes,
    write_averages,
    write_choice,
)
from scherzer.session.stages.class_choice import Choice, store_choice, stored_choice
from scherzer.session.stages.context import Progress, StageOutcome
from scherzer.session.standalone.commands import PARTICLES_FILE, rooms
from scherzer.session.standalone.inputs import ParticleInput, load
from scherzer.session.standalone.run_folder import RunFolder


def classify_particles(
    given: ParticleInput,
    out: Path,
    settings: Class2DSettings,
    selection: ClassSelectionSettings,
    choice: Choice | None,
    progress: Progress,
) -> StageOutcome:
    """Classify a table of particles, or choose anew among the classes of a finished run.

    Parameters
    ----------
    given : ParticleInput
        n particles.
    out : Path
        Folder of the results.
    settings : Class2DSettings
        Of the classification.
    selection : ClassSelectionSettings
        Of the choice of classes.
    choice : Choice, optional
        What a person says of the classes; what was said before stands where it is not given.
    progress : callable
        Told how it goes.

    Raises
    ------
    BadInput
        If a stack cannot be used, the folder holds something else, or there is no class of a number.
    """
    described = {**given.described(), "settings": settings, "selection": selection}
    run = RunFolder(out, "class2d", described, (PARTICLES_FILE, CLASSES_FILE, AVERAGES_FILE))
    before = run.finished()
    notes = () if before is None else before.notes
    if before is None:
        particles, notes = load(given)
        run = replace(run, notes=notes)
        with run.opened() as (_, log), rooms(log, "class2d"):
            result = classify2d(particles, given.diameter_A, settings, progress)
            classes = classes_table(
                result, select_classes(result, given.diameter_A, result.pixel_size_A, selection), ""
            )
            write_averages(out, result)
            write_choice(out, with_classes(given.table, result), classes, Choice(), selection)
            run.complete()
    if choice is not None:
        with replace(run, notes=notes).opened():
            write_choice(out, read_star(out / PARTICLES_FILE), read_classes(out), choice, selection)
            store_choice(out, run.key, choice)
            replace(run, notes=notes).complete()
    said = stored_choice(out, run.key)
    return outcome(read_star(out / PARTICLES_FILE), {}, int(before is None or choice is not None), said, notes)
