"""E1: underfocus by contrast class, and how far the classes overlap in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scherzer.study.grid import Grid
from scherzer.study.intervals import Estimate, Interval, Unknown

A_PER_UM = 1e4
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
# Fewer values than this have no bootstrap worth the name.
FEWEST_FOR_BOOTSTRAP = 5
RESAMPLES = 1000

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class GroupDefocus:
    """Underfocus of one contrast class, um."""

    micrographs: int
    quantiles_um: tuple[float, ...]
    median_um: Estimate
    ctf_fit_resolution_A: float | None

    @property
    def low_um(self) -> float:
        """5 % quantile."""
        return self.quantiles_um[1]

    @property
    def high_um(self) -> float:
        """95 % quantile."""
        return self.quantiles_um[5]


@dataclass(frozen=True)
class DefocusPair:
    """How two classes lie to each other in underfocus.

    Attributes
    ----------
    first, second : str
    overlap_fraction : float
        Share of both classes' micrographs inside the range that the two have in common.
    probability_larger : Interval or Unknown
        Probability that a micrograph of `first` has the larger underfocus (the Mann-Whitney statistic; ties count
        half): 0.5 where defocus does not tell the classes apart.
    """

    first: str
    second: str
    overlap_fraction: float
    probability_larger: Estimate


def _probability_larger(first: Array, second: Array, axis: int = -1) -> Any:
    a, b = np.moveaxis(np.asarray(first), axis, -1), np.moveaxis(np.asarray(second), axis, -1)
    difference = a[..., :, None] - b[..., None, :]
    return np.mean((difference > 0) + 0.5 * (difference == 0), axis=(-2, -1))


def _bootstrap(samples: tuple[Array, ...], statistic: Any, confidence: float, seed: int) -> Estimate:
    value = float(statistic(*samples, axis=-1))
    smallest = min(len(sample) for sample in samples)
    if smallest < FEWEST_FOR_BOOTSTRAP:
        return Unknown(f"{smallest} micrographs; an interval needs {FEWEST_FOR_BOOTSTRAP}", value)
    found = stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        batch=50,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(
        value, float(found.low), float(found.high), f"percentile bootstrap of micrographs, {RESAMPLES} resamples"
    )


def defocus_by_group(grid: Grid, confidence: float, seed: int) -> dict[str, GroupDefocus]:
    """Underfocus of each class; micrographs without a CTF fit are left out."""
    found: dict[str, GroupDefocus] = {}
    for name in grid.groups:
        rows = grid.micrographs_of((name,))
        rows = rows[np.isfinite(grid.underfocus_A[rows])]
        if len(rows) == 0:
            continue
        values_um = grid.underfocus_A[rows] / A_PER_UM
        fits = grid.ctf_fit_resolution_A[rows]
        fits = fits[np.isfinite(fits)]
        found[name] = GroupDefocus(
            micrographs=len(rows),
            quantiles_um=tuple(float(value) for value in np.quantile(values_um, QUANTILES)),
            median_um=_bootstrap((values_um,), np.median, confidence, seed),
            ctf_fit_resolution_A=float(np.median(fits)) if len(fits) else None,
        )
    return found


def defocus_pairs(grid: Grid, confidence: float, seed: int) -> tuple[DefocusPair, ...]:
    """Every pair of classes, the better class first."""
    pairs: list[DefocusPair] = []
    values = {name: grid.underfocus_A[grid.micrographs_of((name,))] / A_PER_UM for name in grid.groups}
    values = {name: found[np.isfinite(found)] for name, found in values.items() if np.isfinite(found).any()}
    for first, second in combinations(values, 2):
        a, b = values[first], values[second]
        low, high = max(a.min(), b.min()), min(a.max(), b.max())
        both = np.concatenate([a, b])
        pairs.append(
            DefocusPair(
                first,
                second,
                float(np.mean((both >= low) & (both <= high))),
                _bootstrap((a, b), _probability_larger, confidence, seed),
            )
        )
    return tuple(pairs)


def e1_json(groups: dict[str, GroupDefocus], pairs: tuple[DefocusPair, ...]) -> dict[str, Any]:
    """E1 as results.json holds it."""
    return {
        "title": "Underfocus by contrast class",
        "performed": bool(groups),
        "reason": "" if groups else "no accepted micrograph has both a contrast class and a CTF fit",
        "groups": {
            name: {
                "micrographs": one.micrographs,
                "underfocus_quantiles_um": {f"{q:g}": v for q, v in zip(QUANTILES, one.quantiles_um, strict=True)},
                "underfocus_median_um": one.median_um.to_json(),
                "ctf_fit_resolution_median_A": one.ctf_fit_resolution_A,
            }
            for name, one in groups.items()
        },
        "pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                "overlap_fraction": pair.overlap_fraction,
                "probability_first_has_larger_underfocus": pair.probability_larger.to_json(),
            }
            for pair in pairs
        ],
    }
