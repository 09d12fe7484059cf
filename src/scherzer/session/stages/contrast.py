"""Contrast: what a micrograph shows in numbers, its class, and whether it can be used at all."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from scherzer.micrographs.contrast.measurements import CtfNumbers, Measurements, measure
from scherzer.physics.optics import Optics, optics_of_groups
from scherzer.session.folder import Session
from scherzer.session.items import Done, Job, Row
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.images import read_micrograph
from scherzer.session.stages.micrograph_stage import absolute_file, run_micrograph_stage


@dataclass(frozen=True)
class ContrastTask:
    """What the judgement of one micrograph depends on besides its image and CTF."""

    optics: dict[int, Optics]


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Measure, classify and judge every accepted micrograph."""
    table = session.read("ctf")
    task = ContrastTask(optics_of_groups(table.optics))
    return run_micrograph_stage(session, "contrast", table, look, task, context)[0]


def look(job: Job, folder: Path, task: ContrastTask) -> Done:
    """Measure, classify and judge one micrograph, by its sum without dose weighting where there is one."""
    name = job.row.get("rlnMicrographNameNoDW") or job.row["rlnMicrographName"]
    image = read_micrograph(absolute_file(folder, name))
    optics = task.optics[int(job.row["rlnOpticsGroup"])]
    measured = measure(image, optics, ctf_numbers(job.row))
    return Done(columns=feature_columns(measured))


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


def feature_columns(measured: Measurements) -> Row:
    """Return the measurements under STAR labels: ``band_ratio`` becomes ``sczBandRatio``."""
    return {f"scz{name.title().replace('_', '')}": value for name, value in asdict(measured).items()}
