"""What one refinement tells the study, and the promise never to refine the same particles twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RefinedSubset:
    """Numbers of one refinement of one subset.

    Attributes
    ----------
    resolution_fsc143_A, resolution_fsc05_A : float or None
        First crossings of the mask-corrected FSC, A; None where it never rises above the threshold.
    bfactor_A2 : float or None
        Guinier B-factor, A2; None where the fit window is too short.
    frequency_per_A : (s,) array
        Shell frequencies, 1/A, rising; the last one is taken as Nyquist.
    fsc : (s,) array
        Mask-corrected FSC of the two half-maps.
    particles, micrographs : int
        Size of the subset.
    mean_score : float
        Mean alignment score of its particles, as the refinement defines it.
    files : mapping of str to str
        Maps written for this subset, by kind; empty where none were kept.
    structure : mapping or None
        Verdict whether there is a structure in it, ``sentence`` and evidence; None where it was not asked.
    tied : str
        Along what the half-maps were kept on one another; empty where the symmetry leaves nothing free.
    box_px, pixel_size_A : int and float, or None
        Sampling of the maps; they reach as far as the images, in pixels for the finest detail that is refined.
    """

    resolution_fsc143_A: float | None
    resolution_fsc05_A: float | None
    bfactor_A2: float | None
    frequency_per_A: NDArray[np.floating[Any]]
    fsc: NDArray[np.floating[Any]]
    particles: int
    micrographs: int
    mean_score: float
    files: Mapping[str, str] = field(default_factory=dict)
    structure: Mapping[str, Any] | None = None
    tied: str = ""
    box_px: int | None = None
    pixel_size_A: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, the inverse of `from_json`; floats survive exactly."""
        return {
            "resolution_fsc143_A": self.resolution_fsc143_A,
            "resolution_fsc05_A": self.resolution_fsc05_A,
            "bfactor_A2": self.bfactor_A2,
            "frequency_per_A": [float(value) for value in self.frequency_per_A],
            "fsc": [float(value) for value in self.fsc],
            "particles": self.particles,
            "micrographs": self.micrographs,
            "mean_score": self.mean_score,
            "files": dict(self.files),
            "tied": self.tied,
            "box_px": self.box_px,
            "pixel_size_A": self.pixel_size_A,
            "structure": None if self.structure is None else dict(self.structure),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> RefinedSubset:
        """Rebuild from what `to_json` gave, so that a session can keep finished refinements on disk."""
        arrays = {name: np.asarray(entry[name], dtype=np.float64) for name in ("frequency_per_A", "fsc")}
        return cls(**{**entry, **arrays})


Indices = NDArray[np.int64]
Refiner = Callable[[Indices], RefinedSubset]
"""Particle indices into the extracted table -> what their refinement gave."""


def subset_key(indices: Indices) -> str:
    """Key of an index set: the same particles in any order give the same key."""
    ordered = np.sort(np.asarray(indices, dtype=np.int64))
    return hashlib.sha256(ordered.astype("<i8").tobytes()).hexdigest()[:20]


def cached(refiner: Refiner, cache: MutableMapping[str, RefinedSubset]) -> Refiner:
    """Wrap a refiner so that no index set is refined twice; a session may pass a cache that lives on disk."""

    def refine_once(indices: Indices) -> RefinedSubset:
        key = subset_key(indices)
        if key not in cache:
            cache[key] = refiner(indices)
        return cache[key]

    return refine_once
