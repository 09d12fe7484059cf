"""2D classification of all particles, and which classes are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import starfile

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable, write_star
from scherzer.micrographs.contrast.visibility import LABELS
from scherzer.particles.class_selection import ClassSelection, ClassSelectionSettings, select_classes
from scherzer.particles.classification2d import Class2DResult, classify2d
from scherzer.session.acquisition import stated
from scherzer.session.complete import begin, complete, is_complete, key_of_stage
from scherzer.session.folder import Session
from scherzer.session.keys import key_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.class_choice import AUTO, Choice, chosen, store_choice, stored_choice, with_states
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.particle_sets import load_particles
from scherzer.session.star_blocks import write_blocks

STAGE = "class2d"
CLASSES_FILE, AVERAGES_FILE = "classes.star", "classes.mrcs"


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Classify the extracted particles and mark those of the kept classes as accepted."""
    classification = _classification(session, settings)
    folder = session.stage(STAGE)
    choice = stored_choice(folder, classification)
    if is_complete(session, STAGE, _key(classification, choice), _files(session)):
        return _outcome(session, 0, choice)
    begin(session, STAGE)
    table = session.read("extract", "particles")
    diameter_A = stated(settings.acquisition, "diameter_A")
    result = classify2d(load_particles(session, table), diameter_A, settings.class2d, context.progress)
    selection = select_classes(result, diameter_A, result.pixel_size_A, settings.class_selection)
    write_averages(folder, result)
    write_choice(
        folder,
        with_classes(table, result),
        classes_table(result, selection, f"{STAGE}/"),
        choice,
        settings.class_selection,
    )
    complete(session, STAGE, _key(classification, choice))
    return _outcome(session, 1, choice)


def choose(session: Session, settings: SessionSettings, choice: Choice) -> StageOutcome:
    """Keep the classes that a person names, or the program's own again; nothing is classified anew.

    Raises
    ------
    BadInput
        If the particles have not been classified, or there is no class of a number.
    """
    classification = _classification(session, settings)
    if not is_complete(session, STAGE, _key(classification, stored_choice(session.stage(STAGE), classification)), []):
        raise BadInput(STAGE, "the particles have not been classified", f"run 'scherzer class2d {session.root}' first")
    folder = session.stage(STAGE)
    classes, table = read_classes(folder), session.read(STAGE, "particles")
    chosen(classes, choice)  # refused before anything changes
    begin(session, STAGE)
    store_choice(folder, classification, choice)
    write_choice(folder, table, classes, choice, settings.class_selection)
    complete(session, STAGE, _key(classification, choice))
    return _outcome(session, 1, choice)


def _classification(session: Session, settings: SessionSettings) -> str:
    """Return the key of the averages, whatever is chosen of them."""
    diameter_A = stated(settings.acquisition, "diameter_A")
    return key_of(key_of_stage(session, "extract"), diameter_A, settings.class2d, settings.class_selection)


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
