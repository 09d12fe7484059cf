"""ResLog: how resolution grows with particles, and how many micrographs the wanted resolution takes.

1/d^2 = (2/B) ln N + constant (Rosenthal & Henderson, J. Mol. Biol. 333, 721, 2003; Stagg et al., J. Struct. Biol.
185, 418, 2014), fitted over re-refined subsets with the micrograph as the unit of error (`clusters`). The number of
particles at which the line meets the wanted resolution is a ratio of two estimates; its interval is Fieller's
(J. R. Stat. Soc. B 16, 175, 1954), which is unbounded, as it must be, where the slope may be zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scherzer.study.clusters import ClusteredFit, fit_both_ways
from scherzer.study.endpoints import NYQUIST_SHARE
from scherzer.study.intervals import Estimate, Interval, Unknown, t_quantile
from scherzer.study.settings import FINER_THAN_START

LADDER_METHOD = "least squares over re-refined subsets; t interval, the wider of errors by micrograph and by refinement"
# Fewer points than this leave fewer than two to spare for the error.
FEWEST_POINTS = 4
# The line is not followed beyond this multiple of the particles at hand: over 5.3 units of ln N the B-factor
# itself changes, and the answer would be a guess.
FURTHEST_FACTOR = 200.0


@dataclass(frozen=True)
class LadderPoint:
    """One refinement of the ladder.

    Attributes
    ----------
    particles : int
    inverse_square : float or None
        1/d^2, 1/A^2; None where the refinement found no resolution.
    shares : (m,) array
        Micrograph shares.
    at_nyquist : bool
        The resolution is set by the pixel.
    rung : str
        Points of one rung are kept or dropped together, so that a draw is not dropped for its own luck.
    """

    particles: int
    inverse_square: float | None
    shares: NDArray[np.floating[Any]]
    at_nyquist: bool
    rung: str


@dataclass(frozen=True)
class ResLog:
    """A fitted ladder.

    Attributes
    ----------
    fits : tuple of ClusteredFit
        Intercept at `centre` and slope, one estimate with two errors; the wider interval is quoted.
    centre : float
        Mean ln N, about which the fit was made.
    used : tuple of LadderPoint
    dropped : tuple of str
        Rungs left out, each with its reason.
    """

    fits: tuple[ClusteredFit, ClusteredFit]
    centre: float
    used: tuple[LadderPoint, ...]
    dropped: tuple[str, ...]

    def _widest(self, vector: NDArray[np.floating[Any]], confidence: float, method: str) -> Interval:
        both = [fit.combination(vector).interval(confidence, method) for fit in self.fits]
        return max(both, key=lambda interval: interval.high - interval.low)

    def slope(self, confidence: float) -> Interval:
        """Slope of 1/d^2 per ln N, 2/B (1/A^2)."""
        return self._widest(np.array([0.0, 1.0]), confidence, LADDER_METHOD)

    def at(self, particles: float, confidence: float) -> Interval:
        """The line's 1/d^2 (1/A^2) at a number of particles."""
        return self._widest(np.array([1.0, math.log(particles) - self.centre]), confidence, LADDER_METHOD)

    def bfactor(self, confidence: float) -> Estimate:
        """Ladder B-factor 2/slope (A2)."""
        slope = self.slope(confidence)
        if slope.low <= 0:
            return Unknown("more particles did not surely raise the resolution: the slope's interval holds zero")
        return slope.mapped(lambda value: 2.0 / value, LADDER_METHOD)


def _sorted_rungs(
    points: Sequence[LadderPoint], start_resolution_A: float
) -> tuple[list[LadderPoint], tuple[str, ...]]:
    """Points of the rungs that are fitted, and one line for each reason why rungs are not."""
    used: list[LadderPoint] = []
    at_pixel: list[str] = []
    at_start: list[str] = []
    limit = (FINER_THAN_START / start_resolution_A) ** 2
    for rung in dict.fromkeys(point.rung for point in points):
        members = [point for point in points if point.rung == rung]
        if any(point.at_nyquist for point in members):
            at_pixel.append(rung)
        elif any(point.inverse_square is None or point.inverse_square < limit for point in members):
            at_start.append(rung)
        else:
            used += members
    lines = (
        (at_pixel, f"resolved to {NYQUIST_SHARE:.0%} of Nyquist or beyond, where the pixel decides"),
        (at_start, f"not clearly finer than the start map's {start_resolution_A:.0f} A"),
    )
    return used, tuple(f"{', '.join(rungs)}: {why}" for rungs, why in lines if rungs)


def fit_reslog(points: Sequence[LadderPoint], start_resolution_A: float) -> ResLog | Unknown:
    """Fit the ladder, or say why it cannot be fitted."""
    used, dropped = _sorted_rungs(points, start_resolution_A)
    left_out = f" ({'; '.join(dropped)})" if dropped else ""
    if len(used) < FEWEST_POINTS or len({point.rung for point in used}) < 2:
        return Unknown(f"{len(used)} usable refinements on the ladder, {FEWEST_POINTS} on 2 rungs are needed{left_out}")
    log_particles = np.log([point.particles for point in used])
    centre = float(log_particles.mean())
    values = np.array([point.inverse_square for point in used], dtype=np.float64)
    shares = np.stack([point.shares for point in used])
    fits = fit_both_ways(values, np.stack([np.ones(len(used)), log_particles - centre], axis=1), shares)
    if fits is None:
        return Unknown("the ladder's refinements leave no spread from which to tell an error")
    return ResLog(fits, centre, tuple(used), dropped)


@dataclass(frozen=True)
class Need:
    """Micrographs needed for a resolution.

    Attributes
    ----------
    estimate : Interval or Unknown
        The number with its interval, or why there is none.
    at_least : float or None
        Lower bound, known also where the upper one is not.
    """

    estimate: Estimate
    at_least: float | None


def _fieller(fit: ClusteredFit, target: float, confidence: float) -> tuple[float, float, float]:
    """Value, low and high of ln N, from the centre, at which the line reaches `target`; bounds may be infinite."""
    t2 = t_quantile(confidence, fit.df) ** 2
    (intercept, slope), cov = fit.beta, fit.covariance
    gap = intercept - target
    # (gap + slope x)^2 <= t^2 (v00 + 2 v01 x + v11 x^2)
    a = slope**2 - t2 * cov[1, 1]
    b = gap * slope - t2 * cov[0, 1]
    c = gap**2 - t2 * cov[0, 0]
    inner = b * b - a * c
    value = -gap / slope if slope > 0 else math.inf
    if a > 0 and inner >= 0:
        low, high = sorted(((-b - math.sqrt(inner)) / a, (-b + math.sqrt(inner)) / a))
    elif inner >= 0 and c > 0 and a < 0:
        # The slope may be zero: only the finite end on the answer's side is a bound.
        roots = sorted(((-b - math.sqrt(inner)) / a, (-b + math.sqrt(inner)) / a))
        ends = [root for root in roots if root > 0] if gap < 0 else []
        low, high = (min(ends) if ends else -math.inf), math.inf
    else:
        low, high = -math.inf, math.inf
    return value, low, high


def micrographs_needed(
    reslog: ResLog | Unknown, target_resolution_A: float, counts: Sequence[int], nyquist: float, confidence: float
) -> Need:
    """Micrographs like these that the wanted resolution takes.

    Parameters
    ----------
    reslog
        The fitted ladder.
    target_resolution_A
        The wanted resolution, A.
    counts
        Selected particles on each accepted micrograph, zeros included.
    nyquist
        Nyquist of the refinements, A.
    confidence
        Level of the interval; the yield's own error is added in quadrature on the logarithm.
    """
    wanted = f"{target_resolution_A:.1f} A"
    if isinstance(reslog, Unknown):
        return Need(Unknown(f"for {wanted}: {reslog.reason}"), None)
    if target_resolution_A < nyquist:
        return Need(
            Unknown(f"{wanted} is beyond Nyquist ({nyquist:.1f} A) of these particles; extract with a finer pixel"),
            None,
        )
    both = [_fieller(fit, target_resolution_A**-2, confidence) for fit in reslog.fits]
    value, low, high = (reslog.centre + end for end in (both[0][0], min(b[1] for b in both), max(b[2] for b in both)))
    here = max(point.particles for point in reslog.used)
    per_micrograph = float(np.mean(counts))
    relative = float(np.std(counts, ddof=1)) / per_micrograph / math.sqrt(len(counts)) if len(counts) > 1 else 0.0
    yield_error = t_quantile(confidence, max(1, len(counts) - 1)) * relative

    def bounded(end: float, sign: float) -> float:
        shift = value + sign * math.hypot(end - value, yield_error)
        return math.exp(min(shift, 700.0)) / per_micrograph

    at_least = bounded(low, -1.0) if math.isfinite(low) and math.isfinite(value) else None
    bound = f", but at least {at_least:,.0f} micrographs" if at_least is not None and at_least >= 1 else ""
    if not math.isfinite(value) or not math.isfinite(high):
        reason = f"the ladder's slope is not surely above zero, so no upper bound can be given for {wanted}{bound}"
        return Need(Unknown(reason), at_least)
    if high - math.log(here) > math.log(FURTHEST_FACTOR):
        reason = f"{wanted} may lie more than {FURTHEST_FACTOR:.0f} times beyond the {here} particles at hand{bound}"
        return Need(Unknown(reason), at_least)
    method = (
        f"ResLog over {len(reslog.used)} re-refined subsets, Fieller interval over micrographs, yield error included"
    )
    return Need(Interval(math.exp(value) / per_micrograph, at_least or 0.0, bounded(high, 1.0), method), at_least)
