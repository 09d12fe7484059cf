"""A session to try scherzer on: simulated once, then run like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from scherzer.session.complete import begin, complete, is_complete
from scherzer.session.folder import Session, create_session
from scherzer.session.keys import key_of
from scherzer.session.prepare import prepare
from scherzer.session.settings import SessionSettings
from scherzer.session.workers import processors
from scherzer.simulate.session import simulate_session
from scherzer.simulate.settings import SimulationSettings

TRUTH = "truth"
# What the user of a real session would know and state.
FACTS = "acquisition.yaml"


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
    folder = root / ("movies" if simulation.frames > 1 else "micrographs")
    stated = yaml.safe_load((root / FACTS).read_text(encoding="utf-8"))
    return prepare(root, [str(folder)], stated)
