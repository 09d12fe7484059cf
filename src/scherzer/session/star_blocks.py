"""STAR files that are not tables of items: profiles, shifts, classes, FSC curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import starfile

from scherzer.formats.atomic import atomic_path


def write_blocks(blocks: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Write named blocks atomically."""
    with atomic_path(path) as temporary:
        starfile.write(dict(blocks), temporary, overwrite=True)
