"""What must hold before the first stage starts, so that nobody learns of a slip after an hour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_mrc_header
from scherzer.geometry.point_groups import parse_symmetry
from scherzer.session.acquisition import check_ranges, stated
from scherzer.session.inputs import find_exposures
from scherzer.session.settings import SessionSettings
from scherzer.session.sources import filled_in

# Without these, micrographs cannot be worked on; the diameter is measured where it is not given.
NEEDED = ("pixel_size_A", "voltage_kV", "cs_mm")


def completed(settings: SessionSettings, root: Path, needed: tuple[str, ...] = NEEDED) -> SessionSettings:
    """Fill in from metadata and headers what the user did not say, and refuse what cannot be.

    Parameters
    ----------
    settings : SessionSettings
        As stated.
    root : Path
        The session's folder, to which inputs may be relative.
    needed : tuple of str
        Numbers of the acquisition that must be known.

    Raises
    ------
    BadInput
        Naming the option that is missing or wrong.
    """
    paths = find_exposures(settings.inputs, root, settings.acquisition.gain).paths
    acquisition = filled_in(settings.acquisition, paths, settings.exposures.eer)
    acquisition = replace(acquisition, symmetry=checked_symmetry(acquisition.symmetry))
    check_ranges(acquisition)
    for name in needed:
        stated(acquisition, name)
    for option, file in (("--gain", acquisition.gain), ("--defects", acquisition.defects)):
        if file is not None and not Path(file).is_file():
            raise BadInput(option, f"no such file: {file}", "check the name")
    if acquisition.initial_map is not None:
        check_map(Path(acquisition.initial_map))
    return replace(settings, acquisition=acquisition)


def checked_symmetry(name: str) -> str:
    """Return a point group's name as scherzer writes it.

    Raises
    ------
    BadInput
        If there is none of that name.
    """
    try:
        return parse_symmetry(name)
    except ValueError:
        raise BadInput(
            "--symmetry", f"unknown point group {name!r}", "give C1, Cn, Dn, T, O or I (for example D2)"
        ) from None


def check_map(path: Path) -> None:
    """Refuse a start map that is no cube or has no voxel size.

    Raises
    ------
    BadInput
        Naming the file.
    """
    header = read_mrc_header(path)
    if len(set(header.shape)) != 1:
        raise BadInput("--initial-map", f"{path} is not a cube ({header.shape})", "give a map with three equal sides")
    if header.pixel_size_A is None:
        raise BadInput("--initial-map", f"{path} has no voxel size in its header", "set it")
