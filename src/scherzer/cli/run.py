"""``scherzer run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scherzer.cli import options
from scherzer.cli.screen import Screen, plain_errors


def run(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT...", help="Movies or micrographs, folders, patterns, lists."),
    ] = None,
    out: options.Out = Path("session"),
    pixel_size: options.PixelSize = None,
    voltage: options.Voltage = None,
    cs: options.Cs = None,
    amplitude_contrast: options.AmplitudeContrast = None,
    dose_per_frame: options.DosePerFrame = None,
    gain: options.Gain = None,
    gain_rot: options.HiddenGainRot = None,
    gain_flip: options.HiddenGainFlip = None,
    defects: options.HiddenDefects = None,
    symmetry: options.Symmetry = None,
    diameter: options.Diameter = None,
    initial_map: options.InitialMap = None,
    workers: options.Workers = None,
) -> None:
    """Go from exposures to a verdict; run again to continue.

    Example: scherzer run 'movies/*.tiff' --pixel-size 0.83 --voltage 300 --cs 2.7 --diameter 130 --out apo
    """
    with plain_errors():
        from scherzer.cli.whole import run_whole
        from scherzer.session.prepare import prepare

        stated = {
            "pixel_size_A": pixel_size,
            "voltage_kV": voltage,
            "cs_mm": cs,
            "amplitude_contrast": amplitude_contrast,
            "dose_per_frame_e_per_A2": dose_per_frame,
            "gain": gain,
            "gain_rotation": gain_rot,
            "gain_flip": gain_flip,
            "defects": defects,
            "symmetry": symmetry,
            "diameter_A": diameter,
            "initial_map": initial_map,
        }
        run_whole(*prepare(out, inputs or [], stated, say=typer.echo), workers, Screen())
