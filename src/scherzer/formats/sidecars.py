"""Which metadata file lies beside an exposure, and what it says."""

from __future__ import annotations

import re
from pathlib import Path

from scherzer.formats.epu_xml import read_epu_xml
from scherzer.formats.exposure_metadata import ExposureMetadata
from scherzer.formats.mdoc import read_mdoc

# What EPU appends to the name that a movie shares with its XML.
_EPU_ENDING = re.compile(r"[_-](fractions|eer)$", re.IGNORECASE)
_COMPRESSED = (".gz", ".bz2")
# SerialEM names an mdoc after the file that it wrote, which may have been converted since.
_MDOC_OF = (".tif", ".tiff", ".mrc", ".mrcs", ".eer", ".st")


def find_sidecar(exposure: Path) -> Path | None:
    """Return the EPU XML or SerialEM mdoc beside an exposure or beside the file that a symbolic link means.

    ``FoilHole_..._Fractions.tiff`` has ``FoilHole_....xml``; ``x.tif`` has ``x.tif.mdoc`` or ``x.mdoc``.
    """
    places = [exposure]
    if exposure.is_symlink():
        places.append(exposure.resolve())
    for place in places:
        for name in _names(place.name):
            candidate = place.with_name(name)
            if candidate.is_file():
                return candidate
    return None


def read_sidecar(sidecar: Path, exposure: Path) -> ExposureMetadata:
    """Read the metadata of an exposure.

    Raises
    ------
    BadInput
        If the file cannot be made sense of.
    """
    if sidecar.suffix.lower() == ".mdoc":
        name = exposure.resolve().name if exposure.is_symlink() else exposure.name
        return read_mdoc(sidecar, name)
    return read_epu_xml(sidecar)


def _names(name: str) -> list[str]:
    path = Path(name)
    if path.suffix.lower() in _COMPRESSED:
        path = path.with_suffix("")
    stem = path.stem
    shared = _EPU_ENDING.sub("", stem)
    names = [f"{name}.mdoc", f"{stem}.mdoc", *(f"{stem}{ending}.mdoc" for ending in _MDOC_OF), f"{shared}.xml"]
    return [*names, f"{stem}.xml"] if shared != stem else names
