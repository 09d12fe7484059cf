"""The stages in their order: one of them, or all of them from exposures to the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from logging import Logger
from pathlib import Path
from typing import Protocol

from scherzer.formats.errors import BadInput
from scherzer.session.complete import complete, is_complete, key_of_stage, retire
from scherzer.session.folder import Session, locked, logged
from scherzer.session.found_diameter import with_found_diameter
from scherzer.session.keys import key_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages import abinitio, class2d, contrast, ctf, extract, import_, motion, pick, refine, study
from scherzer.session.stages.context import Context, Progress, StageOutcome
from scherzer.session.workers import Workers

RunStage = Callable[[Session, SessionSettings, Context], StageOutcome]
WriteReport = Callable[[Path], Path]
REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Stage:
    """One step of the chain.

    Attributes
    ----------
    name : str
        Of the step and its folder.
    run : callable
        The step.
    optional : bool
        Whether the verdict can be given without it: it then says what is missing.
    needs : tuple of str
        Optional stages without which this one cannot be run.
    """

    name: str
    run: RunStage
    optional: bool = False
    needs: tuple[str, ...] = ()


CHAIN = (
    Stage("import", import_.run),
    Stage("motion", motion.run),
    Stage("ctf", ctf.run),
    Stage("contrast", contrast.run),
    Stage("pick", pick.run, optional=True),
    Stage("extract", extract.run, optional=True, needs=("pick",)),
    Stage("class2d", class2d.run, optional=True, needs=("extract",)),
    Stage("abinitio", abinitio.run, optional=True, needs=("class2d",)),
    Stage("refine", refine.run, optional=True, needs=("class2d",)),
    Stage("study", study.run),
)


class Reporter(Protocol):
    """Tells a person how a run goes."""

    def begin(self, stage: str) -> Progress:
        """Announce a stage; what is returned is called with its progress."""
        ...

    def end(self, stage: str, outcome: StageOutcome) -> None:
        """Tell how a stage ended."""
        ...


def run_all(
    session: Session,
    settings: SessionSettings,
    workers: int | None,
    reporter: Reporter,
    write_report: WriteReport,
    chain: tuple[Stage, ...] = CHAIN,
) -> int:
    """Run every stage; what is on disk and still valid is not repeated.

    Parameters
    ----------
    session, settings
        What to run.
    workers : int or None
        Number of processes; one a processor when None.
    reporter : Reporter
        Is told how it goes.
    write_report : callable
        Writes the report of the session's folder and returns its path.
    chain : tuple of Stage
        The stages.

    Returns
    -------
    int
        How many results had to be computed; 0 means that everything was there.

    Raises
    ------
    BadInput
        If a stage without which there is no verdict cannot be run; single items never stop it.
    """
    computed = 0
    with locked(session), logged(session) as log, Workers(workers) as pool:
        missing: set[str] = set()
        for stage in chain:
            if missing.intersection(stage.needs):
                missing.add(stage.name)
                retire(session, stage.name)
                continue
            try:
                computed += _run(stage, session, settings, pool, reporter, log)
            except BadInput as error:
                if not stage.optional:
                    raise
                missing.add(stage.name)
                retire(session, stage.name)
                log.warning("%s: %s", stage.name, error)
                reporter.end(stage.name, StageOutcome(1, f"not possible: {error.problem}; {error.remedy}"))
        computed += _report(session, reporter, write_report)
    return computed


def run_one(name: str, session: Session, settings: SessionSettings, workers: int | None, reporter: Reporter) -> None:
    """Run one stage of a session.

    Raises
    ------
    BadInput
        If it cannot be run, for instance because the stage before it has not been.
    """
    stage = next(stage for stage in CHAIN if stage.name == name)
    with locked(session), logged(session) as log, Workers(workers) as pool:
        _run(stage, session, settings, pool, reporter, log)


def _run(
    stage: Stage, session: Session, settings: SessionSettings, pool: Workers, reporter: Reporter, log: Logger
) -> int:
    try:
        # Picking measures a diameter that was not stated; the stages after it take what it found.
        known = settings if stage.name == pick.STAGE else with_found_diameter(session, settings)
        outcome = stage.run(session, known, Context(pool, reporter.begin(stage.name)))
    except ValueError as error:
        # A room says in a ValueError what it cannot work with.
        log.exception("%s", stage.name)
        raise BadInput(stage.name, " ".join(str(error).split()), "details are in scherzer.log") from error
    log.info("%s: %s (%d computed)", stage.name, outcome.summary, outcome.computed)
    reporter.end(stage.name, outcome)
    return outcome.computed


def _report(session: Session, reporter: Reporter, write_report: WriteReport) -> int:
    """Write the report unless it is there and nothing has changed."""
    key = key_of(key_of_stage(session, "study"))
    if is_complete(session, "report", key, [session.root / REPORT_FILE]):
        reporter.end("report", StageOutcome(0, str(session.root / REPORT_FILE)))
        return 0
    reporter.begin("report")
    path = write_report(session.root)
    complete(session, "report", key)
    reporter.end("report", StageOutcome(1, str(path)))
    return 1
