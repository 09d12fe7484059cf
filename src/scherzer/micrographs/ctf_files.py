"""CTF fits of power spectra in files, as lines of a table."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_mrc
from scherzer.micrographs.ctf_estimation import fit_power_spectrum
from scherzer.micrographs.ctf_fit import CtfFit, CtfSettings
from scherzer.physics.optics import Optics

COLUMNS = (
    "file",
    "defocus_u_A",
    "defocus_v_A",
    "defocus_angle_deg",
    "phase_shift_deg",
    "fit_resolution_A",
    "confidence",
)


def fit_spectrum_file(
    path: Path,
    optics: Optics,
    settings: CtfSettings | None = None,
    kind: Literal["amplitude", "power"] = "amplitude",
) -> CtfFit:
    """Fit the CTF to a spectrum in an MRC file.

    Parameters
    ----------
    path : Path
        Square, zero frequency in the middle, with its background: as RELION and CTFFIND write them.
    optics : Optics
        A pixel size of 0 stands for that of the file's header.

    Raises
    ------
    BadInput
        If the file cannot be read, is not a spectrum, or has no pixel size where none is given.
    """
    stored = read_mrc(path)
    if optics.pixel_size_A == 0:
        if not stored.pixel_size_A:
            raise BadInput(path, "its header has no pixel size", "give --pixel-size in A")
        optics = replace(optics, pixel_size_A=stored.pixel_size_A)
    try:
        return fit_power_spectrum(torch.from_numpy(stored.data), optics, settings, kind)
    except ValueError as error:
        raise BadInput(path, str(error), "give a power spectrum, not an image") from None


def csv_line(cells: tuple[str, ...]) -> str:
    """Return one line of a CSV table, without its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def csv_cells(path: Path, fit: CtfFit) -> tuple[str, ...]:
    """Return the cells of a fit, in the order of `COLUMNS`; the numbers of one that is not reliable are left out."""
    confidence = f"{fit.confidence:.3f}"
    if not fit.reliable:
        return (str(path), *[""] * (len(COLUMNS) - 2), confidence)
    return (
        str(path),
        f"{fit.defocus_u_A:.1f}",
        f"{fit.defocus_v_A:.1f}",
        f"{math.degrees(fit.defocus_angle_rad):.2f}",
        f"{math.degrees(fit.phase_shift_rad):.2f}",
        f"{fit.fit_resolution_A:.2f}",
        confidence,
    )
