"""The most probable movement of a specimen, from where its frames seem to be and how well that is known."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Paths bend more while the film settles, in the first few electrons (Brilot et al. 2012, J. Struct. Biol. 177, 630).
SETTLING_DOSE_E_PER_A2 = 4.0
# Tried: by how many times more at first. On simulated movies 0 alone errs by a fifth more; 3, 10 and 100 beside these
# change nothing. Jitter throughout asks for 0.
SETTLING_BENDS = (0.0, 30.0)
# Bends tried, from a line to no smoothing, A from frame to frame.
BENDS_A = np.logspace(-3.5, 2.0, 17)
# Deviation of a position of which nothing is known; far beyond the errors of what is.
USUAL_PLACE_A = 100.0
# A bend needs three frames, and to know how usual bends are takes a few.
FEWEST_FRAMES = 5


@dataclass(frozen=True)
class Trajectory:
    """A path and how well it is known.

    Attributes
    ----------
    positions_A : ndarray
        ``(n, 2)``.
    error_A : float
        Root mean square distance to the true path that is to be expected, after their means are made equal.
    """

    positions_A: FloatArray
    error_A: float


def most_probable_path(
    seen_A: FloatArray, information: FloatArray, seen: IntArray, dose_e_per_A2: FloatArray
) -> Trajectory:
    """Smooth a path as strongly as its noise asks for.

    Parameters
    ----------
    seen_A : ndarray
        ``(m, 2)``, where frames seem to be.
    information : ndarray
        ``(m, m)``, inverse of the covariance of these along each axis, 1/A^2.
    seen : ndarray
        ``(m,)``, their numbers among all n frames. The others are put where these say.
    dose_e_per_A2 : ndarray
        ``(n,)``, exposure when each of all frames was recorded, at equal steps.
    """
    if len(seen) < FEWEST_FRAMES:
        numbers = np.arange(len(dose_e_per_A2))
        between = np.stack([np.interp(numbers, seen, along) for along in seen_A.T], axis=1)
        return Trajectory(between, _error_A(np.asarray(np.linalg.inv(_tied(information)), np.float64)))
    positions, covariance = most_probable_terms(seen_A[None], information[None], np.ones((1, 1)), seen, dose_e_per_A2)
    return Trajectory(positions[0], _error_A(covariance[0, :, 0, :]))


def most_probable_terms(
    seen_A: FloatArray, information: FloatArray, basis: FloatArray, seen: IntArray, dose_e_per_A2: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Smooth movement that is a sum of terms over the field, as strongly as its noise asks for; true jitter is kept.

    Whittaker's smoother read as a prior: second differences in time are normal with an unknown deviation, which may be
    larger in the first few electrons; it is the one that makes what was seen most probable (empirical Bayes).
    With the noise known, smooth drifts and rough ones are told apart, which cross-validation on a few tens of frames
    does not do.

    Parameters
    ----------
    seen_A : ndarray
        ``(t, m, 2)``, where frames seem to be at t places.
    information : ndarray
        ``(t, m, m)``, inverse of the covariance of these along each axis, 1/A^2.
    basis : ndarray
        ``(t, b)``, the terms at these places.
    seen, dose_e_per_A2
        As in :func:`most_probable_path`.

    Returns
    -------
    terms : ndarray
        ``(b, n, 2)``, A.
    covariance : ndarray
        ``(b, n, b, n)``, of each axis, A^2.

    References
    ----------
    Eilers 2003, Anal. Chem. 75, 3631; Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, 5.4.
    """
    n, terms = len(dose_e_per_A2), basis.shape[1]
    tied = _tied(information)
    known, push = np.zeros((terms, n, terms, n)), np.zeros((terms, n, 2))
    known[:, seen[:, None], :, seen] = np.einsum("ta,tij,tb->ijab", basis, tied, basis)
    push[:, seen] = np.einsum("ta,tij,tjc->aic", basis, tied, seen_A)
    flat, pushed = known.reshape(terms * n, terms * n), push.reshape(terms * n, 2)
    second = np.diff(np.eye(n), 2, axis=0)
    best, most = flat, -np.inf
    for settling, bend_A in product(SETTLING_BENDS, BENDS_A):
        deviation_A = bend_A * (1 + settling * np.exp(-dose_e_per_A2[1:-1] / SETTLING_DOSE_E_PER_A2))
        precision = flat + np.kron(np.eye(terms), second.T @ (second / deviation_A[:, None] ** 2))
        _, log_determinant = np.linalg.slogdet(precision)
        # Twice the log evidence, for the two axes.
        evidence = (pushed * np.linalg.solve(precision, pushed)).sum() - 2 * log_determinant
        evidence -= 4 * terms * np.log(deviation_A).sum()
        if evidence > most:
            best, most = precision, evidence
    covariance: FloatArray = np.asarray(np.linalg.inv(best), np.float64)
    return (covariance @ pushed).reshape(terms, n, 2), covariance.reshape(terms, n, terms, n)


def _tied(information: FloatArray) -> FloatArray:
    """Tie a path, known only up to where it lies as a whole if at all, loosely to zero: matrices stay regular."""
    return np.asarray(information + np.eye(information.shape[-1]) / USUAL_PLACE_A**2)


def _error_A(covariance: FloatArray) -> float:
    return float(np.sqrt(2 * max(covariance.diagonal().mean() - covariance.mean(), 0.0)))


def polynomial_fit(positions: FloatArray, seen: IntArray, count: int, order: int) -> FloatArray:
    """Return the least-squares polynomial in time through ``(m, 2)`` positions of some of ``count`` frames, at all.

    Before the first and after the last of those it stays where it is.
    """
    time = np.linspace(-1, 1, count)
    inside = time.clip(time[seen[0]], time[seen[-1]])
    polynomial = np.polynomial.Legendre.fit
    orders = min(order, len(seen) - 1)
    return np.stack([polynomial(time[seen], along, orders, domain=(-1, 1))(inside) for along in positions.T], axis=1)
