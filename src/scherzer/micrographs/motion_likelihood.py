"""How probable the positions of a movie's frames are, and where they are most probable.

At every spatial frequency the frames see one picture, moved, under noise of their own. How alike two frames are depends
on the frequency and on the time between them: protein stays, water forgets its places within a few electrons per square
angstrom, and what is not aligned yet looks as if it were forgotten. With these likenesses measured ring by ring, every
frame is held against the others exactly as far as they show the same, and where positions are still poor the fine
detail counts for nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor

FloatArray = NDArray[np.float64]

# Our own choices; on simulated movies half or twice as many rings, or more terms, changed the error by 2 %.
RINGS = 48
# Detail coarser than this is brightness, not specimen.
COARSEST_A = 400.0
# What frames share is a part that stays and one that fades to 1/e within so many electrons per square angstrom.
FADING_DOSE_E_PER_A2 = 4.0
# Of the measured power, that at least is noise.
LEAST_NOISE = 0.1


@dataclass(frozen=True)
class Rings:
    """Frequencies in which frames are compared, sorted into rings of equal width.

    Attributes
    ----------
    index : Tensor
        ``(k,)`` int64, their places in the flattened ``rfft2`` of a frame cropped to ``shape``. The axes, where
        detectors leave stripes, are left out.
    rows, columns : Tensor
        ``(k,)`` int64, their row and column in it.
    ky, kx : Tensor
        1/A; ``(h,)`` of every row and ``(w // 2 + 1,)`` of every column.
    edges : tuple of int
        Where in ``index`` rings begin and end.
    finest_A : float
        Wavelength at the outer edge.
    """

    index: Tensor
    rows: Tensor
    columns: Tensor
    ky: Tensor
    kx: Tensor
    edges: tuple[int, ...]
    finest_A: float

    @property
    def places(self) -> list[slice]:
        """Where in ``index`` each ring is."""
        return [slice(begin, end) for begin, end in zip(self.edges, self.edges[1:], strict=False)]

    @property
    def outer(self) -> slice:
        """The outer quarter of the rings, in which there is hardly more than noise."""
        return slice(self.edges[3 * len(self.edges) // 4], self.edges[-1])


def rings_of(shape: tuple[int, int], extent_A: tuple[float, float]) -> Rings:
    """Sort the frequencies of frames cropped to a shape.

    Parameters
    ----------
    shape : tuple of int
        ``(h, w)`` of the cropped frames.
    extent_A : tuple of float
        Their height and width in A.
    """
    height, width = shape
    ky = torch.fft.fftfreq(height, 1 / height) / extent_A[0]
    kx = torch.fft.rfftfreq(width, 1 / width) / extent_A[1]
    k = torch.hypot(ky[:, None], kx)
    finest = min(height / extent_A[0], width / extent_A[1]) / 2
    wanted = (k < finest) & (k > min(1 / COARSEST_A, finest / 4))
    wanted[0, :] = False
    wanted[:, 0] = False
    index = wanted.flatten().nonzero()[:, 0]
    ring = (k.flatten()[index] * (RINGS / finest)).long().clamp_max(RINGS - 1)
    ring, order = torch.sort(ring, stable=True)
    index = index[order]
    counts = torch.bincount(ring, minlength=RINGS)
    edges = (0, *(int(end) for end in counts[counts > 0].cumsum(0)))
    across = width // 2 + 1
    return Rings(index, index // across, index % across, ky, kx, edges, 1 / finest)


@dataclass(frozen=True)
class Measured:
    """What the frames say about their positions, seen from positions that were tried.

    Attributes
    ----------
    positions_A : ndarray
        ``(n, 2)``, y and x: where the likelihood would peak, were it a Gaussian; each relative to the others.
    information : ndarray
        ``(n, n)``, Fisher's, of each axis, 1/A^2; of rank n - 1, as only distances show.
    """

    positions_A: FloatArray
    information: FloatArray


def noise_level(frames: Tensor, rings: Rings) -> Tensor:
    """Return the amplitude of the noise in each of some frames, ``(n, k)``, its frequencies in the order of the rings.

    Electrons are counted: noise grows with the root of the exposure. So when frames are brought to one level of noise,
    what was their noise before is also how strong the picture is in each of them.
    """
    return torch.stack([frame[rings.outer].abs().square().mean().sqrt() for frame in frames])


def move(frames: Tensor, rings: Rings, place: slice, by_A: Tensor) -> None:
    """Move the pictures in frames by ``(n, 2)`` distances, y and x, in place; the frequencies of one ring only."""
    turn_y = -2 * math.pi * by_A[:, :1] * rings.ky
    turn_x = -2 * math.pi * by_A[:, 1:] * rings.kx
    factor_y = torch.polar(torch.ones_like(turn_y), turn_y)
    factor_x = torch.polar(torch.ones_like(turn_x), turn_x)
    rows, columns = rings.rows[place], rings.columns[place]
    for frame, along_y, along_x in zip(frames, factor_y, factor_x, strict=True):
        part = frame[place]
        part *= along_y[rows]
        part *= along_x[columns]


def measure(
    frames: Tensor, rings: Rings, at_A: FloatArray, by_A: FloatArray, strength: Tensor, dose_e_per_A2: FloatArray
) -> Measured:
    """Move the frames and measure, around where they then are, how their likelihood changes with their positions.

    Parameters
    ----------
    frames : Tensor
        ``(n, k)``, with noise of one level; moved in place.
    rings : Rings
        Their frequencies.
    at_A, by_A : ndarray
        ``(n, 2)``, y and x: the positions to be tried, and by how much the frames must be moved to undo them from where
        they are.
    strength : Tensor
        ``(n,)``, of the picture in each; 1 on average.
    dose_e_per_A2 : ndarray
        ``(n,)``, exposure when each was recorded.

    Notes
    -----
    The transforms of the frames at one frequency k are complex normal with the real covariance S + s^2 I, of
    ``S_ij = a_i a_j c(|t_i - t_j|)``. With its inverse P the gradient of the log likelihood is
    ``-4 pi k sum_k Im(conj(F_i) (P F)_i)`` and the information ``2 (2 pi k)^2 P_ij S_ij`` for i != j.
    """
    n = len(frames)
    distances_A = torch.from_numpy(by_A).float()
    a = strength.double().numpy()
    both = np.outer(a, a)
    lasting = both[np.triu_indices(n, 1)]
    apart = np.abs(dose_e_per_A2[:, None] - dose_e_per_A2)
    fading = np.exp(-apart / FADING_DOSE_E_PER_A2)
    basis = np.stack([lasting, lasting * fading[np.triu_indices(n, 1)]], axis=1)
    gradient, information = torch.zeros(n, 2, dtype=torch.float64), np.zeros((n, n))
    for place in rings.places:
        move(frames, rings, place, distances_A)
        part = frames[:, place]
        count = part.shape[1]
        plain = torch.view_as_real(part).reshape(n, 2 * count)
        covariance = (plain @ plain.T).double().numpy() / count
        shares, _ = nnls(basis, covariance[np.triu_indices(n, 1)])
        signal = both * (shares[0] + shares[1] * fading)
        power = float(np.trace(covariance)) / n
        noise = max(power - float(np.trace(signal)) / n, LEAST_NOISE * power)
        inverse = np.linalg.inv(signal + noise * np.eye(n))
        ky, kx = rings.ky[rings.rows[place]], rings.kx[rings.columns[place]]
        others = torch.from_numpy(inverse).float() @ plain
        turned = (part.conj() * torch.view_as_complex(others.view(n, count, 2))).imag
        gradient -= 4 * math.pi * (turned @ torch.stack([ky, kx], dim=1)).double()
        per_axis = float((ky.double().square() + kx.double().square()).sum()) / 2
        information += 2 * (2 * math.pi) ** 2 * per_axis * inverse * signal
    np.fill_diagonal(information, 0)
    np.fill_diagonal(information, -information.sum(axis=1))
    step = np.linalg.lstsq(information, gradient.numpy(), rcond=1e-9)[0]
    return Measured(at_A + step, information)
