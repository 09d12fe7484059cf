"""A name for every exposure, which names its files in every stage."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scherzer.formats.movies import exposure_stem

# RELION's image names have @ before a path; quotes and spaces need quoting in STAR.
_UNSAFE = re.compile(r"[^\w.+-]+")


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each exposure: its file name without ending, lengthened by its folders where two are alike.

    Names that differ in capitals only count as alike, for some file systems take them for the same.
    """
    names = [_safe(exposure_stem(path)) for path in paths]
    for depth in range(1, max((len(path.parts) for path in paths), default=0)):
        counts = Counter(name.casefold() for name in names)
        if len(counts) == len(names):
            break
        names = [
            name
            if counts[name.casefold()] == 1
            else _safe("_".join([*path.parts[-1 - depth : -1], path.name.replace(".", "_")]))
            for path, name in zip(paths, names, strict=True)
        ]
    counts = Counter(name.casefold() for name in names)
    return [name if counts[name.casefold()] == 1 else f"{name}_{number}" for number, name in enumerate(names, start=1)]


def _safe(name: str) -> str:
    return _UNSAFE.sub("_", name).lstrip(".-") or "exposure"
