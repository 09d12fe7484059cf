"""All settings of a session: what the user states and one frozen dataclass a stage, kept in session.yaml."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from scherzer.formats.atomic import write_text
from scherzer.formats.errors import BadInput
from scherzer.maps.settings import AbInitioSettings, RefineSettings
from scherzer.micrographs.condition import ConditionSettings
from scherzer.micrographs.ctf_estimation import CtfSettings
from scherzer.micrographs.motion import MotionSettings
from scherzer.particles.class_selection import ClassSelectionSettings
from scherzer.particles.classification2d import Class2DSettings
from scherzer.particles.extraction import ExtractSettings
from scherzer.particles.picking import PickSettings
from scherzer.session.acquisition import QUANTITIES, Acquisition, check_ranges
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
    """

    inputs: tuple[str, ...] = ()
    acquisition: Acquisition = field(default_factory=Acquisition)
    motion: MotionSettings = field(default_factory=MotionSettings)
    ctf: CtfSettings = field(default_factory=CtfSettings)
    condition: ConditionSettings = field(default_factory=ConditionSettings)
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
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return SessionSettings()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())[:150]
        raise BadInput(path, f"cannot be read ({problem})", "mend it, or delete it to use the defaults") from None
    content = {} if content is None else content
    if not isinstance(content, Mapping):
        raise BadInput(path, "holds no settings", "mend it, or delete it to use the defaults")
    settings = {name: value for name, value in content.items() if name != "software"}
    validated: SessionSettings = _validated(SessionSettings, settings, path)
    return validated


def write_settings(settings: SessionSettings, root: Path) -> None:
    """Write ``session.yaml``, if it would change."""
    content = {"software": software(), **_plain(asdict(settings))}
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
        Fields of `Acquisition`; None is "not stated".
    """
    given = {name: value for name, value in stated.items() if value is not None}
    for name in ("gain", "initial_map"):
        if name in given:
            given[name] = str(Path(given[name]).expanduser().absolute())
    acquisition = replace(settings.acquisition, **given)
    check_ranges(acquisition)
    return replace(settings, acquisition=acquisition)


def _validated(kind: type[Any], content: Mapping[str, Any], path: Path, prefix: str = "") -> Any:
    """Build a settings dataclass from a mapping, section by section."""
    hints = get_type_hints(kind)
    known = [entry.name for entry in fields(kind)]
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name not in known:
            raise BadInput(path, f"unknown setting {prefix}{name}", f"known here: {', '.join(known)}")
        if is_dataclass(hints[name]) and isinstance(hints[name], type):
            if not isinstance(value, Mapping):
                raise BadInput(path, f"{prefix}{name} is not a section", "give its settings below it, indented")
            values[name] = _validated(hints[name], value, path, f"{prefix}{name}.")
        else:
            values[name] = _converted(hints[name], value, path, f"{prefix}{name}")
    try:
        return kind(**values)
    except ValueError as error:
        raise BadInput(path, f"{prefix.rstrip('.')}: {error}", "mend it") from None


def _converted(hint: Any, value: Any, path: Path, name: str) -> Any:
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        field_name = name.rsplit(".", 1)[-1]
        unit = f", in {QUANTITIES[field_name].unit}" if field_name in QUANTITIES else ""
        raise BadInput(path, f"{name} is {value!r} ({message.lower()})", f"give {name}{unit}") from None


def _plain(value: Any) -> Any:
    """Return a value as YAML's safe writer knows it."""
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
