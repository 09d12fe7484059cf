"""``scherzer ctf``: of a session, or of given power spectra."""

from __future__ import annotations

import sys
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scherzer.cli import options
from scherzer.cli.screen import BAD_INPUT, Screen, plain_errors
from scherzer.formats.errors import BadInput

if TYPE_CHECKING:
    from scherzer.physics.optics import Optics


def ctf(
    session: Annotated[list[Path] | None, typer.Argument(metavar="SESSION", help="Folder of the session.")] = None,
    power_spectrum: Annotated[
        list[Path] | None, typer.Option(metavar="FILE...", help="Instead: fit these spectra (MRC).")
    ] = None,
    pixel_size: options.PixelSize = None,
    voltage: options.Voltage = None,
    cs: options.Cs = None,
    amplitude_contrast: options.AmplitudeContrast = None,
    fit_phase_shift: Annotated[bool, typer.Option("--fit-phase-shift", help="Of a phase plate.")] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="One line a spectrum; - for the screen.")] = None,
    workers: options.Workers = None,
) -> None:
    """Fit defocus and astigmatism, and how far the fit holds (A).

    Example: scherzer ctf apo; scherzer ctf --power-spectrum *.mrc --voltage 200 --cs 1.4 --csv -
    """
    with plain_errors():
        names = session or []
        if power_spectrum:
            # The shell gives all but the first of `--power-spectrum *.mrc` as arguments; a quoted pattern stays one.
            files = [
                Path(name) for given in (*power_spectrum, *names) for name in sorted(glob(str(given))) or [str(given)]
            ]
            _fit_files(files, _optics(pixel_size, voltage, cs, amplitude_contrast), fit_phase_shift, csv)
            return
        unused = (pixel_size, voltage, cs, amplitude_contrast, csv)
        if fit_phase_shift or any(value is not None for value in unused):
            raise BadInput("scherzer ctf", "these options are for spectra", "give --power-spectrum, or session.yaml")
        if len(names) != 1:
            raise BadInput("scherzer ctf", f"{len(names)} sessions given", "give the folder of one session")
        from scherzer.session.chain import run_one
        from scherzer.session.prepare import reopen

        run_one("ctf", *reopen(names[0], {}), workers, Screen())


def _optics(
    pixel_size: float | None, voltage: float | None, cs: float | None, amplitude_contrast: float | None
) -> Optics:
    """Return the optics of spectra; a pixel size of 0 stands for that of their headers."""
    from scherzer.physics.optics import Optics
    from scherzer.session.acquisition import QUANTITIES, check_ranges

    for name, value in (("voltage_kV", voltage), ("cs_mm", cs)):
        if value is None:
            quantity = QUANTITIES[name]
            raise BadInput(quantity.meaning, "not given", f"give {quantity.option} in {quantity.unit}")
    known = options.stated_acquisition(pixel_size, voltage, cs, amplitude_contrast)
    check_ranges(known)
    return Optics(pixel_size or 0.0, voltage or 0.0, cs or 0.0, known.amplitude_contrast)


def _fit_files(files: list[Path], optics: Optics, fit_phase_shift: bool, table: Path | None) -> None:
    """Fit spectra one by one; a bad one costs that one. Exit code 2 when there is none that could be fitted."""
    from scherzer.formats.atomic import write_text
    from scherzer.micrographs.ctf_files import COLUMNS, csv_cells, csv_line, fit_spectrum_file
    from scherzer.micrographs.ctf_fit import CtfSettings

    lines = [csv_line(COLUMNS)]
    to_screen = table is None or str(table) == "-"
    if to_screen:
        print(lines[0], flush=True)
    for file in files:
        try:
            found = fit_spectrum_file(file, optics, CtfSettings(fit_phase_shift=fit_phase_shift))
        except BadInput as error:
            print(f"scherzer: {error}", file=sys.stderr)
            continue
        if not found.reliable:
            print(f"scherzer: {file}: no reliable fit: {found.problem}", file=sys.stderr)
        lines.append(csv_line(csv_cells(file, found)))
        if to_screen:
            print(lines[-1], flush=True)
    if table is not None and not to_screen:
        write_text(table, "\n".join(lines) + "\n")
    if len(lines) == 1:
        raise typer.Exit(BAD_INPUT)
