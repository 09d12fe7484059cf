"""The facts that the verdict is given on, and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scherzer.study.comparisons import Difference
from scherzer.study.defocus import DefocusPair, GroupDefocus
from scherzer.study.intervals import Estimate, Unknown
from scherzer.study.reslog import Need

# What a rejection's sentence is about: the subject whose word comes first in it ("empty: no rings" is about empty).
REASON_WORDS = {
    "drift": r"\b(drift|motion|moved)",
    "ice": r"\b(ice|icy|crystal)",
    "empty": r"\b(empty|no particles|vacuum|hole|support)",
    "rings": r"\b(rings?|thon|ctf)\b",
}


@dataclass(frozen=True)
class Curation:
    """What became of the micrographs and the picks.

    Attributes
    ----------
    accepted, rejected, failed : int
        Micrographs by state; failed ones could not be read or processed.
    rejected_for : mapping of str to int
        Rejections by subject (`REASON_WORDS`, else "other").
    picked, selected : int
        Particles on accepted micrographs.
    ctf_fit_resolution_A : float or None
        Median over accepted micrographs.
    underfocus_um : tuple of float or None
        5 and 95 % quantiles over accepted micrographs.
    """

    accepted: int
    rejected: int
    failed: int
    rejected_for: Mapping[str, int]
    picked: int
    selected: int
    ctf_fit_resolution_A: float | None
    underfocus_um: tuple[float, float] | None

    @property
    def readable(self) -> int:
        """Micrographs that could be judged."""
        return self.accepted + self.rejected

    @property
    def main_reason(self) -> str:
        """Subject of most rejections."""
        return max(self.rejected_for, key=lambda name: self.rejected_for[name], default="other")


@dataclass(frozen=True)
class Evidence:
    """Everything the rules of the verdict may look at.

    ``structure`` is what the refinement of all selected particles was judged to show, "structure", "no structure" or
    "not certain", with its reason; None where it was not judged.
    """

    curation: Curation
    symmetry_order: int
    start_resolution_A: float
    target_resolution_A: float
    resolution: Estimate = field(default_factory=lambda: Unknown("nothing was refined"))
    structure: str | None = None
    structure_reason: str = ""
    nyquist_A: float | None = None
    at_nyquist: bool = False
    need: Need = field(default_factory=lambda: Need(Unknown("nothing was refined"), None))
    equal_particles: tuple[Difference, ...] = ()
    equal_micrographs: tuple[Difference, ...] = ()
    control_shows_effect: bool | None = None
    defocus: Mapping[str, GroupDefocus] = field(default_factory=dict)
    defocus_pairs: tuple[DefocusPair, ...] = ()
    no_comparison: str = ""

    @property
    def asymmetric_units(self) -> int:
        """Selected particles times the order of the point group."""
        return self.curation.selected * self.symmetry_order


def subject_of(reason: str) -> str:
    """What a rejection's sentence is about, by the first telling word in it; "other" where there is none."""
    found = {name: re.search(pattern, reason, re.IGNORECASE) for name, pattern in REASON_WORDS.items()}
    places = {name: match.start() for name, match in found.items() if match}
    return min(places, key=lambda name: places[name], default="other")


def curation_of(micrographs: pd.DataFrame, picked: int, selected: int) -> Curation:
    """Count states and reasons in the micrograph table; defoci and fits are of the accepted ones."""
    state = (
        micrographs["sczState"].astype(str) if "sczState" in micrographs else pd.Series("accepted", micrographs.index)
    )
    reasons = micrographs["sczReason"] if "sczReason" in micrographs else pd.Series("", micrographs.index)
    accepted = micrographs[state == "accepted"]
    fits = np.array([], dtype=np.float64)
    if "rlnCtfMaxResolution" in accepted:
        fits = accepted["rlnCtfMaxResolution"].to_numpy(np.float64)
    underfocus = None
    if {"rlnDefocusU", "rlnDefocusV"} <= set(accepted.columns) and len(accepted):
        mean_um = (accepted["rlnDefocusU"] + accepted["rlnDefocusV"]).to_numpy(np.float64) / 2e4
        if np.isfinite(mean_um).any():
            low, high = np.nanquantile(mean_um, (0.05, 0.95))
            underfocus = (float(low), float(high))
    return Curation(
        accepted=int((state == "accepted").sum()),
        rejected=int((state == "rejected").sum()),
        failed=int((state == "failed").sum()),
        rejected_for=Counter(subject_of(str(reason)) for reason in reasons[state == "rejected"]),
        picked=picked,
        selected=selected,
        ctf_fit_resolution_A=float(np.nanmedian(fits)) if np.isfinite(fits).any() else None,
        underfocus_um=underfocus,
    )
