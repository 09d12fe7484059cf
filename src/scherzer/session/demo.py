"""A session to try scherzer on: simulated once, then run like any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import yaml

from scherzer.session.complete import begin, complete, is_complete
from scherzer.session.folder import Session, create_session
from scherzer.session.keys import key_of
from scherzer.session.prepare import prepare
from scherzer.session.settings import FILE_NAME, SessionSettings, write_settings
from scherzer.session.workers import processors
from scherzer.simulate.presets import read_preset
from scherzer.simulate.session import simulate_session
from scherzer.simulate.settings import SimulationSettings

TRUTH = "truth"
# The demo shows every stage within minutes: a coarser pixel, fewer rounds and repeats than a real session gets.
DEMO_FINEST_A = 5.0
DEMO_ROUNDS = 4
DEMO_TARGET_A = 5.0
DEMO_REFINEMENTS, DEMO_DRAWS = 15, 3
# What the user of a real session would know and state.
FACTS = "acquisition.yaml"


def prepare_demo(
    root: Path, workers: int | None, progress: Callable[[float, str], None] | None = None
) -> tuple[Session, SessionSettings]:
    """Make the session of ``scherzer demo`` ready to run.

    Raises
    ------
    BadInput
        If the folder cannot be written.
    """
    is_new = not (root / FILE_NAME).is_file()
    session, settings = prepare_simulated(root, read_preset("small"), workers, progress)
    if not is_new:
        return session, settings  # whoever changed a setting since shall see what it does
    settings = replace(
        settings,
        extract=replace(settings.extract, finest_A=DEMO_FINEST_A),
        refine=replace(settings.refine, iterations=DEMO_ROUNDS),
        study=replace(
            settings.study, max_refinements=DEMO_REFINEMENTS, draws=DEMO_DRAWS, target_resolution_A=DEMO_TARGET_A
        ),
    )
    write_settings(settings, root)
    return session, settings


def prepare_simulated(
    root: Path,
    simulation: SimulationSettings,
    workers: int | None,
    progress: Callable[[float, str], None] | None = None,
) -> tuple[Session, SessionSettings]:
    """Simulate a session, unless it is there, and make ready to run it in the same folder.

    Parameters
    ----------
    root : Path
        The session's folder; exposures and truth lie in it too.
    simulation : SimulationSettings
        What to simulate.
    workers : int or None
        Exposures made at once; one a processor when None.
    progress : callable, optional
        Called with the fraction done and a short message.

    Raises
    ------
    BadInput
        If the folder cannot be written.
    """
    session = create_session(root)
    key = key_of(simulation)
    if not is_complete(session, TRUTH, key, [root / FACTS]):
        begin(session, TRUTH)
        simulate_session(root, simulation, progress, workers or processors())
        complete(session, TRUTH, key)
    folder = root / ("movies" if simulation.exposure.output == "movies" else "micrographs")
    stated = yaml.safe_load((root / FACTS).read_text(encoding="utf-8"))
    if "gain" in stated:
        stated["gain"] = root / stated["gain"]
    return prepare(root, [str(folder)], stated)
