"""Lists of exposures that other programs or people wrote: STAR files, and text with a path a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gemmi

from scherzer.formats.errors import BadInput
from scherzer.formats.exposure_metadata import number

STAR_SUFFIX = ".star"
TEXT_SUFFIXES = (".txt", ".lst", ".list")
LIST_SUFFIXES = (STAR_SUFFIX, *TEXT_SUFFIXES)
# A million paths have some hundred bytes each.
MAX_BYTES = 2**28
# Labels of the optics block and the field of an acquisition that each is; RELION's units are ours here.
OPTICS = {
    "_rlnMicrographOriginalPixelSize": "pixel_size_A",
    "_rlnMicrographPixelSize": "pixel_size_A",
    "_rlnVoltage": "voltage_kV",
    "_rlnSphericalAberration": "cs_mm",
    "_rlnAmplitudeContrast": "amplitude_contrast",
}


@dataclass(frozen=True)
class ExposureList:
    """Exposures named by a file.

    Attributes
    ----------
    names : tuple of str
        Paths as written, each once.
    optics : mapping of str to float
        Of ``pixel_size_A``, ``voltage_kV``, ``cs_mm`` and ``amplitude_contrast`` those that the file states with one
        value.
    """

    names: tuple[str, ...]
    optics: Mapping[str, float] = field(default_factory=dict)


def read_exposure_list(path: Path) -> ExposureList:
    """Read a STAR file's movies or micrographs, or a text file's lines (``#`` begins a comment).

    Raises
    ------
    BadInput
        If it cannot be read or names no exposures.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(path, "is too large for a list of exposures", "check what it is")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())[:120]
        raise BadInput(path, f"cannot be read as text ({problem})", "give a STAR file or a list of paths") from None
    found = _from_star(path, text) if path.suffix.lower() == STAR_SUFFIX else _from_lines(text)
    if not found.names:
        raise BadInput(path, "names no exposures", "give rlnMicrographMovieName, rlnMicrographName or a path a line")
    return found


def _from_lines(text: str) -> ExposureList:
    lines = (line.split("#")[0].strip() for line in text.removeprefix("\ufeff").splitlines())
    return ExposureList(tuple(dict.fromkeys(line for line in lines if line)))


def _from_star(path: Path, text: str) -> ExposureList:
    try:
        blocks = list(gemmi.cif.read_string(text))
    except (ValueError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:120]
        raise BadInput(path, f"not a readable STAR file ({problem})", "give a RELION STAR file") from None
    for block in blocks:
        # RELION's tables of sums also name the movie that each came from: the sum is meant.
        labels = ["_rlnMicrographMovieName", "_rlnMicrographName"]
        for label in labels if block.name == "movies" else labels[::-1]:
            names = [gemmi.cif.as_string(value) for value in block.find_values(label)]
            if names:
                optics = {} if block.name == "particles" else _optics(blocks, block.name == "movies")
                return ExposureList(tuple(dict.fromkeys(name for name in names if name)), optics)
    return ExposureList(())


def _optics(blocks: list[gemmi.cif.Block], movies: bool) -> dict[str, float]:
    """Return what all optics groups agree on."""
    found: dict[str, float] = {}
    labels = {**OPTICS}
    # Sums may be binned: theirs is another pixel size than the movies'.
    del labels["_rlnMicrographPixelSize" if movies else "_rlnMicrographOriginalPixelSize"]
    for block in blocks:
        for label, name in labels.items():
            values = {number(gemmi.cif.as_string(value)) for value in block.find_values(label)}
            value = values.pop() if len(values) == 1 else None
            if value is not None:
                found[name] = value
    return found
