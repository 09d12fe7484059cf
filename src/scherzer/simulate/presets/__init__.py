"""Ready-made sessions, one YAML file each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from scherzer.formats.errors import BadInput
from scherzer.formats.settings_yaml import read_mapping, settings_from
from scherzer.simulate.settings import UNITS, SimulationSettings

_FOLDER = files(__package__)


def preset_names() -> list[str]:
    """Return the names of the presets that come with scherzer."""
    return sorted(Path(entry.name).stem for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml"))


def preset_text(name: str) -> str:
    """Return a preset as it is written, to start another from.

    Raises
    ------
    BadInput
        If there is no preset of this name.
    """
    if name not in preset_names():
        raise BadInput(name, "no such preset", f"give a file ending in .yaml, or one of {', '.join(preset_names())}")
    return (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def read_preset(preset: str | Path, changes: Mapping[str, Any] | None = None) -> SimulationSettings:
    """Read a session to simulate.

    Parameters
    ----------
    preset : str or Path
        Name of a preset, or a YAML file of the same fields. A model's path is taken from the file's folder.
    changes : mapping, optional
        Values by dotted name (``exposure.frames``) that replace the preset's.

    Raises
    ------
    BadInput
        Naming the file and the field that is unknown or cannot be simulated, with its unit.
    """
    content: dict[str, Any]
    if Path(preset).suffix.lower() in (".yaml", ".yml"):
        path = Path(preset)
        try:
            content = dict(read_mapping(path))
        except FileNotFoundError:
            raise BadInput(path, "no such file", "check the name") from None
        specimen = content.get("specimen")
        if isinstance(specimen, Mapping) and isinstance(specimen.get("model"), str):
            content["specimen"] = {**specimen, "model": path.parent / specimen["model"]}
    else:
        content = yaml.safe_load(preset_text(str(preset)))
    for name, value in (changes or {}).items():
        section, _, entry = name.rpartition(".")
        if section:
            content[section] = {**(content.get(section) or {}), entry: value}
        else:
            content[name] = value
    try:
        return settings_from(SimulationSettings, content, preset, UNITS)
    except BadInput as error:
        # A number outside its limits knows its field only.
        where = error.where if error.where == str(preset) else f"{preset}: {error.where}"
        raise BadInput(where, error.problem, error.remedy) from None
