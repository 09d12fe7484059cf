r"""Least squares over refinements whose particles share micrographs.

A number `y_b` of refinement `b` (1/d^2, or ln SSNR) is modelled as

    y_b = X_b . beta + sum_i w_bi u_i + e_b,      u_i and e_b independent, mean 0,

with `w_bi` the share of subset `b`'s particles that come from micrograph `i`: `u` is what micrographs differ in, `e`
what one refinement's FSC curve adds by itself. Two subsets with micrographs in common are correlated by ``w_b . w_c``,
so that overlapping draws, disjoint draws and the whole set, of which all draws are parts, go into one fit, and the
micrograph stays the unit. For a covariance s^2 S of known shape S and a linear estimate ``beta = L y``,

    Var(beta) = s^2 L S L',     s^2 = y'A y / tr(A S),  A the weighted residual form,

and the degrees of freedom of s^2 follow from matching its first two moments (Satterthwaite):
``tr(A S)^2 / tr(A S A S)``. With disjoint draws of equal size this is the ordinary t interval of their mean.

Which of `u` and `e` leads cannot be told from a dozen refinements. A mean over draws is safe with ``S = w w'``
(`fit_clustered`). A slope, or one refinement by itself, is not, so there both extremes are computed and the wider
interval is quoted (`fit_both_ways`).
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
    draw_variance : float
        Variance of one refinement about the fit, averaged over the refinements.
    df : float
        Degrees of freedom of the variances.
    """

    beta: Array
    covariance: Array
    draw_variance: float
    df: float

    def combination(self, vector: Array) -> Fitted:
        """Estimate of ``vector . beta``."""
        return Fitted(float(vector @ self.beta), max(0.0, float(vector @ self.covariance @ vector)), self.df)


def _fit(values: Array, design: Array, shape: Array, weights: Array) -> ClusteredFit | None:
    root = np.sqrt(weights)[:, None]
    solve = np.linalg.pinv(design * root) * root.T
    residual = np.eye(len(values)) - design @ solve
    form = residual.T @ (weights[:, None] * residual)
    spread = form @ shape
    trace = float(np.trace(spread))
    second = float(np.sum(spread * spread.T))
    # Below this share of the total only rounding is left of the residuals' expected size.
    if len(values) <= design.shape[1] or trace <= 1e-9 * float(weights @ np.diag(shape)) or second <= 0:
        return None
    scale = max(0.0, float(values @ form @ values) / trace)
    left = residual @ shape @ residual.T
    return ClusteredFit(
        beta=solve @ values,
        covariance=scale * solve @ shape @ solve.T,
        draw_variance=scale * float(np.trace(left)) / (len(values) - design.shape[1]),
        df=trace**2 / second,
    )


def fit_clustered(values: Array, design: Array, shares: Array) -> ClusteredFit | None:
    """Weighted least squares, the errors laid to the micrographs.

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
    return _fit(values, design, overlap, 1.0 / np.diag(overlap))


def fit_both_ways(values: Array, design: Array, shares: Array) -> tuple[ClusteredFit, ClusteredFit] | None:
    """One estimate with two errors: all laid to the micrographs, and all to the single refinements.

    The weights are those of equal parts, so that neither extreme makes the estimate poor.
    """
    overlap = shares @ shares.T
    own = np.diag(overlap)
    weights = 1.0 / (own / own.mean() + 1.0)
    micrographs, refinements = (_fit(values, design, shape, weights) for shape in (overlap, np.eye(len(values))))
    return None if micrographs is None or refinements is None else (micrographs, refinements)
