"""STAR files that are not tables of items: profiles, shifts, classes, FSC curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import starfile

from scherzer.formats.atomic import atomic_path


def write_blocks(blocks: Mapping[str, pd.DataFrame | dict[str, Any]], path: Path) -> None:
    """Write named blocks atomically: tables as loops, dictionaries as single values."""
    with atomic_path(path) as temporary:
        starfile.write(dict(blocks), temporary, overwrite=True)
