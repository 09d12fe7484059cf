"""Headings and units of the tables' columns, with RELION's label where RELION has one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scherzer.report.words import NOT_KNOWN, bounds_of, brief, method_of, number_of

A = "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}"
UM = "\N{MICRO SIGN}m"


@dataclass(frozen=True)
class Column:
    """How one key of ``results.json`` is shown.

    Attributes
    ----------
    heading, unit, label : str
        Words, the unit on the page, RELION's (or scherzer's) STAR label.
    scale : float
        From the unit of the key to the unit on the page.
    decimals : int or None
        Fixed number of decimals, so that a column lines up.
    """

    heading: str
    unit: str = ""
    label: str = ""
    scale: float = 1.0
    decimals: int | None = None


COLUMNS = {
    "name": Column("micrograph", label="rlnMicrographName"),
    "state": Column("state", label="sczState"),
    "reason": Column("reason", label="sczReason"),
    "defocus_u_A": Column("underfocus U", UM, "rlnDefocusU", 1e-4, 2),
    "defocus_v_A": Column("underfocus V", UM, "rlnDefocusV", 1e-4, 2),
    "defocus_angle_deg": Column("angle of U", "°", "rlnDefocusAngle", 1.0, 0),
    "ctf_fit_resolution_A": Column("CTF fit to", A, "rlnCtfMaxResolution", 1.0, 1),
    "defocus_error_A": Column("error of underfocus", A, "sczDefocusError", 1.0, 0),
    "phase_shift_deg": Column("phase shift", "°", "rlnPhaseShift", 1.0, 0),
    "ctf_score": Column("CTF score", "", "rlnCtfFigureOfMerit", 1.0, 3),
    "ctf_confidence": Column("CTF confidence", "", "sczCtfConfidence", 1.0, 2),
    "film_tilt_deg": Column("tilt of the film", "°", "sczFilmTilt", 1.0, 1),
    "film_tilt_error_deg": Column("error of the tilt", "°", "sczFilmTiltError", 1.0, 1),
    "motion_total_A": Column("motion", A, "rlnAccumMotionTotal", 1.0, 1),
    "ice_ring": Column("ice ring", "", "rlnCtfIceRingDensity", 1.0, 2),
    "ice_thickness_A": Column("ice", A, "rlnMicrographIceThickness", 1.0, 0),
    "ice_thickness_relative": Column("ice beyond the thinnest, mean free paths", "", "sczIceThicknessRelative", 1.0, 2),
    "motion_note": Column("frames left out", label="sczMotionNote"),
    "note": Column("note", label="sczNote"),
    "picks": Column("picks"),
    "particles_kept": Column("kept"),
    "subset": Column("subset"),
    "group": Column("group"),
    "symmetry": Column("symmetry", label="rlnSymmetryGroup"),
    "particles": Column("particles"),
    "micrographs": Column("micrographs"),
    "draws": Column("draws"),
    "resolution_fsc143_A": Column("resolution, FSC 0.143", A, "rlnFinalResolution", 1.0, 2),
    "resolution_fsc05_A": Column("resolution, FSC 0.5", A, "", 1.0, 2),
    "bfactor_A2": Column("B-factor", f"{A}²", "rlnBfactorUsedForSharpening", 1.0, 0),
    "start": Column("started from"),
    "p_value": Column("p"),
    "separated": Column("told apart"),
    "ln_ssnr": Column("ln\N{NO-BREAK SPACE}SSNR"),
    "ln_ssnr_p_value": Column("p of ln SSNR"),
    "ln_ssnr_by_band": Column("ln SSNR in each band"),
    "draw_resolutions_A": Column("resolution of each draw", A),
    "slope_per_A2": Column("slope", f"1/{A}²"),
    "intercept_per_A2": Column("intercept", f"1/{A}²"),
    "underfocus_median_um": Column("median underfocus", UM, "", 1.0, 2),
    "ctf_fit_resolution_median_A": Column("median CTF fit", A, "rlnCtfMaxResolution", 1.0, 1),
    "probability_first_has_larger_underfocus": Column("probability that the first has the larger underfocus"),
    "smallest_um": Column("smallest", UM, "", 1.0, 2),
    "largest_um": Column("largest", UM, "", 1.0, 2),
    "overlap_fraction": Column("share within the common range", "", "", 1.0, 2),
    "d_prime": Column("detectability d'", "", "sczDetectability"),
    "contrast_why": Column("why this contrast class", label="sczContrastWhy"),
    "probability_good": Column("probability of good", "", "", 1.0, 2),
    "micrographs_needed": Column("micrographs needed", "", "", 1.0, 0),
}

# Longest suffix first, so that "_A2" is not read as "_A".
_SUFFIXES = {
    "_e_per_A2": f"e/{A}²",
    "_per_A": f"1/{A}",
    "_A2": f"{A}²",
    "_um": UM,
    "_deg": "°",
    "_nm": "nm",
    "_kV": "kV",
    "_mm": "mm",
    "_px": "px",
    "_A": A,
    "_s": "s",
}
_WORDS = {"fsc143": "FSC 0.143", "fsc05": "FSC 0.5", "bfactor": "B-factor", "ctf": "CTF", "sd": "SD", "n": "number"}


def column_of(key: str) -> Column:
    """Return how a key is shown; unlisted keys are read from their own words and unit suffix."""
    if key in COLUMNS:
        return COLUMNS[key]
    unit = ""
    stem = key
    for suffix, meaning in _SUFFIXES.items():
        if key.endswith(suffix) and len(key) > len(suffix):
            stem, unit = key[: -len(suffix)], meaning
            break
    return Column(" ".join(_WORDS.get(word, word) for word in stem.split("_")), unit)


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text : str
        What stands in it.
    note : str
        Why it, or its interval, is not known: stands beneath the table, for a reason is longer than a column.
    method : str
        How its interval was made.
    number, missing : bool
        Whether it is a number, and whether it is unknown.
    mark : str
        Letter of its note beneath the table.
    """

    text: str
    note: str = ""
    method: str = ""
    number: bool = False
    missing: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready for the page, with the notes beneath it: (mark, text), the mark empty where it holds for all."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[tuple[str, str], ...] = ()


def table_of(records: Sequence[Mapping[str, Any]], keys: Iterable[str]) -> Table:
    """Return the records as a table with these keys, in this order."""
    chosen = tuple(keys)
    return annotated(
        tuple(column_of(key) for key in chosen), tuple(tuple(cell(record, key) for key in chosen) for record in records)
    )


def annotated(columns: tuple[Column, ...], rows: tuple[tuple[Cell, ...], ...]) -> Table:
    """Return a table whose reasons and methods stand beneath it, each once."""
    cells = [entry for row in rows for entry in row]
    methods = list(dict.fromkeys(entry.method for entry in cells if entry.method))
    notes = list(dict.fromkeys(entry.note for entry in cells if entry.note))
    # One method for every interval of the table needs no marks.
    texts = [f"{NOT_KNOWN}: {note}" for note in notes] + (
        [f"interval: {m}" for m in methods] if len(methods) > 1 else []
    )
    letters = {text: chr(ord("a") + place) if place < 26 else f"a{place}" for place, text in enumerate(texts)}

    def marked(entry: Cell) -> Cell:
        found = [f"{NOT_KNOWN}: {entry.note}"] * bool(entry.note) + [f"interval: {entry.method}"] * bool(entry.method)
        return replace(entry, mark=" ".join(letters[text] for text in found if text in letters))

    common = (("", f"Intervals: {methods[0]}."),) if len(methods) == 1 else ()
    listed = tuple((letters[text], text) for text in texts)
    return Table(columns, tuple(tuple(marked(entry) for entry in row) for row in rows), (*listed, *common))


def cell(record: Mapping[str, Any], key: str) -> Cell:
    """Return one value of a record as it stands in a table; an unknown one says why."""
    column, value = column_of(key), record.get(key)
    if column.scale != 1.0:
        value = scaled(value, column.scale)
    if value is None and key in ("reason", "motion_note", "note", "contrast_why", "state", "start"):
        return Cell("")
    own = value.get("reason") if isinstance(value, Mapping) else None
    reason = str(own or record.get(f"{key}_reason") or (record.get("reason") if key != "reason" else "") or "")
    if number_of(value) is None and (value is None or isinstance(value, Mapping)):
        return Cell(NOT_KNOWN, note=reason or "not recorded", missing=True)
    text = brief(value, "", None, None if isinstance(value, int) else column.decimals)
    no_interval = isinstance(value, Mapping) and "low" in value and bounds_of(value) is None
    note = f"interval of {column.heading}, {reason or 'no reason recorded'}" if no_interval else ""
    numeric = number_of(value) is not None
    return Cell(text, note=note, method=method_of(value) if not no_interval else "", number=numeric)


def scaled(value: object, factor: float) -> object:
    """Return a number, or every number of an interval, in another unit."""
    if isinstance(value, Mapping):
        return {key: scaled(entry, factor) for key, entry in value.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value * factor
    return value
