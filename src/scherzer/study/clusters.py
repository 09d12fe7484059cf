r"""Least squares over refinements whose particles share micrographs.

A number `y_b` of refinement `b` (1/d^2, or ln SSNR) is modelled as

    y_b = X_b . beta + sum_i w_bi u_i,      u_i independent, mean 0, variance s^2,

with `w_bi` the share of subset `b`'s particles that come from micrograph `i`. Two subsets with micrographs in common
are then correlated by ``w_b . w_c``, so that overlapping draws, disjoint draws and the whole set, of which all draws
are parts, go into one fit, and the micrograph stays the unit. Estimates are linear, ``beta = L y``, hence

    Var(beta) = s^2 L W L',  W = w w',     s^2 = y'A y / tr(A W),  A the weighted residual form,

and the degrees of freedom of s^2 follow from matching its first two moments (Satterthwaite):
``tr(A W)^2 / tr(A W A W)``. For disjoint draws of equal size this is the ordinary t interval of their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scherzer.study.intervals import Fitted

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ClusteredFit:
    """Coefficients of a fit over refinements.

    Attributes
    ----------
    beta : (p,) array
    covariance : (p, p) array
    micrograph_variance : float
        s^2, the variance that one micrograph's particles alone would have.
    df : float
        Degrees of freedom of `micrograph_variance`.
    """

    beta: Array
    covariance: Array
    micrograph_variance: float
    df: float

    def combination(self, vector: Array) -> Fitted:
        """Estimate of ``vector . beta``."""
        return Fitted(float(vector @ self.beta), float(vector @ self.covariance @ vector), self.df)


def fit_clustered(values: Array, design: Array, shares: Array) -> ClusteredFit | None:
    """Weighted least squares with micrograph-level errors.

    Parameters
    ----------
    values : (b,) array
        One number per refinement.
    design : (b, p) array
        Full column rank.
    shares : (b, m) array
        Micrograph shares of each subset; rows sum to 1.

    Returns
    -------
    ClusteredFit or None
        None where no spread is left to measure the error with.
    """
    overlap = shares @ shares.T
    weights = 1.0 / np.diag(overlap)  # effective number of micrographs
    root = np.sqrt(weights)[:, None]
    solve = np.linalg.pinv(design * root) * root.T
    residual = np.eye(len(values)) - design @ solve
    form = residual.T @ (weights[:, None] * residual)
    spread = form @ overlap
    trace = float(np.trace(spread))
    second = float(np.sum(spread * spread.T))
    # Relative to the weighted trace of the identity: below this only rounding is left.
    if len(values) <= design.shape[1] or trace <= 1e-9 * len(values) or second <= 0:
        return None
    variance = float(values @ form @ values) / trace
    covariance = variance * solve @ overlap @ solve.T
    return ClusteredFit(solve @ values, covariance, variance, trace**2 / second)
