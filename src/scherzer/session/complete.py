"""Which stages are complete: a stage's key is written when everything it makes is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scherzer.formats.atomic import write_text
from scherzer.formats.errors import BadInput
from scherzer.session.folder import Session

KEY_FILE = ".key"


def key_of_stage(session: Session, stage: str) -> str:
    """Return the key of a complete stage, on which the stages after it depend.

    Raises
    ------
    BadInput
        If the stage is not complete.
    """
    path = session.stage(stage) / KEY_FILE
    if not path.is_file():
        raise BadInput(
            session.stage(stage), "this stage is not complete", f"run 'scherzer {stage} {session.root}' first"
        )
    return path.read_text(encoding="utf-8")


def is_complete(session: Session, stage: str, key: str, files: Sequence[Path]) -> bool:
    """Return whether a stage was completed with this key and its files are still there."""
    path = session.stage(stage) / KEY_FILE
    return path.is_file() and path.read_text(encoding="utf-8") == key and all(file.is_file() for file in files)


def begin(session: Session, stage: str) -> None:
    """Mark a stage as incomplete before its files change."""
    (session.stage(stage) / KEY_FILE).unlink(missing_ok=True)


def complete(session: Session, stage: str, key: str) -> None:
    """Mark a stage as complete."""
    write_text(session.stage(stage) / KEY_FILE, key)
