"""Contrast: what a micrograph shows in numbers, its class, and whether it can be used at all."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from scherzer.formats.mrc import write_mrc
from scherzer.micrographs.condition import ConditionSettings, judge
from scherzer.micrographs.contrast import condition_opinion
from scherzer.micrographs.contrast.classifier import ContrastClass, ContrastClassifier
from scherzer.micrographs.contrast.measurements import CtfNumbers, Measurements
from scherzer.micrographs.contrast.settings import SHIPPED, sha256_of
from scherzer.micrographs.contrast.words import why
from scherzer.physics.optics import Optics, optics_of_groups
from scherzer.session.complete import begin, complete, is_complete
from scherzer.session.folder import Session
from scherzer.session.items import Done, Job, Row, run_items
from scherzer.session.keys import key_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.condition_columns import opinion_columns, opinion_of, with_opinion
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.ice_thickness import with_thickness
from scherzer.session.stages.images import read_micrograph
from scherzer.session.stages.micrograph_stage import (
    LEFT_OUT,
    absolute_file,
    counted,
    jobs_of,
    lost_in,
    relative_file,
    with_results,
)

STAGE = "contrast"
PROBABILITY_COLUMNS = ("sczProbabilityGood", "sczProbabilityModerate", "sczProbabilityBad")
# These repeat columns of the CTF stage.
_KNOWN_BEFORE = ("fit_resolution_A", "directional_loss")


@dataclass(frozen=True)
class ContrastTask:
    """What the judgement of one micrograph depends on besides its image and CTF.

    The weights, of contrast and of condition, are told from others by their bytes; where the shipped ones lie is no
    part of a result's key.
    """

    optics: dict[int, Optics]
    condition: ConditionSettings
    weights: str | None
    weights_sha256: tuple[str, str]


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Measure, classify and judge every accepted micrograph, then compare how much their ice lets through."""
    table = session.read("ctf")
    optics = optics_of_groups(table.optics)
    weights = settings.contrast.weights
    classifier_of(weights)  # says what is wrong with them before the work begins
    task = ContrastTask(
        optics, settings.condition, weights, (sha256_of(_file(weights)), sha256_of(condition_opinion.SHIPPED))
    )
    results = run_items(session.stage(STAGE), look, jobs_of(session, table), task, context.workers, context.progress)
    joined = with_results(table, results)
    dose = settings.acquisition.dose_per_frame_e_per_A2
    key = key_of(results.key, settings.ice_thickness, dose)
    if not is_complete(session, STAGE, key, [session.table_path(STAGE, "micrographs")]):
        begin(session, STAGE)
        session.write(STAGE, with_thickness(joined, optics, dose, settings.ice_thickness))
        complete(session, STAGE, key)
    return StageOutcome(results.computed, counted(joined), lost_in(table, joined))


def look(job: Job, folder: Path, task: ContrastTask) -> Done:
    """Measure, classify and judge one micrograph, by its sum without dose weighting where there is one."""
    name = job.row.get("rlnMicrographNameNoDW") or job.row["rlnMicrographName"]
    image = read_micrograph(absolute_file(folder, name))
    numbers = ctf_numbers(job.row)
    optics = task.optics[int(job.row["rlnOpticsGroup"])]
    found = classifier_of(task.weights).classify(image, optics, numbers)
    opinion = opinion_of(image, optics.pixel_size_A)
    verdict = judge(found.measurements, numbers, job.row.get("rlnAccumMotionTotal"), task.condition)
    columns = {
        **contrast_columns(found),
        "sczCondition": verdict.kind.replace(" ", "_"),
        **opinion_columns(opinion),
        "sczNote": "; ".join(with_opinion(verdict, opinion)),
    }
    left_out = found.measurements.areas.left_out
    if left_out is None:
        return Done(columns=columns, state=verdict.state, reason=verdict.reason)
    path = folder / f"{job.name}_left_out.mrc"
    cell_A = optics.pixel_size_A * image.shape[1] / left_out.shape[1]
    write_mrc(path, left_out.astype(np.int8), cell_A)
    columns[LEFT_OUT] = relative_file(folder, path)
    return Done(columns=columns, files=(path,), state=verdict.state, reason=verdict.reason)


def ctf_numbers(row: Row) -> CtfNumbers:
    """Return what the CTF fit in a micrograph's row says about its quality."""
    return CtfNumbers(
        defocus_A=(row.get("rlnDefocusU", math.nan) + row.get("rlnDefocusV", math.nan)) / 2,
        phase_shift_rad=math.radians(row.get("rlnPhaseShift", 0.0)),
        fit_resolution_A=row["rlnCtfMaxResolution"],
        score=row["rlnCtfFigureOfMerit"],
        directional_loss=row["sczCtfDirectionalLoss"],
        problem=row["sczCtfProblem"],
    )


def contrast_columns(found: ContrastClass) -> Row:
    """Return class and measurements under STAR labels."""
    return {
        "sczContrastClass": found.label,
        "sczContrastWhy": why(found),
        **dict(zip(PROBABILITY_COLUMNS, found.probabilities, strict=True)),
        "sczDetectability": found.d_prime,
        "sczDetectabilityLow": found.d_prime_low,
        "sczDetectabilityHigh": found.d_prime_high,
        **measurement_columns(found.measurements),
    }


def measurement_columns(found: Measurements) -> Row:
    """Return measurements under STAR labels: ``band_ratio`` becomes ``sczBandRatio``.

    RELION has a label for the ice ring; how its number relates stands with `scherzer.micrographs.ice.Ice`.
    """
    parts = asdict(found)
    ice, areas = parts.pop("ice"), parts.pop("areas")
    hidden = (*_KNOWN_BEFORE, "left_out")
    own = {name: value for name, value in {**parts, **areas}.items() if name not in hidden}
    return {
        **{f"scz{name.title().replace('_', '')}": value for name, value in own.items()},
        "rlnCtfIceRingDensity": ice["ring"],
        "sczIceReflection": ice["reflection"],
        "sczIceReflectionSpacing": ice["reflection_A"],
        "sczCrystallineFraction": ice["crystalline_fraction"],
    }


@lru_cache(maxsize=1)
def classifier_of(weights: str | None) -> ContrastClassifier:
    """Load weights, the shipped ones when None, once a process.

    Raises
    ------
    BadInput
        If they are not there, or are none of this version.
    """
    sha256_of(_file(weights))
    return ContrastClassifier.load(_file(weights))


def _file(weights: str | None) -> Path:
    return SHIPPED if weights is None else Path(weights)
