"""2D classification of all particles, and which classes are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable
from scherzer.particles.class_selection import ClassSelection, select_classes
from scherzer.particles.classification2d import Class2DResult, classify2d
from scherzer.session.acquisition import stated
from scherzer.session.complete import begin, complete, is_complete, key_of_stage
from scherzer.session.folder import Session
from scherzer.session.keys import key_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.particle_sets import load_particles
from scherzer.session.star_blocks import write_blocks

STAGE = "class2d"


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Classify the extracted particles and mark those of the kept classes as accepted."""
    diameter_A = stated(settings.acquisition, "diameter_A")
    key = key_of(key_of_stage(session, "extract"), diameter_A, settings.class2d, settings.class_selection)
    folder = session.stage(STAGE)
    files = [session.table_path(STAGE, "particles"), folder / "classes.star", folder / "classes.mrcs"]
    if is_complete(session, STAGE, key, files):
        return StageOutcome(0, summary(session.read(STAGE, "particles")))
    begin(session, STAGE)
    table = session.read("extract", "particles")
    result = classify2d(load_particles(session, table), diameter_A, settings.class2d, context.progress)
    selection = select_classes(result, diameter_A, result.pixel_size_A, settings.class_selection)
    write_classes(folder, result, selection)
    classified = with_classes(table, result, selection)
    session.write(STAGE, classified)
    complete(session, STAGE, key)
    return StageOutcome(1, summary(classified))


def kept_particles(session: Session) -> StarTable:
    """Return the particles of the kept classes.

    Raises
    ------
    BadInput
        If there are none, or all of them are in one half-set.
    """
    kept = session.read(STAGE, "particles").accepted()
    if not len(kept):
        raise BadInput(STAGE, "no class was kept", "the averages and their reasons are in class2d/classes.star")
    if kept.rows["rlnRandomSubset"].nunique() < 2:
        raise BadInput(STAGE, "the particles of the kept classes are all in one half-set", "add micrographs")
    return kept


def write_classes(folder: Path, result: Class2DResult, selection: ClassSelection) -> None:
    """Write the averages and the table of classes."""
    write_mrc(folder / "classes.mrcs", result.averages.numpy(), result.pixel_size_A, "stack")
    write_blocks({"classes": classes_table(result, selection)}, folder / "classes.star")


def classes_table(result: Class2DResult, selection: ClassSelection) -> pd.DataFrame:
    """Return one row a class, with RELION's model labels where it has them."""
    population = result.population.numpy()
    return pd.DataFrame(
        {
            "rlnReferenceImage": [f"{number:06d}@class2d/classes.mrcs" for number in range(1, len(population) + 1)],
            "rlnClassDistribution": population / max(1, population.sum()),
            "rlnEstimatedResolution": result.class_resolution_A.numpy(),
            "sczClassParticles": population,
            "sczClassScore": selection.score.numpy(),
            "sczClassKept": selection.keep.numpy().astype(int),
            "sczReason": list(selection.reason),
        }
    )


def with_classes(table: StarTable, result: Class2DResult, selection: ClassSelection) -> StarTable:
    """Return the particles with class, in-plane angle, origin and state."""
    in_kept_class = selection.keep[result.class_index].numpy()
    noise = result.is_noise.numpy()
    rows = table.rows.assign(
        rlnClassNumber=result.class_index.numpy() + 1,
        rlnAnglePsi=np.degrees(result.psi_rad.numpy()),
        rlnOriginXAngst=-result.shift_A[:, 0].numpy(),
        rlnOriginYAngst=-result.shift_A[:, 1].numpy(),
        sczClassProbability=result.probability.numpy(),
        sczState=np.where(in_kept_class & ~noise, "accepted", "rejected"),
        sczReason=np.select(
            [~in_kept_class, noise], ["its 2D class was not kept", "more like noise than any class"], ""
        ),
    )
    return table.with_rows(rows)


def summary(table: StarTable) -> str:
    """Say how many particles are left."""
    kept = len(table.accepted())
    classes = table.accepted().rows["rlnClassNumber"].nunique()
    share = 100 * kept / max(1, len(table))
    return f"{kept} of {len(table)} particles kept ({share:.0f} %), in {classes} classes"
