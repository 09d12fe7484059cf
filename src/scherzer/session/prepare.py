"""From what a user says to a session that is ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scherzer.session.checks import NEEDED, completed
from scherzer.session.folder import Session, create_session, open_session
from scherzer.session.inputs import find_exposures
from scherzer.session.settings import SessionSettings, read_settings, with_stated, write_settings


def prepare(
    root: Path,
    inputs: Sequence[str],
    stated: Mapping[str, Any],
    say: Callable[[str], None] = lambda line: None,
    needed: tuple[str, ...] = NEEDED,
) -> tuple[Session, SessionSettings]:
    """Make or open a session.

    What is stated goes before a list's optics block, that before ``session.yaml``, that before metadata, and they
    before headers.

    Parameters
    ----------
    root : Path
        The session's folder.
    inputs : sequence of str
        Exposures; those of ``session.yaml`` when empty.
    stated : mapping
        Fields of `Acquisition`, None where nothing was stated.
    say : callable
        Is told what lay among the inputs and was left out.
    needed : tuple of str
        Numbers of the acquisition that must be known.

    Raises
    ------
    BadInput
        Before anything is written, if a value is missing or wrong or the folder cannot be written.
    """
    settings = with_stated(read_settings(root), stated)
    left_out: tuple[str, ...] = ()
    if inputs:
        found = find_exposures(inputs, gain=settings.acquisition.gain)
        given = {name: value for name, value in stated.items() if value is not None}
        settings = with_stated(settings, {**found.optics, **given})
        # Inside the session paths are relative to it, so that it can be moved.
        settings = replace(settings, inputs=tuple(Session(root).relative(path) for path in found.paths))
        left_out = found.left_out
    settings = completed(settings, root, needed)
    session = create_session(root)
    write_settings(settings, root)
    if left_out:
        say(f"left out: {', '.join(left_out)}")
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
