"""How the specimen moves during an exposure, and what that does to what is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scherzer.simulate.field import ComplexArray, FieldGrid

# Half of the path is covered in the first few electrons, the rest evenly (Brilot et al. 2012, J. Struct. Biol. 177).
EARLY_SHARE, EARLY_DOSE_E_PER_A2 = 0.5, 4.0
# Path of an exposure that no motion correction saves, as it smears every frame, A.
BAD_DRIFT_A = (180.0, 340.0)
# A path is sampled at two points (Gauss) on every piece of it, of at most this length and this share of the exposure.
PIECE_A, PIECE_SHARE = 2.0, 1 / 16
_GAUSS = np.array([0.5 - 0.5 / np.sqrt(3), 0.5 + 0.5 / np.sqrt(3)])

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """Positions that the specimen takes while one image is recorded.

    Attributes
    ----------
    positions_A : ndarray
        ``(n, 2)``, x and y from where the picture is said to be.
    moments : ndarray
        ``(n,)``, as shares of the whole exposure.
    weights : ndarray
        ``(n,)``, share of the image recorded at each; they sum to 1.
    """

    positions_A: FloatArray
    moments: FloatArray
    weights: FloatArray


class Smear:
    """Fourier factor that moves and smears a picture as one image sees it.

    Parameters
    ----------
    motion : Motion
        Positions while the image is recorded.
    grid : FieldGrid
        Where.
    waves : ndarray, optional
        ``(m, n)``: m factors of the picture at each of the n moments, for each of which there is one factor.
    """

    def __init__(self, motion: Motion, grid: FieldGrid, waves: NDArray[Any] | None = None) -> None:
        self._weights = motion.weights * (np.ones((1, len(motion.weights))) if waves is None else waves)
        x_A, self._y_A = motion.positions_A.T
        self._ky = grid.ky.astype(np.float64)
        phases = -2j * np.pi * x_A[:, None] * grid.kx.astype(np.float64)
        self._across = torch.from_numpy(np.exp(phases).astype(np.complex64))

    def rows(self, rows: slice) -> ComplexArray:
        """Return some rows of the m factors: ``(m, rows, w // 2 + 1)``."""
        down = np.exp(-2j * np.pi * self._ky[rows, None] * self._y_A)
        factors = (self._weights[:, None] * down).astype(np.complex64)
        product = torch.mm(torch.from_numpy(factors.reshape(-1, factors.shape[-1])), self._across)
        return np.asarray(product.numpy().reshape(len(factors), len(down), -1))


@dataclass(frozen=True)
class Track:
    """Path of the specimen.

    It is ``early (1 - exp(-t / e)) + steady t`` at the share t of the exposure.

    Attributes
    ----------
    frames : int
        Number of frames.
    early_A, steady_A : tuple of float
        x and y of the movement that the beam causes as it sets in, and of the stage's steady drift.
    early_share : float
        e, the share of the exposure in which the early movement falls to 1/e.
    """

    frames: int
    early_A: tuple[float, float] = (0.0, 0.0)
    steady_A: tuple[float, float] = (0.0, 0.0)
    early_share: float = 1.0

    def position_A(self, moments: FloatArray) -> FloatArray:
        """Return x and y at shares of the exposure, ``(n, 2)``, from where the exposure begins."""
        early = -np.expm1(-moments / self.early_share)
        return np.asarray(early[:, None] * np.array(self.early_A) + moments[:, None] * np.array(self.steady_A))

    def mean_A(self, start: FloatArray, end: FloatArray) -> FloatArray:
        """Mean position over intervals of the exposure, ``(n, 2)``."""
        e = self.early_share
        early = 1 - e * (np.exp(-start / e) - np.exp(-end / e)) / (end - start)
        steady = (start + end) / 2
        return np.asarray(early[:, None] * np.array(self.early_A) + steady[:, None] * np.array(self.steady_A))

    @property
    def frame_shifts_A(self) -> FloatArray:
        """Mean position of every frame, x and y, relative to the middle frame: ``(frames, 2)``."""
        means = self._frame_means_A
        return np.asarray(means - means[self.frames // 2])

    @property
    def total_A(self) -> float:
        """Length of the path over the frames' positions."""
        return float(np.linalg.norm(np.diff(self.frame_shifts_A, axis=0), axis=1).sum())

    def of_frame(self, frame: int) -> Motion:
        """Movement during one frame, from the position of the middle frame."""
        moments, weights = self._nodes(frame / self.frames, (frame + 1) / self.frames)
        return Motion(self.position_A(moments) - self._frame_means_A[self.frames // 2], moments, weights)

    def of_sum(self, aligned: bool) -> Motion:
        """Movement during the whole exposure.

        Parameters
        ----------
        aligned : bool
            From the mean position of each frame, as in a sum of aligned frames; otherwise from that of the exposure.
        """
        if not aligned:
            moments, weights = self._nodes(0.0, 1.0)
            return Motion(self.position_A(moments) - self.mean_A(np.zeros(1), np.ones(1)), moments, weights)
        parts = []
        for frame, mean_A in enumerate(self._frame_means_A):
            moments, weights = self._nodes(frame / self.frames, (frame + 1) / self.frames)
            parts.append((self.position_A(moments) - mean_A, moments, weights / self.frames))
        return Motion(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    @property
    def _frame_means_A(self) -> FloatArray:
        edges = np.linspace(0, 1, self.frames + 1)
        return self.mean_A(edges[:-1], edges[1:])

    def _nodes(self, start: float, end: float) -> tuple[FloatArray, FloatArray]:
        """Moments within an interval at which the path is sampled, and their weights."""
        fine = np.linspace(start, end, 257)
        length_A = np.linalg.norm(np.diff(self.position_A(fine), axis=0), axis=1)
        pieces = np.concatenate(([0.0], np.cumsum(length_A / PIECE_A + np.diff(fine) / PIECE_SHARE)))
        edges = np.interp(np.linspace(0, pieces[-1], int(np.ceil(pieces[-1])) + 1), pieces, fine)
        widths = np.diff(edges)
        moments = (edges[:-1, None] + widths[:, None] * _GAUSS).ravel()
        return moments, np.repeat(widths / 2, 2) / (end - start)


def draw_track(rng: np.random.Generator, frames: int, dose_e_per_A2: float, path_A: float) -> Track:
    """Draw a usual path: beam-induced movement at first, and the stage's drift in some other direction.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    frames : int
        Number of frames.
    dose_e_per_A2 : float
        Whole exposure.
    path_A : float
        Typical length.
    """
    length = path_A * rng.lognormal(0, 0.4)
    early, steady = rng.uniform(0, 2 * np.pi, 2)
    return Track(
        frames,
        _vector(EARLY_SHARE * length, early),
        _vector((1 - EARLY_SHARE) * length, steady),
        EARLY_DOSE_E_PER_A2 / dose_e_per_A2,
    )


def draw_bad_track(rng: np.random.Generator, frames: int) -> Track:
    """Draw a straight, fast drift."""
    return Track(frames, steady_A=_vector(rng.uniform(*BAD_DRIFT_A), rng.uniform(0, 2 * np.pi)))


def _vector(length: float, angle_rad: float) -> tuple[float, float]:
    return float(length * np.cos(angle_rad)), float(length * np.sin(angle_rad))
