"""The folder of one run over a table of particles: never another run's, and complete or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from logging import Logger
from pathlib import Path
from typing import Any

from scherzer.formats.atomic import write_text
from scherzer.formats.errors import BadInput
from scherzer.session.folder import LOG_FILE, Session, create_session, locked, logged
from scherzer.session.keys import key_of, plain
from scherzer.session.settings import software

RUN_FILE = "run.json"
OTHER_FOLDER = "choose another folder with --out"


@dataclass(frozen=True)
class RunFolder:
    """Where a run's files go, and what run they are of.

    Attributes
    ----------
    root : Path
        The folder.
    command : str
        Name of the command.
    described : mapping
        Inputs and settings.
    files : sequence of str
        What a complete run has written.
    notes : tuple of str
        What a person should know of the run.
    """

    root: Path
    command: str
    described: Mapping[str, Any]
    files: Sequence[str]
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Two runs of one key give the same files."""
        return key_of(self.command, self.described)

    def finished(self) -> RunFolder | None:
        """Return the finished run of the same key that the folder holds; None where it can be begun or continued.

        Raises
        ------
        BadInput
            If the folder holds anything else.
        """
        if not self.root.is_dir():
            return None
        present = {entry.name for entry in self.root.iterdir()} - {".lock", LOG_FILE}
        if not present:
            return None
        try:
            record = json.loads((self.root / RUN_FILE).read_text(encoding="utf-8"))
            command, key, complete, notes = (record[name] for name in ("command", "key", "complete", "notes"))
        except (OSError, ValueError, KeyError, TypeError):
            raise BadInput(self.root, "holds other files, which are not overwritten", OTHER_FOLDER) from None
        if key != self.key and (complete or present.intersection(self.files)):
            raise BadInput(self.root, f"holds another run of 'scherzer {command}'", OTHER_FOLDER)
        whole = complete and key == self.key and present.issuperset(self.files)
        return replace(self, notes=tuple(notes)) if whole else None

    @contextmanager
    def opened(self) -> Iterator[tuple[Session, Logger]]:
        """Make the folder, keep others out of it and say whose it is; the run is complete when the block ends well."""
        session = create_session(self.root)
        with locked(session), logged(session) as log:
            self._write(complete=False)
            yield session, log

    def complete(self) -> None:
        """Say that all files are written."""
        self._write(complete=True)

    def _write(self, complete: bool) -> None:
        record = {
            "command": self.command,
            "complete": complete,
            "software": software(),
            **plain(self.described),
            "notes": list(self.notes),
            "key": self.key,
        }
        write_text(self.root / RUN_FILE, json.dumps(record, indent=1) + "\n")
