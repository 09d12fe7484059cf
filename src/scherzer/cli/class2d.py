"""``scherzer class2d``: of a session, or of a table of particles; and which of its classes are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from scherzer.cli.maps import Diameter, Invert, Out, Source, is_session
from scherzer.cli.screen import Screen, plain_errors
from scherzer.formats.errors import BadInput

Keep = Annotated[str | None, typer.Option(metavar="1,4,7", help="Keep exactly these classes; auto: as found.")]
Classes = Annotated[int | None, typer.Option(min=1, metavar="K", help="Number of classes; by default by particles.")]
Drop = Annotated[str | None, typer.Option(metavar="2,5", help="Keep the classes as found, but for these.")]


def class2d(
    source: Source,
    keep: Keep = None,
    drop: Drop = None,
    classes: Classes = None,
    diameter: Diameter = None,
    out: Out = None,
    invert: Invert = False,
) -> None:
    """Classify particles in 2D; keep classes that show one.

    Nothing is deleted: rejected particles stay in the table, and --keep auto takes back a choice by hand.

    Example: scherzer class2d apo; scherzer class2d apo --drop 2; scherzer class2d particles.star --diameter 125 --out c
    """
    with plain_errors():
        from scherzer.session.stages.class_choice import choice_of

        choice = choice_of(keep, drop)
        screen = Screen()
        if is_session(source, diameter, out, invert):
            from scherzer.session.chain import run_one
            from scherzer.session.folder import locked
            from scherzer.session.prepare import reopen
            from scherzer.session.settings import write_settings
            from scherzer.session.stages.class2d import choose

            session, settings = reopen(source, {})
            if classes is not None:
                settings = replace(settings, class2d=replace(settings.class2d, class_count=classes))
                write_settings(settings, session.root)
            run_one("class2d", session, settings, 1, screen)
            if choice is not None:
                with locked(session):
                    choose(session, choice)
                run_one("class2d", session, settings, 1, screen)
            return
        if out is None:
            raise BadInput("output folder", "not given", "give --out")
        from scherzer.particles.class_selection import ClassSelectionSettings
        from scherzer.particles.classification2d import Class2DSettings
        from scherzer.session.standalone.classes import classify_particles
        from scherzer.session.standalone.inputs import particle_input

        given = particle_input(source, None, diameter, invert)
        with screen.bar("class2d") as progress:
            settings_2d = Class2DSettings(class_count=classes)
            outcome = classify_particles(given, out, settings_2d, ClassSelectionSettings(), choice, progress)
        screen.end("class2d", outcome)
