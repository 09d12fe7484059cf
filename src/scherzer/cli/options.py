"""Options that several commands share, with their units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scherzer.session.acquisition import Acquisition

PixelSize = Annotated[float | None, typer.Option(metavar="A", help="Pixel size. Default: from metadata, headers.")]
Voltage = Annotated[float | None, typer.Option(metavar="KV", help="Acceleration voltage. Default: from metadata.")]
Cs = Annotated[float | None, typer.Option(metavar="MM", help="Spherical aberration.")]
AmplitudeContrast = Annotated[float | None, typer.Option(metavar="FRACTION", help="Amplitude contrast. Default: 0.1.")]
DosePerFrame = Annotated[
    float | None, typer.Option(metavar="E/A2", help="Exposure of a frame. Default: from metadata.")
]
Gain = Annotated[Path | None, typer.Option(metavar="FILE", help="Gain reference of the movies.")]
GainRot = Annotated[
    int | None, typer.Option(metavar="0-3", min=0, max=3, help="Its quarter turns (RELION). Default: found.")
]
GainFlip = Annotated[
    int | None, typer.Option(metavar="0-2", min=0, max=2, help="Its flip after that (RELION). Default: found.")
]
Defects = Annotated[Path | None, typer.Option(metavar="FILE", help="Bad pixels: list (x y w h) or map.")]
# The same for `run`, whose help has no room: "scherzer motion --help" tells them.
HiddenGainRot = Annotated[int | None, typer.Option(min=0, max=3, hidden=True)]
HiddenGainFlip = Annotated[int | None, typer.Option(min=0, max=2, hidden=True)]
HiddenDefects = Annotated[Path | None, typer.Option(hidden=True)]
Symmetry = Annotated[str | None, typer.Option(metavar="GROUP", help="Point group: C1, Cn, Dn, T, O, I. Default: C1.")]
Diameter = Annotated[
    float | None, typer.Option(metavar="A", help="Largest diameter of the particle. Default: measured.")
]
InitialMap = Annotated[Path | None, typer.Option(metavar="MRC", help="Start refinement from this map.")]
Out = Annotated[Path, typer.Option(metavar="SESSION", help="Folder of the session.")]
SessionFolder = Annotated[Path, typer.Argument(metavar="SESSION", help="Folder of the session.")]


Workers = Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes. Default: one a processor.")]


def stated_acquisition(
    pixel_size: float | None, voltage: float | None, cs: float | None, amplitude_contrast: float | None
) -> Acquisition:
    """Return what the options say of the microscope; amplitude contrast is the usual one where it is not given."""
    from scherzer.session.acquisition import Acquisition

    usual = Acquisition().amplitude_contrast if amplitude_contrast is None else amplitude_contrast
    return Acquisition(pixel_size_A=pixel_size, voltage_kV=voltage, cs_mm=cs, amplitude_contrast=usual)
