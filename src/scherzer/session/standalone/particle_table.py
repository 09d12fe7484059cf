"""A RELION 3.1 or later particles.star: what must be in it, and what of it is not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scherzer.formats.errors import BadInput
from scherzer.formats.star import StarTable, read_star
from scherzer.session.acquisition import QUANTITIES
from scherzer.session.stages.particle_sets import PREMULTIPLIED, premultiplied

EXPORT = "export the particles with their CTF from RELION 3.1 or later"
CTF_LABELS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
PARTICLE_LABELS = ("rlnImageName", "rlnOpticsGroup", *CTF_LABELS)
# Label, and whose range and unit hold for it.
OPTICS_RANGES = (
    ("rlnImagePixelSize", "pixel_size_A"),
    ("rlnVoltage", "voltage_kV"),
    ("rlnSphericalAberration", "cs_mm"),
    ("rlnAmplitudeContrast", "amplitude_contrast"),
)
OPTICS_LABELS = ("rlnOpticsGroup", "rlnImageSize", *(label for label, _ in OPTICS_RANGES))
# Aberrations beyond defocus, astigmatism and spherical aberration, and decays; they matter beyond some 4 A.
IGNORED = (
    "rlnBeamTiltX",
    "rlnBeamTiltY",
    "rlnOddZernike",
    "rlnEvenZernike",
    "rlnMagMat00",
    "rlnMagMat01",
    "rlnMagMat10",
    "rlnMagMat11",
    "rlnMtfFileName",
    "rlnCtfBfactor",
    "rlnCtfScalefactor",
)
# What these say where they change nothing.
NEUTRAL = {"rlnMagMat00": 1.0, "rlnMagMat11": 1.0, "rlnCtfScalefactor": 1.0}


def read_particle_table(path: Path) -> StarTable:
    """Read a table of particles and the optics groups that they use.

    Raises
    ------
    BadInput
        If something that is needed is missing, is no number, or differs between groups where it must not.
    """
    table = read_star(path)
    if table.kind != "particles":
        raise BadInput(path, f"lists {table.kind}, not particles", "give a particles.star")
    table = table.accepted()
    if not len(table):
        raise BadInput(path, "lists no particles", "give a table with particles")
    _require(path, table.rows, PARTICLE_LABELS, "the table of particles")
    _require(path, table.optics, OPTICS_LABELS, "the optics block")
    for label in CTF_LABELS:
        _require_numbers(path, table.rows, label)
    used = table.optics[table.optics["rlnOpticsGroup"].isin(table.rows["rlnOpticsGroup"])].reset_index(drop=True)
    unknown = sorted(set(table.rows["rlnOpticsGroup"]) - set(used["rlnOpticsGroup"]))
    if unknown:
        raise BadInput(path, f"optics group {unknown[0]} is in no optics block", EXPORT)
    if used["rlnOpticsGroup"].duplicated().any():
        raise BadInput(path, "an optics group is listed twice", EXPORT)
    _check_optics(path, used)
    return replace(table, optics=used)


def _check_optics(path: Path, optics: pd.DataFrame) -> None:
    for label, name in OPTICS_RANGES:
        _require_numbers(path, optics, label)
        quantity = QUANTITIES[name]
        for value in optics[label]:
            if not quantity.low <= value <= quantity.high:
                problem = f"{label} {value:g} is not a likely {quantity.meaning}"
                remedy = f"it is in {quantity.unit}, between {quantity.low:g} and {quantity.high:g}"
                raise BadInput(path, problem, remedy)
    for label, what in (("rlnImagePixelSize", "pixel size"), ("rlnImageSize", "image size")):
        values = sorted(set(optics[label]))
        if len(values) > 1:
            found = ", ".join(f"{value:g}" for value in values)
            raise BadInput(path, f"its optics groups differ in {what} ({found})", "rescale them to one in RELION")
    if _any(optics, PREMULTIPLIED) and not premultiplied(optics):
        raise BadInput(path, "only some optics groups were multiplied by their CTF", "extract all of them alike")
    if "rlnImageDimensionality" in optics and (optics["rlnImageDimensionality"] != 2).any():
        raise BadInput(path, "its particles are not 2D images", "give images of single particles, not subtomograms")


def _any(table: pd.DataFrame, label: str) -> bool:
    return label in table and bool((pd.to_numeric(table[label], errors="coerce").fillna(0) != 0).any())


def _require(path: Path, table: pd.DataFrame, labels: Sequence[str], where: str) -> None:
    missing = [label for label in labels if label not in table]
    if missing:
        raise BadInput(path, f"{where} has no {', '.join(missing)}", EXPORT)


def _require_numbers(path: Path, table: pd.DataFrame, label: str) -> None:
    values = pd.to_numeric(table[label], errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise BadInput(path, f"{label} of row {bad[0] + 1} is not a number ({table[label].iloc[bad[0]]})", EXPORT)


def ignored_labels(table: StarTable) -> list[str]:
    """Return the labels of a table that hold something which is not used here."""
    return [label for label in IGNORED if any(_says_something(part, label) for part in (table.optics, table.rows))]


def _says_something(table: pd.DataFrame, label: str) -> bool:
    if label not in table:
        return False
    numbers: pd.Series[Any] = pd.to_numeric(table[label], errors="coerce")
    if numbers.isna().all():
        return bool((table[label].astype(str).str.strip(" []0.,") != "").any())  # a name, or a list in brackets
    return bool((numbers.fillna(0) != NEUTRAL.get(label, 0.0)).any())
