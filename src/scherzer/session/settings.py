"""All settings of a session: what the user states and one frozen dataclass a stage, kept in session.yaml."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from scherzer.formats.atomic import write_text
from scherzer.formats.settings_yaml import plain, read_mapping, settings_from
from scherzer.maps.settings import AbInitioSettings, RefineSettings
from scherzer.micrographs.condition import ConditionSettings
from scherzer.micrographs.contrast.settings import ContrastSettings
from scherzer.micrographs.ctf_fit import CtfSettings
from scherzer.micrographs.ice_thickness import ThicknessSettings
from scherzer.micrographs.motion import MotionSettings
from scherzer.particles.class_selection import ClassSelectionSettings
from scherzer.particles.classification2d import Class2DSettings
from scherzer.particles.extraction import ExtractSettings
from scherzer.particles.picking import PickSettings
from scherzer.session.acquisition import QUANTITIES, Acquisition, check_ranges
from scherzer.session.exposure_settings import CameraSettings, ExposureSettings
from scherzer.study.settings import StudySettings

FILE_NAME = "session.yaml"
HEADING = """\
# A scherzer session: what was given and every setting as used. Change a value and run again: only what depends on it
# is repeated. Lengths are in angstrom unless a name says otherwise.
"""
PROGRAMS = ("scherzer", "torch", "numpy", "scipy")


@dataclass(frozen=True)
class SessionSettings:
    """Settings of a session; one field for each stage that has any.

    Attributes
    ----------
    inputs : tuple of str
        Paths of the exposures: relative to the session inside it, absolute outside.
    acquisition : Acquisition
        What the user states.
    exposures, camera
        How exposures are read and sorted, and what is made of the camera's pixels.
    """

    inputs: tuple[str, ...] = ()
    acquisition: Acquisition = field(default_factory=Acquisition)
    exposures: ExposureSettings = field(default_factory=ExposureSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    motion: MotionSettings = field(default_factory=MotionSettings)
    ctf: CtfSettings = field(default_factory=CtfSettings)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    condition: ConditionSettings = field(default_factory=ConditionSettings)
    ice_thickness: ThicknessSettings = field(default_factory=ThicknessSettings)
    pick: PickSettings = field(default_factory=PickSettings)
    extract: ExtractSettings = field(default_factory=ExtractSettings)
    class2d: Class2DSettings = field(default_factory=Class2DSettings)
    class_selection: ClassSelectionSettings = field(default_factory=ClassSelectionSettings)
    abinitio: AbInitioSettings = field(default_factory=AbInitioSettings)
    refine: RefineSettings = field(default_factory=RefineSettings)
    study: StudySettings = field(default_factory=StudySettings)


def read_settings(root: Path) -> SessionSettings:
    """Read ``session.yaml`` of a session's folder; defaults where there is none or where it is silent.

    Raises
    ------
    BadInput
        Naming the setting that is unknown or whose value cannot be used.
    """
    path = root / FILE_NAME
    try:
        content = read_mapping(path)
    except FileNotFoundError:
        return SessionSettings()
    settings = {name: value for name, value in content.items() if name != "software"}
    return settings_from(SessionSettings, settings, path, {name: entry.unit for name, entry in QUANTITIES.items()})


def write_settings(settings: SessionSettings, root: Path) -> None:
    """Write ``session.yaml``, if it would change."""
    content = {"software": software(), **plain(asdict(settings))}
    text = HEADING + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    path = root / FILE_NAME
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def software() -> dict[str, str]:
    """Return the versions of the programs that results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PROGRAMS}}


def with_stated(settings: SessionSettings, stated: Mapping[str, Any]) -> SessionSettings:
    """Return the settings with what the command line states in the place of what they said.

    Parameters
    ----------
    settings : SessionSettings
        As read from the session.
    stated : mapping
        Fields of `Acquisition`, and ``contrast_weights``; None is "not stated".
    """
    given = {name: value for name, value in stated.items() if value is not None}
    for name in ("gain", "defects", "initial_map", "contrast_weights"):
        if name in given:
            given[name] = str(Path(given[name]).expanduser().absolute())
    weights = given.pop("contrast_weights", settings.contrast.weights)
    settings = replace(settings, contrast=ContrastSettings(weights))
    acquisition = replace(settings.acquisition, **given)
    check_ranges(acquisition)
    return replace(settings, acquisition=acquisition)
