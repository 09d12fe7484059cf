"""Where everything of a session lies."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scherzer.formats.errors import BadInput
from scherzer.formats.star import StarTable, TableKind, read_star, write_star

STAGES = (
    "import",
    "motion",
    "ctf",
    "contrast",
    "pick",
    "extract",
    "class2d",
    "abinitio",
    "refine",
    "study",
    "report",
)
LOG_FILE = "scherzer.log"


@dataclass(frozen=True)
class Session:
    """A session's folder.

    Paths in its tables are relative to ``root`` where the file lies inside and absolute where it lies outside, so that
    other programs can be started from ``root``.
    """

    root: Path

    def stage(self, name: str) -> Path:
        """Return the folder of a stage."""
        return self.root / name

    def table_path(self, stage: str, kind: TableKind) -> Path:
        """Return where a stage keeps its table; a table of movies lies in ``micrographs.star`` too."""
        return self.stage(stage) / f"{'particles' if kind == 'particles' else 'micrographs'}.star"

    def read(self, stage: str, kind: TableKind = "micrographs") -> StarTable:
        """Read the table of a stage.

        Raises
        ------
        BadInput
            If the stage has not been run.
        """
        path = self.table_path(stage, kind)
        if not path.is_file():
            raise BadInput(path, "no such table", f"run 'scherzer {stage} {self.root}' first")
        return read_star(path)

    def write(self, stage: str, table: StarTable) -> Path:
        """Write the table of a stage."""
        path = self.table_path(stage, table.kind)
        write_star(table, path)
        return path

    def relative(self, path: Path) -> str:
        """Return a path as the tables hold it."""
        resolved = Path(os.path.abspath(path))
        root = Path(os.path.abspath(self.root))
        return str(resolved.relative_to(root)) if resolved.is_relative_to(root) else str(resolved)

    def absolute(self, name: str) -> Path:
        """Return the file that a table's entry names."""
        return self.root / name


def open_session(root: Path) -> Session:
    """Return an existing session.

    Raises
    ------
    BadInput
        If the folder is not there or was not made by scherzer.
    """
    if not (root / "session.yaml").is_file():
        raise BadInput(
            root, "is not a session (no session.yaml in it)", "start one with 'scherzer run' or 'scherzer import'"
        )
    return Session(root)


def create_session(root: Path) -> Session:
    """Return the session in a folder that is made if it is not there.

    Raises
    ------
    BadInput
        If the folder cannot be made or written.
    """
    remedy = "choose another folder with --out"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise BadInput(root, "is a file, not a folder", remedy) from None
    except OSError as error:
        raise BadInput(root, f"the output folder cannot be made ({error.strerror})", remedy) from None
    probe = root / f".probe-{os.getpid()}"
    try:
        # os.access does not see read-only mounts, quotas or network rights; writing does.
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(root, f"the output folder cannot be written ({error.strerror})", remedy) from None
    return Session(root)


@contextmanager
def locked(session: Session) -> Iterator[None]:
    """Keep a second scherzer out of a session while one works on it; the lock dies with its process.

    Raises
    ------
    BadInput
        If another scherzer works on the session.
    """
    with (session.root / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(session.root, "another scherzer is working on this session", "wait for it to end") from None
        except OSError:
            pass  # some network file systems have no locks; work without
        yield


@contextmanager
def logged(session: Session) -> Iterator[logging.Logger]:
    """Collect what is not for the screen in the session's log file."""
    logger = logging.getLogger("scherzer")
    handler = logging.FileHandler(session.root / LOG_FILE, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield logger
    except BadInput as error:
        logger.error("%s", error)
        raise
    except Exception:
        logger.exception("unforeseen")
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(level)
        logger.propagate = propagate
