"""2D classification of all particles, and which classes are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import starfile

from scherzer.formats.atomic import write_text
from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable, write_star
from scherzer.micrographs.contrast.visibility import LABELS
from scherzer.particles.class_selection import ClassSelection, ClassSelectionSettings, select_classes
from scherzer.particles.classification2d import Class2DResult, classify2d
from scherzer.session.acquisition import stated
from scherzer.session.complete import begin, complete, has_run, is_complete, key_of_stage
from scherzer.session.folder import Session
from scherzer.session.keys import key_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.class_choice import AUTO, Choice, chosen, store_choice, stored_choice, with_states
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.particle_sets import load_particles
from scherzer.session.star_blocks import write_blocks

STAGE = "class2d"
CLASSES_FILE, AVERAGES_FILE = "classes.star", "classes.mrcs"
CLASSIFICATION_FILE = ".classification"


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Classify the extracted particles and mark those of the kept classes as accepted.

    Where only a person's choice of the classes has changed, it is applied and nothing is classified anew.
    """
    diameter_A = stated(settings.acquisition, "diameter_A")
    classification = key_of(key_of_stage(session, "extract"), diameter_A, settings.class2d, settings.class_selection)
    folder = session.stage(STAGE)
    choice = stored_choice(folder, classification)
    key = _key(classification, choice)
    if is_complete(session, STAGE, key, _files(session)):
        return _outcome(session, 0, choice)
    classified = _classification(session) == classification
    begin(session, STAGE)
    if classified:
        write_choice(folder, session.read(STAGE, "particles"), read_classes(folder), choice, settings.class_selection)
    else:
        (folder / CLASSIFICATION_FILE).unlink(missing_ok=True)
        table = session.read("extract", "particles")
        result = classify2d(load_particles(session, table), diameter_A, settings.class2d, context.progress)
        selection = select_classes(result, diameter_A, result.pixel_size_A, settings.class_selection)
        classes = classes_table(result, selection, f"{STAGE}/")
        write_averages(folder, result)
        write_choice(folder, with_classes(table, result), classes, choice, settings.class_selection)
        write_text(folder / CLASSIFICATION_FILE, classification)
    complete(session, STAGE, key)
    return _outcome(session, 1, choice)


def choose(session: Session, choice: Choice) -> None:
    """Store which classes a person wants, or that the program's own hold again; the next run applies it.

    Raises
    ------
    BadInput
        If the particles have not been classified, or there is no class of a number.
    """
    classification = _classification(session)
    if classification is None:
        raise BadInput(STAGE, "the particles have not been classified", f"run 'scherzer class2d {session.root}' first")
    folder = session.stage(STAGE)
    chosen(read_classes(folder), choice)
    store_choice(folder, classification, choice)


def _classification(session: Session) -> str | None:
    """Return the key of the averages on disk, whatever is chosen of them; None where there are none."""
    path = session.stage(STAGE) / CLASSIFICATION_FILE
    if not all(file.is_file() for file in (path, *_files(session))):
        return None
    return path.read_text(encoding="utf-8")


def _key(classification: str, choice: Choice) -> str:
    return key_of(classification, choice) if choice.by_hand else classification


def _files(session: Session) -> list[Path]:
    folder = session.stage(STAGE)
    return [session.table_path(STAGE, "particles"), folder / CLASSES_FILE, folder / AVERAGES_FILE]


def _outcome(session: Session, computed: int, choice: Choice) -> StageOutcome:
    table = session.read(STAGE, "particles")
    return outcome(table, retained(table, contrast_of(session, table)), computed, choice)


def outcome(
    table: StarTable, groups: Mapping[str, tuple[int, int]], computed: int, choice: Choice, notes: tuple[str, ...] = ()
) -> StageOutcome:
    """Tell how many particles are left and whether a person had a say in it."""
    said = (f"classes by hand: {choice.words}; '--keep {AUTO}' takes it back",) if choice.by_hand else ()
    return StageOutcome(computed, summary(table, groups), notes=(*notes, *said))


def retained_facts(session: Session) -> dict[str, Any] | None:
    """Return how many particles were kept, of each contrast group too, for ``results.json``; None without classes."""
    if not has_run(session, STAGE):
        return None
    table = session.read(STAGE, "particles")
    groups = retained(table, contrast_of(session, table))
    choice = stored_choice(session.stage(STAGE), _classification(session) or "")
    return {
        "particles": len(table),
        "kept": len(table.accepted()),
        "by_contrast": {name: {"particles": whole, "kept": part} for name, (part, whole) in groups.items()},
        "by_hand": choice.words,
    }


def contrast_of(session: Session, table: StarTable) -> pd.Series[str]:
    """Return the contrast class of every particle's micrograph, ``(n,)``; empty where it was not classified."""
    rows = session.read("contrast").rows
    if "sczContrastClass" not in rows:
        return pd.Series("", index=table.rows.index)
    labels = rows.drop_duplicates("rlnMicrographName").set_index("rlnMicrographName")["sczContrastClass"]
    return table.rows["rlnMicrographName"].map(labels).fillna("").astype(str)


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


def write_averages(folder: Path, result: Class2DResult) -> None:
    """Write the stack of averages."""
    write_mrc(folder / AVERAGES_FILE, result.averages.numpy(), result.pixel_size_A, "stack")


def write_choice(
    folder: Path, table: StarTable, classes: pd.DataFrame, choice: Choice, settings: ClassSelectionSettings
) -> None:
    """Write the table of classes and that of particles as a choice makes them."""
    final = chosen(classes, choice)
    write_blocks({"classes": final}, folder / CLASSES_FILE)
    write_star(with_states(table, final, settings.max_misfit), folder / "particles.star")


def read_classes(folder: Path) -> pd.DataFrame:
    """Read the table of classes."""
    classes = starfile.read(folder / CLASSES_FILE, always_dict=True)["classes"]
    return classes.assign(**{name: classes[name].fillna("").astype(str) for name in ("sczAutoReason", "sczReason")})


def classes_table(result: Class2DResult, selection: ClassSelection, folder: str) -> pd.DataFrame:
    """Return one row a class, with RELION's model labels where it has them, and the program's choice of them.

    ``folder`` is where the stack lies, as RELION is to find it.
    """
    population = result.population.numpy()
    numbers = range(1, len(population) + 1)
    return pd.DataFrame(
        {
            "rlnReferenceImage": [f"{number:06d}@{folder}{AVERAGES_FILE}" for number in numbers],
            "rlnClassDistribution": population / max(1, population.sum()),
            "rlnEstimatedResolution": result.class_resolution_A.numpy(),
            "sczResolution143": result.resolution_143_A.numpy(),
            "sczClassParticles": population,
            "sczClassScore": selection.score.numpy(),
            "sczAutoClassKept": selection.keep.numpy().astype(int),
            "sczAutoReason": list(selection.reason),
        }
    )


def with_classes(table: StarTable, result: Class2DResult) -> StarTable:
    """Return the particles with class, in-plane angle, origin, and how well they belong to it."""
    rows = table.rows.assign(
        rlnClassNumber=result.class_index.numpy() + 1,
        rlnAnglePsi=np.degrees(result.psi_rad.numpy()),
        rlnOriginXAngst=-result.shift_A[:, 0].numpy(),
        rlnOriginYAngst=-result.shift_A[:, 1].numpy(),
        sczClassProbability=result.probability.numpy(),
        sczNoiseProbability=result.noise_probability.numpy(),
        sczClassMisfit=result.misfit.numpy(),
    )
    return table.with_rows(rows)


def retained(table: StarTable, group: pd.Series[str]) -> dict[str, tuple[int, int]]:
    """Count the particles kept, and all, of each contrast group: a choice that favours one would decide the study."""
    kept = table.rows["sczState"] == "accepted"
    return {
        name: (int(kept[group == name].sum()), int((group == name).sum())) for name in LABELS if (group == name).any()
    }


def summary(table: StarTable, groups: Mapping[str, tuple[int, int]]) -> str:
    """Say how many particles are left, also of each contrast group."""
    kept = len(table.accepted())
    classes = table.accepted().rows["rlnClassNumber"].nunique()
    text = f"{kept} of {len(table)} particles kept ({100 * kept / max(1, len(table)):.0f} %), in {classes} classes"
    shares = [f"{name} {100 * part / whole:.0f} %" for name, (part, whole) in groups.items()]
    return f"{text}; {', '.join(shares)}" if shares else text
