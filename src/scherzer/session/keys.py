"""Keys of results: two runs with the same key give the same result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import scherzer


def key_of(*parts: object) -> str:
    """Return the SHA-256 of anything made of numbers, texts, paths, lists, mappings and dataclasses.

    The version of scherzer is part of every key, so that a new version repeats what an older one did.
    """
    text = json.dumps([scherzer.__version__, *(plain(part) for part in parts)], sort_keys=True, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(path: Path) -> list[object]:
    """Return what tells a file from a later version of itself: its size and time of change (None: missing)."""
    try:
        status = path.stat()
    except OSError:
        return [str(path), None, None]
    return [str(path), status.st_size, status.st_mtime_ns]


def plain(value: object) -> Any:
    """Return a value as JSON knows it; dataclasses carry their class's name, for two may have equal fields."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"class": type(value).__name__, **plain(asdict(value))}
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if hasattr(value, "item"):  # a NumPy number
        return plain(value.item())
    raise TypeError(f"{type(value).__name__} cannot be part of a key")
