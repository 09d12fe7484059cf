"""How the specimen moves during an exposure, and what that does to its frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STEPS_PER_FRAME = 8
# Half of the path is covered in the first few electrons, the rest evenly (Brilot et al. 2012, J. Struct. Biol. 177).
EARLY_SHARE, EARLY_DOSE_E_PER_A2 = 0.5, 4.0


@dataclass(frozen=True)
class Track:
    """Path of the specimen.

    Attributes
    ----------
    steps_A : ndarray
        ``(frames, steps, 2)``, x and y at moments evenly spaced over each frame, from the middle of the exposure.
    """

    steps_A: NDArray[np.float64]

    @property
    def frame_shifts_A(self) -> NDArray[np.float64]:
        """Mean position of every frame, x and y, relative to the middle frame: ``(frames, 2)``."""
        means = self.steps_A.mean(axis=1)
        return np.asarray(means - means[len(means) // 2])

    @property
    def total_A(self) -> float:
        """Length of the path over the frames' positions."""
        return float(np.linalg.norm(np.diff(self.frame_shifts_A, axis=0), axis=1).sum())

    def transfer(self, frame: int, kx: Tensor, ky: Tensor) -> Tensor:
        """Fourier factor that moves and smears the picture as one frame sees it.

        Parameters
        ----------
        frame : int
            From 0.
        kx, ky : Tensor
            ``(w // 2 + 1,)`` and ``(h, 1)``, 1/A.

        Returns
        -------
        Tensor
            ``(h, w // 2 + 1)`` complex64.
        """
        origin = self.steps_A.mean(axis=1)[len(self.steps_A) // 2]
        total = torch.zeros((), dtype=torch.complex64)
        for x, y in self.steps_A[frame] - origin:
            row, column = -2 * np.pi * float(x) * kx, -2 * np.pi * float(y) * ky
            total = total + torch.polar(torch.ones_like(column), column) * torch.polar(torch.ones_like(row), row)
        return total / len(self.steps_A[frame])


def draw_track(rng: np.random.Generator, frames: int, dose_e_per_A2: float, path_A: float) -> Track:
    """Draw a usual path: fast at first, then slow, slightly crooked.

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
    dose = (np.arange(frames * STEPS_PER_FRAME) + 0.5) / (frames * STEPS_PER_FRAME) * dose_e_per_A2
    length = path_A * rng.lognormal(0, 0.4)
    early = 1 - np.exp(-dose / EARLY_DOSE_E_PER_A2)
    angles = rng.uniform(0, 2 * np.pi) + np.array([0.0, rng.normal(0, 0.7)])
    directions = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    path = length * (
        EARLY_SHARE * early[:, None] * directions[0]
        + (1 - EARLY_SHARE) * (dose / dose_e_per_A2)[:, None] * directions[1]
    )
    return _track(path, frames)


def draw_bad_track(rng: np.random.Generator, frames: int, path_A: float) -> Track:
    """Draw a straight, fast drift."""
    angle = rng.uniform(0, 2 * np.pi)
    time = (np.arange(frames * STEPS_PER_FRAME) + 0.5) / (frames * STEPS_PER_FRAME)
    return _track(path_A * time[:, None] * np.array([np.cos(angle), np.sin(angle)]), frames)


def still_track(frames: int) -> Track:
    """No movement."""
    return Track(np.zeros((frames, 1, 2)))


def _track(path: NDArray[np.float64], frames: int) -> Track:
    centred = path - path.mean(axis=0)
    return Track(centred.reshape(frames, STEPS_PER_FRAME, 2))
