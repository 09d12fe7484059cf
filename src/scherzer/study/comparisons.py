"""E5: groups compared over repeated draws, the micrograph as the unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from scherzer.study.clusters import ClusteredFit, fit_clustered
from scherzer.study.endpoints import (
    FSC_CEILING,
    FSC_FLOOR,
    Band,
    at_nyquist,
    informative_bands,
    inverse_square,
    mean_ln_ssnr,
    to_resolution_A,
)
from scherzer.study.grid import Grid
from scherzer.study.intervals import Estimate, Fitted, Interval, Unknown
from scherzer.study.refined import RefinedSubset, Refiner
from scherzer.study.settings import FINER_THAN_START
from scherzer.study.subsets import Subset

NO_SIGNAL = "no band beyond the start map holds signal in these draws"
DRAWS_METHOD = "t interval over draws, micrograph as the unit (Satterthwaite degrees of freedom)"


@dataclass(frozen=True)
class DrawSummary:
    """One group over its draws.

    Attributes
    ----------
    resolutions_A : tuple
        Per draw; None where a draw found no resolution.
    particles : tuple of int
    resolution : ClusteredFit or None
        Fit of 1/d^2; None where `resolution_reason` says why.
    ln_ssnr : ClusteredFit or None
        Mean over the informative bands.
    bands : dict of Band to ClusteredFit or None
    """

    resolutions_A: tuple[float | None, ...]
    particles: tuple[int, ...]
    resolution: ClusteredFit | None
    resolution_reason: str
    ln_ssnr: ClusteredFit | None
    bands: Mapping[Band, ClusteredFit | None]


@dataclass(frozen=True)
class Difference:
    """First group minus second.

    Attributes
    ----------
    ln_ssnr : Interval or Unknown
        Primary endpoint: positive where `first` has more signal.
    resolution_A : Interval or Unknown
        Headline: negative where `first` resolves finer.
    p_value : float or None
        Of the primary endpoint.
    separated : bool
        Primary endpoint differs from zero at the level shared out over all pairs (Bonferroni).
    """

    first: str
    second: str
    ln_ssnr: Estimate
    resolution_A: Estimate
    bands: Mapping[Band, Estimate]
    p_value: float | None
    separated: bool


@dataclass(frozen=True)
class Compared:
    """All groups and all pairs of one kind of draw."""

    groups: Mapping[str, DrawSummary]
    differences: tuple[Difference, ...]
    bands: tuple[Band, ...]


def _mean(values: Sequence[float], shares: np.ndarray) -> ClusteredFit | None:
    return fit_clustered(np.array(values), np.ones((len(values), 1)), shares) if len(values) > 1 else None


def _mean_resolution(
    refined: Sequence[RefinedSubset], shares: np.ndarray, start_resolution_A: float
) -> tuple[ClusteredFit | None, str]:
    """Mean 1/d^2; none where a draw shows the start map or the pixel instead of its particles."""
    values = [inverse_square(one) for one in refined]
    known = [value for value in values if value is not None]
    floor = (FINER_THAN_START / start_resolution_A) ** 2
    stuck, total = sum(value is None or value < floor for value in values), len(values)
    if stuck:
        return None, f"{stuck} of {total} draws are not clearly finer than the start map's {start_resolution_A:.0f} A"
    limited = sum(at_nyquist(one) for one in refined)
    if limited:
        return None, f"{limited} of {total} draws are at Nyquist, where the pixel decides"
    fit = _mean(known, shares)
    return fit, "" if fit is not None else "the draws leave no spread from which to tell an error"


def one_group(fit: ClusteredFit | None) -> Fitted | None:
    """The mean that a one-column fit holds."""
    return None if fit is None else fit.combination(np.ones(1))


def _summarise(
    grid: Grid,
    subsets: Sequence[Subset],
    refined: Sequence[RefinedSubset],
    bands: Sequence[Band],
    common: float | None,
    start_resolution_A: float,
) -> DrawSummary:
    shares = np.stack([grid.shares(subset.indices) for subset in subsets])
    # SSNR is proportional to the particles; equal-particle draws are brought to one common count by that law, so
    # that draw-to-draw differences in count do not pass for differences between micrographs.
    scale = [0.0 if common is None else float(np.log(common / len(subset))) for subset in subsets]

    def signal(over: Sequence[Band]) -> ClusteredFit | None:
        if not over:
            return None
        return _mean([mean_ln_ssnr(one, over) + shift for one, shift in zip(refined, scale, strict=True)], shares)

    resolution, reason = _mean_resolution(refined, shares, start_resolution_A)
    return DrawSummary(
        resolutions_A=tuple(one.resolution_fsc143_A for one in refined),
        particles=tuple(len(subset) for subset in subsets),
        resolution=resolution,
        resolution_reason=reason,
        ln_ssnr=signal(bands),
        bands={band: signal([band]) for band in bands},
    )


def resolution_estimate(fitted: Fitted | None, confidence: float, method: str, reason: str) -> Estimate:
    """Turn an estimate of 1/d^2 into one of d, A."""
    if fitted is None:
        return Unknown(reason)
    interval = fitted.interval(confidence, method)
    if interval.value <= 0:
        return Unknown("the resolution is not above zero frequency")
    if interval.low <= 0:
        return Unknown(
            "the interval has no coarse end: the micrographs differ too much", to_resolution_A(interval.value)
        )
    return interval.mapped(to_resolution_A, method)


def _resolution_difference(first: DrawSummary, second: DrawSummary, confidence: float) -> Estimate:
    a, b = one_group(first.resolution), one_group(second.resolution)
    if a is None or b is None:
        return Unknown(first.resolution_reason or second.resolution_reason)
    mean = (a.value + b.value) / 2
    # d = y^(-1/2), so a small difference in y is -y^(-3/2)/2 of it in d.
    method = f"{DRAWS_METHOD}, delta method"
    return a.minus(b).interval(confidence, "").mapped(lambda y: -0.5 * mean**-1.5 * y, method)


def _difference(first: Fitted | None, second: Fitted | None, confidence: float) -> Estimate:
    if first is None or second is None:
        return Unknown(NO_SIGNAL)
    return first.minus(second).interval(confidence, DRAWS_METHOD)


def compare(
    grid: Grid,
    draws: Mapping[str, Sequence[Subset]],
    refiner: Refiner,
    start_resolution_A: float,
    confidence: float,
    equal_particles: bool,
) -> Compared:
    """Compare groups over their draws.

    Parameters
    ----------
    grid
        Micrographs and particles.
    draws
        Group -> its draws.
    refiner
        Called once per draw (a caching refiner makes it free the second time).
    start_resolution_A
        Bands coarser than this are not evidence.
    confidence
        Level of the intervals.
    equal_particles
        Bring ln SSNR to one common particle count; where draws hold equal micrographs, the count is part of the result.
    """
    refined = {name: [refiner(subset.indices) for subset in subsets] for name, subsets in draws.items()}
    bands = informative_bands([one for found in refined.values() for one in found], start_resolution_A)
    counts = [len(subset) for subsets in draws.values() for subset in subsets]
    common = float(np.mean(counts)) if equal_particles else None
    groups = {
        name: _summarise(grid, subsets, refined[name], bands, common, start_resolution_A)
        for name, subsets in draws.items()
    }
    pairs = list(combinations(groups, 2))
    differences: list[Difference] = []
    for first, second in pairs:
        a, b = groups[first], groups[second]
        one, two = one_group(a.ln_ssnr), one_group(b.ln_ssnr)
        p_value = one.minus(two).p_value() if one is not None and two is not None else None
        differences.append(
            Difference(
                first,
                second,
                _difference(one, two, confidence),
                _resolution_difference(a, b, confidence),
                {band: _difference(one_group(a.bands[band]), one_group(b.bands[band]), confidence) for band in bands},
                p_value,
                p_value is not None and p_value < (1 - confidence) / len(pairs),
            )
        )
    return Compared(groups, tuple(differences), tuple(bands))


def _band_name(band: Band) -> str:
    return f"{band[0]:g}-{band[1]:g} A"


def _summary_json(one: DrawSummary, confidence: float) -> dict[str, Any]:
    fitted = one_group(one.ln_ssnr)
    signal: Estimate = Unknown(NO_SIGNAL)
    if fitted is not None and fitted.variance > 0:
        signal = fitted.interval(confidence, DRAWS_METHOD)
    elif fitted is not None:
        signal = Unknown(f"in every draw at the limits of FSC {FSC_FLOOR:g} to {FSC_CEILING:g}", fitted.value)
    resolution = resolution_estimate(one_group(one.resolution), confidence, DRAWS_METHOD, one.resolution_reason)
    return {
        "particles": list(one.particles),
        "draw_resolutions_A": list(one.resolutions_A),
        "resolution_fsc143_A": resolution.to_json(),
        "ln_ssnr": signal.to_json(),
    }


def compared_json(compared: Compared, confidence: float) -> dict[str, Any]:
    """One kind of draw as results.json holds it."""
    return {
        "bands": [_band_name(band) for band in compared.bands],
        "groups": {name: _summary_json(one, confidence) for name, one in compared.groups.items()},
        "differences": [
            {
                "first": one.first,
                "second": one.second,
                "ln_ssnr": one.ln_ssnr.to_json(),
                "ln_ssnr_p_value": one.p_value,
                "ln_ssnr_by_band": {_band_name(band): value.to_json() for band, value in one.bands.items()},
                "resolution_fsc143_A": one.resolution_A.to_json(),
                "separated": one.separated,
            }
            for one in compared.differences
        ],
    }


def shows_effect(compared: Compared) -> bool | None:
    """Whether any pair is told apart; None where nothing could be compared."""
    known = [one for one in compared.differences if isinstance(one.ln_ssnr, Interval)]
    return any(one.separated for one in known) if known else None
