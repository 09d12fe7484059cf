"""``scherzer abinitio`` and ``scherzer refine``: of a session, or of a table of particles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scherzer.cli import options
from scherzer.cli.screen import Screen, plain_errors
from scherzer.formats.errors import BadInput

if TYPE_CHECKING:
    from scherzer.session.stages.context import Progress, StageOutcome
    from scherzer.session.standalone.inputs import ParticleInput

Source = Annotated[Path, typer.Argument(metavar="SESSION|STAR", help="A session, or a RELION particles.star.")]
Diameter = Annotated[float | None, typer.Option(metavar="A", help="With a STAR: largest diameter of the particle.")]
Out = Annotated[Path | None, typer.Option(metavar="FOLDER", help="With a STAR: where the results go.")]
Invert = Annotated[bool, typer.Option("--invert", help="With a STAR: its images show protein dark.")]


def abinitio(
    source: Source,
    symmetry: options.Symmetry = None,
    diameter: Diameter = None,
    out: Out = None,
    invert: Invert = False,
) -> None:
    """Make a first map from particles alone.

    Example: scherzer abinitio apo --symmetry O; scherzer abinitio particles.star --diameter 125 --out first
    """
    with plain_errors():
        if is_session(source, diameter, out, invert):
            _run_stage("abinitio", source, {"symmetry": symmetry})
            return
        from scherzer.maps.settings import AbInitioSettings
        from scherzer.session.standalone.commands import ab_initio_of_particles

        def work(given: ParticleInput, folder: Path, progress: Progress) -> StageOutcome:
            return ab_initio_of_particles(given, folder, AbInitioSettings(), progress)

        _run_alone("abinitio", source, symmetry, diameter, out, invert, work)


def refine(
    source: Source,
    symmetry: options.Symmetry = None,
    initial_map: options.InitialMap = None,
    diameter: Diameter = None,
    out: Out = None,
    invert: Invert = False,
) -> None:
    """Refine a map from particles in two independent halves.

    Example: scherzer refine apo; scherzer refine particles.star --initial-map m.mrc --diameter 125 --out fine
    """
    with plain_errors():
        if is_session(source, diameter, out, invert):
            _run_stage("refine", source, {"symmetry": symmetry, "initial_map": initial_map})
            return
        if initial_map is None:
            raise BadInput("start map", "not given", "give --initial-map, for instance that of scherzer abinitio")
        from scherzer.maps.settings import RefineSettings
        from scherzer.session.standalone.commands import refine_particles

        def work(given: ParticleInput, folder: Path, progress: Progress) -> StageOutcome:
            return refine_particles(given, initial_map, folder, RefineSettings(), progress)

        _run_alone("refine", source, symmetry, diameter, out, invert, work)


def is_session(source: Path, diameter: float | None, out: Path | None, invert: bool) -> bool:
    """Return whether a folder was given; a session has its own diameter, images and place."""
    if not source.is_dir():
        return False
    if diameter is not None or out is not None or invert:
        remedy = "give a particles.star, or set diameter_A in session.yaml"
        raise BadInput(source, "--diameter, --out and --invert are not for a session", remedy)
    return True


def _run_stage(stage: str, root: Path, stated: Mapping[str, Any]) -> None:
    from scherzer.session.chain import run_one
    from scherzer.session.prepare import reopen

    run_one(stage, *reopen(root, stated), 1, Screen())


def _run_alone(
    command: str,
    source: Path,
    symmetry: str | None,
    diameter: float | None,
    out: Path | None,
    invert: bool,
    work: Callable[[ParticleInput, Path, Progress], StageOutcome],
) -> None:
    if out is None:
        raise BadInput("output folder", "not given", "give --out")
    from scherzer.session.standalone.inputs import particle_input

    given = particle_input(source, symmetry, diameter, invert)
    screen = Screen()
    with screen.bar(command) as progress:
        outcome = work(given, out, progress)
    screen.end(command, outcome)
