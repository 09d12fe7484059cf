"""Settings in YAML: a mapping becomes nested frozen dataclasses, and what does not fit is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from scherzer.formats.errors import BadInput

Settings = TypeVar("Settings")


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Read a YAML file that holds a mapping; an empty file is an empty mapping.

    Raises
    ------
    FileNotFoundError
        If there is none.
    BadInput
        If it cannot be read or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())[:150]
        raise BadInput(path, f"cannot be read ({problem})", "mend it, or delete it to use the defaults") from None
    content = {} if content is None else content
    if not isinstance(content, Mapping):
        raise BadInput(path, "holds no settings", "mend it, or delete it to use the defaults")
    return content


def settings_from(
    kind: type[Settings], content: Mapping[str, Any], where: str | Path, units: Mapping[str, str], prefix: str = ""
) -> Settings:
    """Build a settings dataclass from a mapping, section by section.

    Parameters
    ----------
    kind : type
        The dataclass; fields that are dataclasses are sections.
    content : mapping
        Its values; what is missing has the default.
    where : str or Path
        Named in errors.
    units : mapping
        Unit of a field, by its name, for errors.
    prefix : str
        Sections above, such as ``microscope.``.

    Raises
    ------
    BadInput
        Naming the setting that is unknown or whose value cannot be used.
    """
    hints = get_type_hints(kind)
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name not in known:
            raise BadInput(where, f"unknown setting {prefix}{name}", f"known here: {', '.join(known)}")
        if is_dataclass(hints[name]) and isinstance(hints[name], type):
            if not isinstance(value, Mapping):
                raise BadInput(where, f"{prefix}{name} is not a section", "give its settings below it, indented")
            values[name] = settings_from(hints[name], value, where, units, f"{prefix}{name}.")
        else:
            unit = f", in {units[name]}" if name in units else ""
            values[name] = _converted(hints[name], value, where, f"{prefix}{name}", unit)
    try:
        return kind(**values)
    except ValueError as error:
        raise BadInput(where, f"{prefix.rstrip('.')}: {error}", "mend it") from None


def plain(value: Any) -> Any:
    """Return a value as YAML's safe writer knows it."""
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def _converted(hint: Any, value: Any, where: str | Path, name: str, unit: str) -> Any:
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise BadInput(where, f"{name} is {value!r} ({message.lower()})", f"give {name}{unit}") from None
