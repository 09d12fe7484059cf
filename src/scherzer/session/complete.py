"""Which stages are complete: a stage's key is written when everything it makes is on disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from scherzer.formats.atomic import write_text
from scherzer.formats.errors import BadInput
from scherzer.session.folder import Session

KEY_FILE = ".key"
# What a stage makes as a whole, besides the files of its items and the folders of its maps.
TABLES = (
    "micrographs.star",
    "particles.star",
    "candidates.star",
    "diameter.json",
    "classes.star",
    "classes.mrcs",
    "map.mrc",
)


def key_of_stage(session: Session, stage: str) -> str:
    """Return the key of a complete stage, on which the stages after it depend.

    Raises
    ------
    BadInput
        If the stage is not complete.
    """
    if not has_run(session, stage):
        remedy = f"run 'scherzer {stage} {session.root}' first"
        raise BadInput(session.stage(stage), "this stage is not complete", remedy)
    return (session.stage(stage) / KEY_FILE).read_text(encoding="utf-8")


def has_run(session: Session, stage: str) -> bool:
    """Return whether a stage is complete, with whatever settings."""
    return (session.stage(stage) / KEY_FILE).is_file()


def is_complete(session: Session, stage: str, key: str, files: Sequence[Path]) -> bool:
    """Return whether a stage was completed with this key and its files are still there."""
    return has_run(session, stage) and key_of_stage(session, stage) == key and all(file.is_file() for file in files)


def begin(session: Session, stage: str) -> None:
    """Mark a stage as incomplete before its files change."""
    (session.stage(stage) / KEY_FILE).unlink(missing_ok=True)


def complete(session: Session, stage: str, key: str) -> None:
    """Mark a stage as complete."""
    write_text(session.stage(stage) / KEY_FILE, key)


def retire(session: Session, stage: str) -> None:
    """Take away what a stage made under other circumstances, so that nothing stale is read or shown.

    Results of single items stay: they are told apart by their keys.
    """
    folder = session.stage(stage)
    begin(session, stage)
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and not entry.name.startswith("."):
            shutil.rmtree(entry)
        elif entry.name in TABLES:
            entry.unlink()
