"""``scherzer motion``, ``ctf`` and the other stages, each alone over a session that has those before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scherzer.cli import options
from scherzer.cli.class2d import class2d
from scherzer.cli.ctf import ctf
from scherzer.cli.maps import abinitio, refine
from scherzer.cli.screen import Screen, plain_errors


def motion(
    session: options.SessionFolder,
    dose_per_frame: options.DosePerFrame = None,
    gain: options.Gain = None,
    gain_rot: options.GainRot = None,
    gain_flip: options.GainFlip = None,
    defects: options.Defects = None,
    workers: options.Workers = None,
) -> None:
    """Align and sum movies; single micrographs pass through.

    Example: scherzer motion apo --dose-per-frame 1.2 --gain gain.mrc
    """
    stated = {
        "dose_per_frame_e_per_A2": dose_per_frame,
        "gain": gain,
        "gain_rotation": gain_rot,
        "gain_flip": gain_flip,
        "defects": defects,
    }
    _run("motion", session, stated, workers)


def pick(session: options.SessionFolder, diameter: options.Diameter = None, workers: options.Workers = None) -> None:
    """Pick particles of a given or measured diameter.

    Example: scherzer pick apo; scherzer pick apo --diameter 130
    """
    _run("pick", session, {"diameter_A": diameter}, workers)


def extract(session: options.SessionFolder, workers: options.Workers = None) -> None:
    """Cut the particles out, normalise them, make two half-sets.

    Example: scherzer extract apo
    """
    _run("extract", session, {}, workers)


def study(session: options.SessionFolder) -> None:
    """Compare contrast groups at equal counts; give the verdict.

    Example: scherzer study apo
    """
    _run("study", session, {}, 1)


STAGES = (motion, ctf, pick, extract, class2d, abinitio, refine, study)


def _run(stage: str, root: Path, stated: Mapping[str, Any], workers: int | None) -> None:
    with plain_errors():
        from scherzer.session.chain import run_one
        from scherzer.session.prepare import reopen

        run_one(stage, *reopen(root, stated), workers, Screen())
