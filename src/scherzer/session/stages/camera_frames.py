"""What the camera's pixels counted: the frames of some movies, added up as they were recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scherzer.formats.eer import EerSettings
from scherzer.formats.errors import BadInput
from scherzer.formats.movies import Movie, open_exposure
from scherzer.micrographs.gain_orientation import Float32Array


@dataclass(frozen=True)
class SeenFrames:
    """Sums of the frames of some movies.

    Attributes
    ----------
    sums : tuple of ndarray of float32
        ``(h, w)``, of every other movie; of every other frame where there is one movie only.
    movies : int
        How many could be read.
    electron_events : bool
        Whether they are EER movies.
    """

    sums: tuple[Float32Array, Float32Array]
    movies: int
    electron_events: bool

    @property
    def shape(self) -> tuple[int, int]:
        """``(h, w)`` of the frames."""
        return (self.sums[0].shape[0], self.sums[0].shape[1])


def sums_of_frames(paths: Sequence[Path], eer: EerSettings) -> SeenFrames:
    """Add up the frames of movies, one frame in memory at a time; what cannot be read is left out.

    Raises
    ------
    BadInput
        If none can be read; the reason of the first.
    """
    problem: BadInput | None = None
    single: tuple[Float32Array, Float32Array] | None = None
    sums: tuple[Float32Array, Float32Array] | None = None
    count, events = 0, False
    for path in paths:
        try:
            movie = open_exposure(path, eer)
            halves = _halves(movie)
        except BadInput as error:
            problem = problem or error
            continue
        if sums is None:
            single, events = halves, movie.holds_electron_events
            sums = (halves[0] + halves[1], np.zeros_like(halves[0]))
        elif halves[0].shape == sums[0].shape:
            for half in halves:
                np.add(sums[count % 2], half, out=sums[count % 2])
        else:
            continue
        count += 1
    if sums is None or single is None:
        raise problem or BadInput("camera", "no movies", "give movies")
    return SeenFrames(single if count == 1 else sums, count, events)


def _halves(movie: Movie) -> tuple[Float32Array, Float32Array]:
    """Return the sums of a movie's even and odd frames."""
    halves = (np.zeros(movie.shape, np.float32), np.zeros(movie.shape, np.float32))
    for number, frame in enumerate(movie.frames()):
        half = halves[number % 2]
        np.add(half, frame, out=half)
    return halves
