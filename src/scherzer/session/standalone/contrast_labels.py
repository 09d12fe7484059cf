"""A person's labels of micrographs: a CSV file, checked before any micrograph is looked at."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from scherzer.formats.errors import BadInput
from scherzer.formats.movies import open_exposure
from scherzer.micrographs.contrast.visibility import LABELS
from scherzer.physics.optics import Optics
from scherzer.session.acquisition import QUANTITIES, Acquisition, check_ranges
from scherzer.session.sources import describe

REQUIRED = ("micrograph", "label")
NUMBERS = ("pixel_size_A", "voltage_kV", "cs_mm", "amplitude_contrast")
NAMES = ("session", "specimen")
THICKNESS = "ice_thickness_A"
KNOWN = (*REQUIRED, *NAMES, *NUMBERS, THICKNESS)
EXAMPLE = "give a CSV file whose first line is 'micrograph,label'"


@dataclass(frozen=True)
class LabelledMicrograph:
    """One row.

    Attributes
    ----------
    row : int
        Of the file; the heading is row 1.
    path : Path
        The micrograph.
    class_index : int
        0 good, 1 moderate, 2 bad.
    optics : Optics
        Of the image.
    has_ctf : bool
        Whether voltage and spherical aberration are known, so that a CTF can be fitted.
    session, specimen : str
        Empty where the file does not say.
    ice_thickness_A : float or None
        As the file says.
    """

    row: int
    path: Path
    class_index: int
    optics: Optics
    has_ctf: bool
    session: str = ""
    specimen: str = ""
    ice_thickness_A: float | None = None


@dataclass(frozen=True)
class Labels:
    """A file of labels.

    Attributes
    ----------
    path : Path
        The file.
    sha256 : str
        Of its bytes.
    micrographs : tuple of LabelledMicrograph
        In its order.
    notes : tuple of str
        What a person should know of it.
    """

    path: Path
    sha256: str
    micrographs: tuple[LabelledMicrograph, ...]
    notes: tuple[str, ...] = ()

    def where(self, row: int) -> str:
        """Name a row for a person."""
        return f"{self.path} row {row}"


def read_labels(path: Path, stated: Acquisition) -> Labels:
    """Read and check a file of labels and the headers of its micrographs.

    Parameters
    ----------
    path : Path
        CSV with columns micrograph (relative to the file, or absolute) and label (good, moderate, bad). Optional:
        session, specimen, pixel_size_A, voltage_kV, cs_mm, amplitude_contrast, ice_thickness_A.
    stated : Acquisition
        What is taken where a cell is empty or its column missing; after it come metadata beside the micrograph and its
        header.

    Raises
    ------
    BadInput
        Naming the file, the first row that cannot be used and how many more there are.
    """
    check_ranges(stated)
    content = _content(path)
    rows, ignored = _rows(path, content)
    _check_rows(path, rows)
    micrographs = _located(path, rows, stated)
    notes = [f"ignored: column {', '.join(ignored)}"] if ignored else []
    blind = sum(not micrograph.has_ctf for micrograph in micrographs)
    if blind:
        notes.append(
            f"voltage or spherical aberration of {blind} micrographs not known: no CTF fitted there, which takes two "
            "measurements from the rival; give --voltage and --cs"
        )
    return Labels(path, hashlib.sha256(content).hexdigest(), tuple(micrographs), tuple(notes))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise BadInput(path, "no such file" if not path.exists() else "cannot be read", EXAMPLE) from None


def _rows(path: Path, content: bytes) -> tuple[dict[int, dict[str, str]], list[str]]:
    """Return the rows by their number in the file, and the columns that are not known here."""
    try:
        text = content.decode("utf-8-sig")
        first = text.split("\n", 1)[0]
        # Spreadsheets write semicolons where the comma is the decimal sign.
        reader = csv.DictReader(StringIO(text), delimiter=max(",;\t", key=first.count))
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = {}
        for row in reader:
            rows[reader.line_num] = {name: (value or "").strip() for name, value in row.items() if name in KNOWN}
    except (UnicodeDecodeError, csv.Error):
        raise BadInput(path, "is no table of text", EXAMPLE) from None
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise BadInput(path, f"has no column {' and no column '.join(missing)}", EXAMPLE)
    if not rows:
        raise BadInput(path, "holds no rows", "give a micrograph and its label in each")
    return rows, [name for name in columns if name and name not in KNOWN]


def _check_rows(path: Path, rows: Mapping[int, Mapping[str, str]]) -> None:
    refuse(path, ((n, "names no micrograph", "name it") for n, row in rows.items() if not row["micrograph"]))
    known = ", ".join(LABELS)
    refuse(
        path,
        (
            (n, f"label {row['label']!r} of {row['micrograph']} is not known", f"give one of {known}")
            for n, row in rows.items()
            if row["label"].lower() not in LABELS
        ),
    )
    seen: dict[Path, int] = {}
    twice = []
    for n, row in rows.items():
        first = seen.setdefault(_file(path, row).resolve(), n)
        if first != n:
            twice.append((n, f"{row['micrograph']} stands in row {first} already", "leave one of them out"))
    refuse(path, twice)
    refuse(
        path,
        (
            (n, f"no such file {_file(path, row)}", "mend the path; it is relative to the labels' folder")
            for n, row in rows.items()
            if not _file(path, row).is_file()
        ),
    )
    present = {row["label"].lower() for row in rows.values()}
    absent = [label for label in LABELS if label not in present]
    if absent:
        raise BadInput(path, f"no micrograph is labelled {' or '.join(absent)}", "label some of each class")


def _located(path: Path, rows: Mapping[int, Mapping[str, str]], stated: Acquisition) -> list[LabelledMicrograph]:
    found, problems = [], []
    for number, row in rows.items():
        try:
            found.append(_micrograph(number, _file(path, row), row, stated))
        except BadInput as error:
            problems.append((number, _named(error, row["micrograph"]), error.remedy))
    refuse(path, problems)
    return found


def _micrograph(number: int, file: Path, row: Mapping[str, str], stated: Acquisition) -> LabelledMicrograph:
    given: dict[str, Any] = {name: _number(name, row[name]) for name in NUMBERS if row.get(name)}
    acquisition = replace(stated, **given)
    check_ranges(acquisition)
    movie = open_exposure(file)
    if movie.frame_count > 1:
        raise BadInput(file, f"is a movie of {movie.frame_count} frames", "give its aligned sum, of scherzer motion")
    said = describe(movie)
    pixel_size_A = acquisition.pixel_size_A or said.pixel_size_A or said.header_pixel_size_A
    if pixel_size_A is None:
        raise BadInput(file, "its pixel size is not known", "give --pixel-size in A, or a column pixel_size_A")
    voltage_kV = acquisition.voltage_kV or said.voltage_kV
    return LabelledMicrograph(
        number,
        file,
        LABELS.index(row["label"].lower()),  # type: ignore[arg-type]
        # Nothing is made of a voltage that is not known, as no CTF is fitted then.
        Optics(pixel_size_A, voltage_kV or 0.0, acquisition.cs_mm or 0.0, acquisition.amplitude_contrast),
        voltage_kV is not None and acquisition.cs_mm is not None,
        row.get("session", ""),
        row.get("specimen", ""),
        _number(THICKNESS, row[THICKNESS]) if row.get(THICKNESS) else None,
    )


def _file(path: Path, row: Mapping[str, str]) -> Path:
    return path.parent / Path(row["micrograph"]).expanduser()


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        unit = QUANTITIES[name].unit if name in QUANTITIES else "A"
        raise BadInput(name, f"{text!r} is not a number", f"give {name} in {unit}") from None


def _named(error: BadInput, micrograph: str) -> str:
    """Say what is wrong with a micrograph whose name stands in the row already, or with another cell of it."""
    subject = micrograph if error.where.endswith(Path(micrograph).name) else error.where
    return f"{subject}: {error.problem}"


def refuse(path: Path, problems: Iterable[tuple[int, str, str]]) -> None:
    """Refuse a file for its first bad row, and say how many more there are.

    Parameters
    ----------
    path : Path
        The file of labels.
    problems : iterable of tuple
        Row, what is wrong, what to do.

    Raises
    ------
    BadInput
        Where there is any.
    """
    listed = list(problems)
    if not listed:
        return
    row, problem, remedy = listed[0]
    others = f" (and {len(listed) - 1} more rows with such a fault)" if len(listed) > 1 else ""
    raise BadInput(f"{path} row {row}", problem + others, remedy)
