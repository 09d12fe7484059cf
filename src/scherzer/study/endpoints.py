"""What is compared between refinements: ln SSNR in fixed bands (primary) and the resolution (headline)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scherzer.study.refined import RefinedSubset
from scherzer.study.settings import BANDS_A

Array = NDArray[np.floating[Any]]
Band = tuple[float, float]

# FSC is held to this range before the logarithm: below 0.02 a band holds noise, and its logarithm would run away;
# above 0.999 rounding decides.
FSC_FLOOR, FSC_CEILING = 0.02, 0.999
# A band is compared where the refinements' mean FSC in it is at least this: 0.1 lies under the usual threshold of
# 0.143, so that a band which only the better group reaches still counts.
INFORMATIVE_FSC = 0.1
# Beyond this share of Nyquist a resolution says where the pixel ends, not where the signal ends.
NYQUIST_SHARE = 0.95


def band_fsc(refined: RefinedSubset, band: Band) -> float | None:
    """Mean FSC in a band (A, coarse and fine edge), shells weighted by their area; None outside the curve."""
    coarse, fine = band
    inside = (refined.frequency_per_A >= 1.0 / coarse) & (refined.frequency_per_A < 1.0 / fine)
    if not bool(inside.any()) or float(refined.frequency_per_A[-1]) < 0.98 / fine:
        return None
    weight = refined.frequency_per_A[inside] ** 2
    return float(np.sum(weight * refined.fsc[inside]) / np.sum(weight))


def ln_ssnr(fsc: float) -> float:
    """Ln of the half-map spectral signal-to-noise ratio FSC / (1 - FSC)."""
    held = min(max(fsc, FSC_FLOOR), FSC_CEILING)
    return math.log(held / (1.0 - held))


def informative_bands(refined: Sequence[RefinedSubset], start_resolution_A: float) -> list[Band]:
    """Bands beyond the shared start map in which these refinements, taken together, hold signal.

    The choice looks at all groups at once and never at their difference, so it favours none.
    """
    chosen: list[Band] = []
    for band in BANDS_A:
        values = [band_fsc(one, band) for one in refined]
        known = [value for value in values if value is not None]
        mean = sum(known) / len(known) if known else 0.0
        beyond_start = band[0] <= start_resolution_A * 1.001
        if beyond_start and len(known) == len(values) and INFORMATIVE_FSC <= mean < FSC_CEILING:
            chosen.append(band)
    return chosen


def mean_ln_ssnr(refined: RefinedSubset, bands: Sequence[Band]) -> float:
    """Mean of ln SSNR over bands: the primary endpoint as one number."""
    values = [band_fsc(refined, band) for band in bands]
    return sum(ln_ssnr(value) for value in values if value is not None) / len(values)


def inverse_square(refined: RefinedSubset) -> float | None:
    """1/d^2 (1/A^2) at FSC 0.143; None where the map has no resolution.

    Errors are taken in 1/d^2, because it is linear in the logarithm of particles and of their quality
    (Rosenthal & Henderson, J. Mol. Biol. 333, 721, 2003).
    """
    resolution = refined.resolution_fsc143_A
    return None if resolution is None else resolution**-2


def to_resolution_A(value: float) -> float:
    """Resolution of a 1/d^2, A; infinite at and below 0."""
    return value**-0.5 if value > 0 else math.inf


def nyquist_A(refined: RefinedSubset) -> float:
    """Finest resolution the curve reaches, A."""
    return 1.0 / float(refined.frequency_per_A[-1])


def at_nyquist(refined: RefinedSubset) -> bool:
    """Whether the resolution is set by the pixel rather than by the particles."""
    resolution = refined.resolution_fsc143_A
    return resolution is not None and nyquist_A(refined) / resolution >= NYQUIST_SHARE


def first_crossing_A(frequency_per_A: Array, fsc: Array, threshold: float) -> float | None:
    """Resolution (A) at the first fall through a threshold, linear between shells.

    None where the curve starts below it; the last shell's resolution where it never falls.
    """
    below = np.flatnonzero(fsc < threshold)
    if len(below) == 0:
        return 1.0 / float(frequency_per_A[-1])
    shell = int(below[0])
    if shell == 0:
        return None
    left, right = float(fsc[shell - 1]), float(fsc[shell])
    step = (left - threshold) / (left - right)
    frequency = float(frequency_per_A[shell - 1]) + step * float(frequency_per_A[shell] - frequency_per_A[shell - 1])
    return 1.0 / frequency if frequency > 0 else None
