"""``scherzer import``."""

from __future__ import annotations

from typing import Annotated

import typer

from scherzer.cli import options
from scherzer.cli.screen import Screen, plain_errors


def import_(
    session: options.SessionFolder,
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT...", help="Movies or micrographs, folders, quoted patterns.")
    ] = None,
    pixel_size: options.PixelSize = None,
    voltage: options.Voltage = None,
    cs: options.Cs = None,
    amplitude_contrast: options.AmplitudeContrast = None,
    workers: options.Workers = None,
) -> None:
    """Start a session: list every exposure that can be used.

    Example: scherzer import apo 'movies/*.tiff' --pixel-size 0.83 --voltage 300 --cs 2.7
    """
    with plain_errors():
        from scherzer.session.chain import run_one
        from scherzer.session.prepare import prepare

        stated = {
            "pixel_size_A": pixel_size,
            "voltage_kV": voltage,
            "cs_mm": cs,
            "amplitude_contrast": amplitude_contrast,
        }
        prepared = prepare(session, inputs or [], stated, typer.echo)
        run_one("import", *prepared, workers, Screen())
