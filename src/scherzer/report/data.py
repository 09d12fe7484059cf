"""What the report needs from a session's folder: results, settings, tables, and where the images lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from scherzer.formats.errors import BadInput
from scherzer.formats.star import read_star
from scherzer.report.tables import Missing, read_blocks
from scherzer.session.results import NUMBERS, TEXTS

Record = Mapping[str, Any]

# From the last stage that adds columns to the first.
_MICROGRAPH_STAGES = ("pick", "contrast", "ctf", "motion", "import")

_STAR_TO_RESULT = {
    "rlnMicrographName": "name",
    "sczState": "state",
    "sczReason": "reason",
    **{label: key for key, label, _ in NUMBERS},
    **{label: key for key, label in TEXTS.items()},
}


@dataclass(frozen=True)
class Micrograph:
    """One exposure: its numbers as in ``results.json`` and where its images lie (None where the stage wrote none).

    ``table_name`` is its ``rlnMicrographName``, by which the tables of particles know it.
    """

    record: Record
    table_name: str
    image: Path | None
    ctf_image: Path | None
    ctf_profile: Path | None

    @property
    def name(self) -> str:
        """Name without folder and suffix."""
        return Path(str(self.record.get("name", ""))).stem

    @property
    def state(self) -> str:
        """Accepted, rejected or failed."""
        return str(self.record.get("state") or "accepted")

    @property
    def contrast(self) -> str | None:
        """Contrast class, or None where it was not classified."""
        contrast = self.record.get("contrast")
        label = contrast.get("label") if isinstance(contrast, Mapping) else contrast
        return str(label) if label else None

    @property
    def defocus_um(self) -> float | None:
        """Mean underfocus in micrometres, or None where no CTF was fitted."""
        u, v = self.record.get("defocus_u_A"), self.record.get("defocus_v_A")
        if not isinstance(u, int | float) or not isinstance(v, int | float) or u != u or v != v:
            return None
        return (u + v) / 2e4


@dataclass(frozen=True)
class ClassGallery:
    """The 2D classes of one group of micrographs: RELION model table and stack of averages."""

    group: str
    classes: pd.DataFrame
    stack: Path


@dataclass(frozen=True)
class MapEntry:
    """One refined map: its numbers as in ``results.json`` and its files that exist, by role."""

    record: Record
    files: Mapping[str, Path]

    @property
    def subset(self) -> str:
        """Name of the subset of particles."""
        return str(self.record.get("subset", "map"))


@dataclass(frozen=True)
class SessionData:
    """Everything the report reads, gathered once.

    Attributes
    ----------
    results, settings : mapping
        ``results.json`` and ``session.yaml``; empty where they are missing.
    micrographs, maps, galleries : list
        Empty where their stage has not been run; ``missing`` then holds the reason under the stage's name.
    picks : pandas.DataFrame or None
        ``rlnMicrographName``, ``rlnCoordinateX/Y``.
    kept : pandas.DataFrame or None
        The particles of kept 2D classes, the same columns.
    abinitio : Path or None
        The ab initio map.
    missing : mapping
        Stage to the reason why nothing of it can be shown.
    """

    root: Path
    results: Record
    settings: Record
    micrographs: list[Micrograph]
    picks: pd.DataFrame | None
    kept: pd.DataFrame | None
    galleries: list[ClassGallery]
    abinitio: Path | None
    maps: list[MapEntry]
    missing: Mapping[str, str]

    def section(self, key: str) -> Any:
        """Return one part of ``results.json``, or an empty mapping."""
        return self.results.get(key) or {}


def gather(root: Path) -> SessionData:
    """Read a session's folder; what is not there is noted with its reason, never an error."""
    missing: dict[str, str] = {}
    results = _results(root, missing)
    micrographs = _micrographs(root, results, missing)
    picks = _particles(root, "pick", missing)
    return SessionData(
        root=root,
        results=results,
        settings=_settings(root),
        micrographs=micrographs,
        picks=picks,
        kept=_kept_particles(root, missing),
        galleries=_galleries(root, missing),
        abinitio=_abinitio(root, missing),
        maps=_maps(root, results, missing),
        missing=missing,
    )


def not_run(stage: str, file: str) -> str:
    """Return the reason for a stage whose output is not there."""
    return f"the stage '{stage}' has not been run (no {file})"


def _results(root: Path, missing: dict[str, str]) -> Record:
    try:
        results = json.loads((root / "results.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        missing["study"] = not_run("study", "results.json")
    except (OSError, ValueError) as error:
        missing["study"] = f"results.json cannot be read ({error})"
    else:
        if isinstance(results, dict):
            return results
        missing["study"] = "results.json does not hold results"
    return {}


def _settings(root: Path) -> Record:
    try:
        settings = yaml.safe_load((root / "session.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _micrographs(root: Path, results: Record, missing: dict[str, str]) -> list[Micrograph]:
    rows = _latest_micrographs(root, missing)
    for stage in ("ctf", "contrast"):
        if not (root / stage / "micrographs.star").is_file():
            missing[stage] = not_run(stage, f"{stage}/micrographs.star")
    records = results.get("micrographs") or [_record_of(row) for row in _rows(rows)]
    if len(records) == len(rows):
        # results.json keeps the table's order; two folders may hold exposures of one name.
        return [_located(root, record, row) for record, row in zip(records, _rows(rows), strict=True)]
    by_stem = dict(zip(_stems(rows), _rows(rows), strict=True))
    return [_located(root, record, by_stem.get(Path(str(record.get("name", ""))).stem, {})) for record in records]


def _latest_micrographs(root: Path, missing: dict[str, str]) -> pd.DataFrame:
    for stage in _MICROGRAPH_STAGES:
        path = root / stage / "micrographs.star"
        if path.is_file():
            try:
                return read_star(path).rows
            except BadInput as error:
                missing["import"] = error.problem
    missing.setdefault("import", not_run("import", "import/micrographs.star"))
    return pd.DataFrame()


def _rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _stems(rows: pd.DataFrame) -> list[str]:
    """Return the session's own names, or the files' names without ending where a table has none."""
    if "sczName" in rows:
        return [str(name) for name in rows["sczName"]]
    for column in ("rlnMicrographName", "rlnMicrographMovieName"):
        if column in rows:
            return [Path(str(name)).stem for name in rows[column]]
    return [""] * len(rows)


def _record_of(row: Record) -> Record:
    """Return a STAR row under the names of ``results.json``."""
    known = {name: value for name, value in row.items() if not isinstance(value, float) or value == value}
    record: dict[str, Any] = {key: known[column] for column, key in _STAR_TO_RESULT.items() if column in known}
    record.setdefault("name", row.get("rlnMicrographMovieName", ""))
    if row.get("sczContrastClass"):
        record["contrast"] = {"label": row["sczContrastClass"], "why": known.get("sczContrastWhy", "")}
    return record


def _located(root: Path, record: Record, row: Record) -> Micrograph:
    stem = Path(str(record.get("name", ""))).stem
    image = _existing(root, row.get("rlnMicrographName") or record.get("name"))
    name = str(row.get("rlnMicrographName") or record.get("name", ""))
    return Micrograph(record, name, image, _existing(root, row.get("rlnCtfImage")), _profile(root, row, stem))


def _existing(root: Path, name: object) -> Path | None:
    """Return the file of a table's entry; RELION writes the format after a colon, as in ``name.ctf:mrc``."""
    if not isinstance(name, str) or not name:
        return None
    path = root / name.removesuffix(":mrc")
    return path if path.is_file() else None


def _profile(root: Path, row: Record, stem: str) -> Path | None:
    named = _existing(root, row.get("sczCtfProfile"))
    return named or next(iter(sorted((root / "ctf").glob(f"{stem}_profile.*"))), None)


def _particles(root: Path, stage: str, missing: dict[str, str]) -> pd.DataFrame | None:
    path = root / stage / "particles.star"
    if not path.is_file():
        missing[stage] = not_run(stage, f"{stage}/particles.star")
        return None
    try:
        return read_star(path).rows
    except BadInput as error:
        missing[stage] = error.problem
        return None


def _kept_particles(root: Path, missing: dict[str, str]) -> pd.DataFrame | None:
    """Return the particles that 2D classification kept: the rows with state accepted."""
    rows = _particles(root, "class2d", missing)
    if rows is None or "rlnCoordinateX" not in rows:
        return None
    return rows[rows["sczState"] == "accepted"] if "sczState" in rows else rows


def _galleries(root: Path, missing: dict[str, str]) -> list[ClassGallery]:
    folder = root / "class2d"
    found = []
    for path in [folder / "classes.star", *sorted(folder.glob("*/classes.star"))]:
        stack = path.with_suffix(".mrcs")
        blocks = read_blocks(path) if stack.is_file() else Missing("")
        if isinstance(blocks, Missing):
            continue
        frames = [frame for frame in blocks.values() if "rlnReferenceImage" in frame]
        if frames:
            group = "" if path.parent == folder else path.parent.name
            found.append(ClassGallery(group, frames[0], stack))
    if not found:
        missing["class2d"] = not_run("class2d", "class2d/classes.star with class2d/classes.mrcs")
    return found


def _abinitio(root: Path, missing: dict[str, str]) -> Path | None:
    path = root / "abinitio" / "map.mrc"
    if path.is_file():
        return path
    missing["abinitio"] = not_run("abinitio", "abinitio/map.mrc")
    return None


def _maps(root: Path, results: Record, missing: dict[str, str]) -> list[MapEntry]:
    records = results.get("maps") or []
    if not records:
        records = [{"subset": path.parent.name} for path in sorted((root / "refine").glob("*/map.mrc"))]
    if not records:
        missing["refine"] = not_run("refine", "refine/*/map.mrc")
    return [MapEntry(record, _map_files(root, record)) for record in records]


def _map_files(root: Path, record: Record) -> dict[str, Path]:
    """Return the files of a map: those the record names, then those of the stage's folder."""
    folder = root / "refine" / str(record.get("subset", ""))
    files = {role: folder / f"{role}.mrc" for role in ("map", "half1", "half2", "mask", "sharpened")}
    files["fsc"] = folder / "fsc.star"
    named = record.get("files")
    if isinstance(named, Mapping):
        files |= {str(role): root / str(name) for role, name in named.items() if name}
    return {role: path for role, path in files.items() if path.is_file()}
