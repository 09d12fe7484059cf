"""From what a user types to the list of exposures."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scherzer.formats.errors import BadInput
from scherzer.formats.exposure_list import LIST_SUFFIXES, ExposureList, read_exposure_list
from scherzer.formats.movies import EXPOSURE_SUFFIXES, is_exposure
from scherzer.session.input_rules import is_no_data_folder, without_others

MOST_FOLDERS = 20_000
ENDINGS = f"they end in {', '.join(EXPOSURE_SUFFIXES)}"


@dataclass(frozen=True)
class Inputs:
    """What was found where a user pointed.

    Attributes
    ----------
    paths : tuple of Path
        Exposures: absolute, each once, in the order given.
    left_out : tuple of str
        What lay among them and was not taken, in words.
    optics : mapping of str to float
        Fields of `Acquisition` that a list of exposures states.
    """

    paths: tuple[Path, ...]
    left_out: tuple[str, ...] = ()
    optics: Mapping[str, float] = field(default_factory=dict)


def find_exposures(inputs: Sequence[str], root: Path | None = None, gain: str | None = None) -> Inputs:
    """Return the exposures meant by files, folders, quoted patterns and lists.

    A folder without exposures is searched through, such as the root of an EPU session or one with a folder for each
    square. In folders and patterns, sums beside their movies, gain references, thumbnails and overviews are left out.

    Parameters
    ----------
    inputs : sequence of str
        As typed, or as ``session.yaml`` has them.
    root : Path, optional
        The session to which relative ones are meant; the working folder when not given. What was found before and has
        gone since is still returned: it costs itself, not the session.
    gain : str, optional
        The gain reference, which is no exposure.

    Raises
    ------
    BadInput
        If one of them means nothing.
    """
    typed: list[Path] = []
    listed: list[Path] = []
    optics: dict[str, float] = {}
    for entry in inputs:
        path = (root or Path()) / Path(entry).expanduser()
        if path.name.lower().endswith(LIST_SUFFIXES) and path.is_file():
            contents = read_exposure_list(path)
            listed += _listed(path, contents)
            optics |= contents.optics
        elif root is not None and not glob.has_magic(entry) and not path.is_dir():
            listed.append(path)
        else:
            typed += _expanded(entry, path, gain)
    # One file by its name is meant, whatever the name; of many, some came along with a pattern.
    left_out: list[str] = []
    typed = _each_once(typed)
    if len(typed) > 1:
        some = len(typed)
        typed, left_out = without_others(typed, gain)
        if not typed:
            raise BadInput("INPUT", f"none of {some} files is an exposure: {', '.join(left_out)}", ENDINGS)
    paths = _each_once([*typed, *listed])
    if not paths:
        raise BadInput("INPUT", "no exposures given", "name files, folders, lists or patterns such as 'movies/*.tiff'")
    return Inputs(tuple(paths), tuple(left_out), optics)


def _each_once(paths: Sequence[Path]) -> list[Path]:
    """Return absolute paths; of two names of one file the first, which may be a link: a user knows its name."""
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(os.path.realpath(path), Path(os.path.abspath(path)))
    return list(found.values())


def _expanded(entry: str, path: Path, gain: str | None) -> list[Path]:
    if path.is_dir():
        found = _in_folder(entry, path, gain)
        if not found:
            raise BadInput(entry, "no exposures in this folder or below it", ENDINGS)
        return found
    if path.exists():
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    if not matches:
        raise BadInput(entry, "no such file or folder, and no file matches it", "check the name")
    files = [match for match in matches if match.is_file()]
    return files or [file for match in matches for file in _in_folder(entry, match, gain)]


def _in_folder(entry: str, folder: Path, gain: str | None) -> list[Path]:
    """Return the exposures in a folder or, where there are none, in those below it; links are followed once."""
    seen: set[str] = set()
    found: list[Path] = []
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        seen.add(real)
        if len(seen) > MOST_FOLDERS:
            raise BadInput(entry, f"has more than {MOST_FOLDERS} folders", "name the one that holds the exposures")
        found += [Path(place, name) for name in files if is_exposure(Path(name))]
        if Path(place) == folder and without_others(found, gain)[0]:
            break
        folders[:] = sorted(
            name
            for name in folders
            if not is_no_data_folder(Path(place, name)) and os.path.realpath(os.path.join(place, name)) not in seen
        )
    return sorted(found)


def _listed(path: Path, contents: ExposureList) -> list[Path]:
    """Find listed files from the working folder, from the list's, and from those above: RELION starts at a project."""
    here = path.absolute().parent
    places = [Path.cwd(), here, *here.parents]
    found = []
    for name in contents.names:
        wanted = Path(name).expanduser()
        candidates = [wanted] if wanted.is_absolute() else [place / wanted for place in places]
        found.append(next((candidate for candidate in candidates if candidate.exists()), candidates[0]))
    if not any(candidate.exists() for candidate in found):
        problem = f"none of the {len(found)} files that it names is there; the first is {contents.names[0]}"
        raise BadInput(path, problem, "start from the folder to which its paths are relative")
    return found
