"""What lies among exposures and is none: sums beside their movies, gain references, thumbnails, overviews."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from scherzer.formats.errors import BadInput
from scherzer.formats.movies import exposure_stem, is_exposure, open_exposure

# Folders of EPU and SerialEM that hold views at other magnifications, and of sessions and programs.
_NO_DATA_FOLDERS = {"foilholes", "metadata", "atlas", "thumbnails", "templates"}
# SerialEM's CountRef and SuperRef, EPU's GainReference, and what facilities call theirs.
_REFERENCE = re.compile(
    r"((^|[_\W])gain|(?<=[a-z])(?-i:Gain)|(^|[_\W])(countref|superref|defects?|dark(?=[_-]?ref)))"
    r"([_-]?ref(erence)?)?s?([_\W\d]|$)",
    re.IGNORECASE,
)
# EPU's views of the grid, of squares and of holes; its exposures have _Data_ in the name.
_OVERVIEW = re.compile(r"^(gridsquare_\d+(_|$)|tile_\d+-|atlas_\d|foilhole_\d+_\d+_\d+$)", re.IGNORECASE)
_THUMBNAIL = re.compile(r"(thumb(nail)?|preview)$", re.IGNORECASE)
_EPU_MOVIE = re.compile(r"[_-](fractions|eer)$", re.IGNORECASE)
# What motion correction appends to the name of its sums.
_SUM = re.compile(
    r"([_-](aligned|align|corrected|patch|rigid|sum|avg|mic|no?dw|dw|evn|odd|doseweighted))+$", re.IGNORECASE
)

_WORDS = {
    "sum": ("sum beside its movie", "sums beside their movies"),
    "reference": ("gain reference or defect map", "gain references or defect maps"),
    "overview": ("overview image", "overview images"),
    "thumbnail": ("thumbnail", "thumbnails"),
    "other": ("file of another kind", "files of other kinds"),
}


def is_no_data_folder(folder: Path) -> bool:
    """Return whether exposures are not looked for in a folder: hidden ones, EPU's overviews, sessions of scherzer."""
    name = folder.name.lower()
    return name.startswith(".") or name in _NO_DATA_FOLDERS or (folder / "session.yaml").is_file()


def without_others(files: Sequence[Path], gain: str | None) -> tuple[list[Path], list[str]]:
    """Return the exposures among files, and in words what the others are.

    Parameters
    ----------
    files : sequence of Path
        Of any kind.
    gain : str or None
        The gain reference that was given.

    Notes
    -----
    Of ``x_Fractions.tiff`` and ``x.mrc`` the latter is EPU's sum. Of two files that differ in their endings only, those
    of one frame are sums where the other has several. ``x_aligned.mrc`` or ``x_DW.mrc`` is a sum where ``x`` is there
    too. Nothing is left out for its name alone where it is all there is of an exposure.
    """
    reasons: dict[str, list[Path]] = defaultdict(list)
    kept: list[Path] = []
    real_gain = None if gain is None else os.path.realpath(Path(gain).expanduser())
    for file in files:
        stem = exposure_stem(file)
        if not is_exposure(file):
            reasons["other"].append(file)
        elif os.path.realpath(file) == real_gain or _REFERENCE.search(stem):
            reasons["reference"].append(file)
        elif _OVERVIEW.search(stem):
            reasons["overview"].append(file)
        elif _THUMBNAIL.search(stem):
            reasons["thumbnail"].append(file)
        else:
            kept.append(file)
    sums = _sums(kept)
    reasons["sum"] += sums
    gone = set(sums)
    words = [_in_words(reason, reasons[reason]) for reason in _WORDS if reasons[reason]]
    return [file for file in kept if file not in gone], words


def _sums(files: Sequence[Path]) -> list[Path]:
    by_stem: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for file in files:
        by_stem[file.parent, exposure_stem(file).lower()].append(file)
    of_movies = {(folder, _EPU_MOVIE.sub("", stem)) for folder, stem in by_stem if _EPU_MOVIE.search(stem)}
    sums: list[Path] = []
    for (folder, stem), alike in by_stem.items():
        bare = _SUM.sub("", stem)
        if (folder, stem) in of_movies or (bare != stem and ((folder, bare) in by_stem or (folder, bare) in of_movies)):
            sums += alike
        elif len(alike) > 1:
            frames = [_frame_count(file) for file in alike]
            if max(frames) > 1:
                sums += [file for file, count in zip(alike, frames, strict=True) if count == 1]
    return sums


def _frame_count(file: Path) -> int:
    try:
        return open_exposure(file).frame_count
    except BadInput:
        return 0  # it is named with its reason when it is imported


def _in_words(reason: str, found: Sequence[Path]) -> str:
    names = ", ".join(file.name for file in found[:2]) + (", ..." if len(found) > 2 else "")
    return f"{len(found)} {_WORDS[reason][len(found) > 1]} ({names})"
