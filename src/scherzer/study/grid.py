"""The session's tables as the study sees them: micrographs with a group, particles with a micrograph and a half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scherzer.study.refined import Indices
from scherzer.study.settings import GROUPS


@dataclass(frozen=True)
class Grid:
    """Accepted micrographs and the particles picked on them.

    Attributes
    ----------
    names : (m,) tuple of str
        Accepted micrographs.
    group : (m,) array of str
        Contrast class; "" where the micrograph has none.
    underfocus_A : (m,) array
        Mean of the two defoci, positive for underfocus; NaN where not fitted.
    ctf_fit_resolution_A : (m,) array
        NaN where not fitted.
    micrograph_half : (m,) array
        Half-set (1 or 2) of most of its particles; 0 where it has none.
    particle_micrograph : (n,) array
        Row in `names`, -1 for particles of micrographs that were not accepted.
    particle_half : (n,) array
        1 or 2, as the table fixed it.
    selected : (n,) bool array
        Kept by 2D class selection.
    """

    names: tuple[str, ...]
    group: NDArray[np.str_]
    underfocus_A: NDArray[np.float64]
    ctf_fit_resolution_A: NDArray[np.float64]
    micrograph_half: Indices
    particle_micrograph: Indices
    particle_half: Indices
    selected: NDArray[np.bool_]

    @property
    def groups(self) -> tuple[str, ...]:
        """Contrast groups with at least one accepted micrograph, best first."""
        return tuple(name for name in GROUPS if bool(np.any(self.group == name)))

    def micrographs_of(self, groups: tuple[str, ...]) -> Indices:
        """Rows of the micrographs of these groups."""
        return np.flatnonzero(np.isin(self.group, groups)).astype(np.int64)

    def particles_on(self, micrographs: Indices, selected_only: bool = True) -> Indices:
        """Indices of the particles on these micrographs (rows), in table order."""
        wanted = np.zeros(len(self.names) + 1, dtype=bool)  # one more, for the -1 of micrographs not accepted
        wanted[micrographs] = True
        on_them = wanted[self.particle_micrograph]
        return np.flatnonzero(on_them & self.selected if selected_only else on_them).astype(np.int64)

    def shares(self, indices: Indices) -> NDArray[np.float64]:
        """(m,) fraction of a subset's particles that each micrograph contributes."""
        counts = np.bincount(self.particle_micrograph[indices], minlength=len(self.names))
        return np.asarray(counts / max(1, len(indices)), dtype=np.float64)


def _column(table: pd.DataFrame, name: str, default: Any) -> NDArray[Any]:
    return np.asarray(table[name] if name in table else np.full(len(table), default))


def _selection_mask(selected: NDArray[Any], count: int) -> NDArray[np.bool_]:
    selected = np.asarray(selected)
    if selected.dtype == bool:
        if selected.shape != (count,):
            raise ValueError(f"selected is a mask of {selected.shape} for {count} particles")
        return selected
    mask = np.zeros(count, dtype=bool)
    mask[selected.astype(np.int64)] = True
    return mask


def read_grid(micrographs: pd.DataFrame, picked: pd.DataFrame, selected: NDArray[Any]) -> Grid:
    """Bring the tables of the contrast, extract and class2d stages together.

    Parameters
    ----------
    micrographs
        Rows of the contrast stage: rlnMicrographName, sczState, and where present rlnDefocusU/V (A),
        rlnCtfMaxResolution (A), sczContrastClass.
    picked
        All extracted particles: rlnMicrographName, rlnRandomSubset.
    selected
        Boolean mask over `picked`, or row numbers.

    Raises
    ------
    ValueError
        A particle names a micrograph that is not in the table, or has no half-set.
    """
    accepted = micrographs[_column(micrographs, "sczState", "accepted") == "accepted"]
    names = tuple(str(name) for name in accepted["rlnMicrographName"])
    row_of = {name: row for row, name in enumerate(names)}
    known = set(micrographs["rlnMicrographName"].astype(str))
    particle_names = picked["rlnMicrographName"].astype(str).tolist()
    strangers = sorted(set(particle_names) - known)
    if strangers:
        raise ValueError(f"{len(strangers)} micrographs of the particle table are unknown, the first is {strangers[0]}")
    particle_micrograph = np.array([row_of.get(name, -1) for name in particle_names], dtype=np.int64)
    half = _column(picked, "rlnRandomSubset", 0).astype(np.int64)
    if not bool(np.all(np.isin(half, (1, 2)))):
        raise ValueError("every particle needs its half-set (rlnRandomSubset 1 or 2), fixed before the study")
    defocus = np.stack([_column(accepted, f"rlnDefocus{axis}", np.nan).astype(np.float64) for axis in "UV"])
    group = _column(accepted, "sczContrastClass", "").astype(str)
    return Grid(
        names=names,
        group=np.where(np.isin(group, GROUPS), group, ""),
        underfocus_A=defocus.mean(axis=0),
        ctf_fit_resolution_A=_column(accepted, "rlnCtfMaxResolution", np.nan).astype(np.float64),
        micrograph_half=_majority_half(particle_micrograph, half, len(names)),
        particle_micrograph=particle_micrograph,
        particle_half=half,
        selected=_selection_mask(selected, len(picked)) & (particle_micrograph >= 0),
    )


def _majority_half(particle_micrograph: Indices, half: Indices, count: int) -> Indices:
    inside = particle_micrograph >= 0
    tally = np.stack([np.bincount(particle_micrograph[inside & (half == h)], minlength=count) for h in (1, 2)])
    return np.where(tally.sum(axis=0) == 0, 0, 1 + tally.argmax(axis=0)).astype(np.int64)
