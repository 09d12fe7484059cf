"""From what a user says to a session that is ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scherzer.session.checks import NEEDED_FOR_PARTICLES, completed
from scherzer.session.folder import Session, create_session, open_session
from scherzer.session.inputs import exposure_paths
from scherzer.session.settings import SessionSettings, read_settings, with_stated, write_settings


def prepare(
    root: Path, inputs: Sequence[str], stated: Mapping[str, Any], needed: tuple[str, ...] = NEEDED_FOR_PARTICLES
) -> tuple[Session, SessionSettings]:
    """Make or open a session; what is stated goes before its ``session.yaml``, and that before the headers.

    Parameters
    ----------
    root : Path
        The session's folder.
    inputs : sequence of str
        Exposures; those of ``session.yaml`` when empty.
    stated : mapping
        Fields of `Acquisition`, None where nothing was stated.
    needed : tuple of str
        Numbers of the acquisition that must be known.

    Raises
    ------
    BadInput
        Before anything is written, if a value is missing or wrong or the folder cannot be written.
    """
    settings = with_stated(read_settings(root), stated)
    if inputs:
        # Inside the session paths are relative to it, so that it can be moved.
        names = tuple(Session(root).relative(path) for path in exposure_paths(inputs))
        settings = replace(settings, inputs=names)
    settings = completed(settings, needed, root)
    session = create_session(root)
    write_settings(settings, root)
    return session, settings


def reopen(root: Path, stated: Mapping[str, Any]) -> tuple[Session, SessionSettings]:
    """Open an existing session to run one of its stages.

    Raises
    ------
    BadInput
        If it is not a session or a value is wrong.
    """
    session = open_session(root)
    return prepare(session.root, [], stated, needed=())
