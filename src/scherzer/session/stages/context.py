"""What every stage is given besides its session and settings, and what it tells back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scherzer.session.workers import Workers

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Context:
    """Means of work; nothing in it changes a result.

    Attributes
    ----------
    workers : Workers
        Processes for work that goes item by item.
    progress : callable
        Called with the fraction done and a short message.
    """

    workers: Workers
    progress: Progress = lambda fraction, message: None


@dataclass(frozen=True)
class StageOutcome:
    """How a stage ended.

    Attributes
    ----------
    computed : int
        How many results had to be computed now; 0 means that all were on disk.
    summary : str
        One line for the screen.
    lost : tuple of str
        A line for every item that this stage rejected or could not use, with the reason.
    notes : tuple of str
        Lines of what else a person should know of it.
    """

    computed: int
    summary: str
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
