"""Options that several commands share, with their units."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PixelSize = Annotated[float | None, typer.Option(metavar="A", help="Pixel size. Default: from the headers.")]
Voltage = Annotated[float | None, typer.Option(metavar="KV", help="Acceleration voltage.")]
Cs = Annotated[float | None, typer.Option(metavar="MM", help="Spherical aberration.")]
AmplitudeContrast = Annotated[float | None, typer.Option(metavar="FRACTION", help="Amplitude contrast. Default: 0.1.")]
DosePerFrame = Annotated[float | None, typer.Option(metavar="E/A2", help="Exposure of one movie frame.")]
Gain = Annotated[Path | None, typer.Option(metavar="FILE", help="Gain reference of the movies.")]
Symmetry = Annotated[str | None, typer.Option(metavar="GROUP", help="Point group: C1, Cn, Dn, T, O, I. Default: C1.")]
Diameter = Annotated[float | None, typer.Option(metavar="A", help="Largest diameter of the particle.")]
InitialMap = Annotated[Path | None, typer.Option(metavar="MRC", help="Start refinement from this map.")]
Out = Annotated[Path, typer.Option(metavar="SESSION", help="Folder of the session.")]
SessionFolder = Annotated[Path, typer.Argument(metavar="SESSION", help="Folder of the session.")]


Workers = Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes. Default: one a processor.")]
