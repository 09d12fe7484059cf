"""Contrast: what a micrograph shows in numbers, its class, and whether it can be used at all."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from scherzer.micrographs.condition import ConditionSettings, judge
from scherzer.micrographs.contrast.classifier import ContrastClass, ContrastClassifier
from scherzer.micrographs.contrast.measurements import CtfNumbers
from scherzer.physics.optics import Optics, optics_of_groups
from scherzer.session.folder import Session
from scherzer.session.items import Done, Job, Row
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.images import read_micrograph
from scherzer.session.stages.micrograph_stage import absolute_file, run_micrograph_stage

PROBABILITY_COLUMNS = ("sczProbabilityGood", "sczProbabilityModerate", "sczProbabilityBad")


@dataclass(frozen=True)
class ContrastTask:
    """What the judgement of one micrograph depends on besides its image and CTF."""

    optics: dict[int, Optics]
    condition: ConditionSettings


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Measure, classify and judge every accepted micrograph."""
    table = session.read("ctf")
    task = ContrastTask(optics_of_groups(table.optics), settings.condition)
    return run_micrograph_stage(session, "contrast", table, look, task, context)[0]


def look(job: Job, folder: Path, task: ContrastTask) -> Done:
    """Measure, classify and judge one micrograph, by its sum without dose weighting where there is one."""
    name = job.row.get("rlnMicrographNameNoDW") or job.row["rlnMicrographName"]
    image = read_micrograph(absolute_file(folder, name))
    numbers = ctf_numbers(job.row)
    found = _classifier().classify(image, task.optics[int(job.row["rlnOpticsGroup"])], numbers)
    verdict = judge(found.measurements, numbers, job.row.get("rlnAccumMotionTotal"), task.condition)
    columns = {**contrast_columns(found), "sczCondition": verdict.kind.replace(" ", "_")}
    return Done(columns=columns, state=verdict.state, reason=verdict.reason)


def ctf_numbers(row: Row) -> CtfNumbers:
    """Return what the CTF fit in a micrograph's row says about its quality."""
    return CtfNumbers(
        defocus_A=(row["rlnDefocusU"] + row["rlnDefocusV"]) / 2,
        phase_shift_rad=math.radians(row.get("rlnPhaseShift", 0.0)),
        fit_resolution_A=row["rlnCtfMaxResolution"],
        score=row["rlnCtfFigureOfMerit"],
        confidence=row["sczCtfConfidence"],
        directional_loss=row["sczCtfDirectionalLoss"],
    )


def contrast_columns(found: ContrastClass) -> Row:
    """Return class and measurements under STAR labels: ``band_ratio`` becomes ``sczBandRatio``."""
    measurements = asdict(found.measurements)
    # These two repeat columns of the CTF stage.
    kept = {name: value for name, value in measurements.items() if name not in ("fit_resolution_A", "directional_loss")}
    return {
        "sczContrastClass": found.label,
        **dict(zip(PROBABILITY_COLUMNS, found.probabilities, strict=True)),
        "sczDetectability": found.d_prime,
        "sczDetectabilityLow": found.d_prime_low,
        "sczDetectabilityHigh": found.d_prime_high,
        **{f"scz{name.title().replace('_', '')}": value for name, value in kept.items()},
    }


@cache
def _classifier() -> ContrastClassifier:
    """Load the weights once a process."""
    return ContrastClassifier.load()
