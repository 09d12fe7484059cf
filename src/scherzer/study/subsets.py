"""Subsets of particles that remember how they came to be, and the random draws that make them.

Draws take whole micrographs, because particles of one micrograph share ice, defocus and drift: the micrograph is
the unit that a repeat must change. Each draw takes as many micrographs from half-set 1 as from half-set 2, because
half-sets were fixed once and a draw with one empty half has no FSC.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scherzer.study.grid import Grid
from scherzer.study.refined import Indices, subset_key


@dataclass(frozen=True)
class Subset:
    """Particles to refine together.

    Attributes
    ----------
    name : str
        Short name for tables and figures.
    indices : (n,) array
        Rows of the particle table, rising.
    lineage : tuple of str
        How it was made, oldest step first.
    """

    name: str
    indices: Indices
    lineage: tuple[str, ...]

    @cached_property
    def key(self) -> str:
        """Key of the index set (two subsets with the same particles share it)."""
        return subset_key(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def describe(self, grid: Grid) -> dict[str, Any]:
        """Size and lineage for results.json."""
        micrographs = len(np.unique(grid.particle_micrograph[self.indices]))
        return {"particles": len(self), "micrographs": micrographs, "lineage": list(self.lineage)}


def whole(grid: Grid, name: str, groups: tuple[str, ...] | None, selected_only: bool) -> Subset:
    """All particles of some groups (None: of every accepted micrograph), selected or as picked."""
    micrographs = np.arange(len(grid.names), dtype=np.int64) if groups is None else grid.micrographs_of(groups)
    where = "all accepted micrographs" if groups is None else f"{' + '.join(groups)} micrographs"
    picked = f"picked particles of the {where}"
    lineage = (picked, "kept by 2D class selection") if selected_only else (picked,)
    return Subset(name, grid.particles_on(micrographs, selected_only), lineage)


def by_half(grid: Grid, micrographs: Indices) -> tuple[Indices, Indices]:
    """Those of the micrographs that carry selected particles, split by half-set."""
    carrying = np.bincount(grid.particle_micrograph[grid.selected], minlength=len(grid.names)) > 0
    usable = micrographs[carrying[micrographs]]
    first, second = (usable[grid.micrograph_half[usable] == half] for half in (1, 2))
    return first, second


def draw_micrographs(
    rng: np.random.Generator, halves: tuple[Indices, Indices], per_half: int, draws: int, disjoint: bool
) -> list[Indices]:
    """Draw blocks of ``2 * per_half`` micrographs, the same number from each half-set.

    Parameters
    ----------
    rng
        Generator; advanced.
    halves
        Micrographs of half-set 1 and of half-set 2.
    per_half
        Micrographs to take from each.
    draws
        Blocks wanted. Overlapping draws are all different, so fewer come back where there are not that many.
    disjoint
        No micrograph in two blocks.

    Raises
    ------
    ValueError
        More micrographs are asked for than there are.
    """
    needed = per_half * (draws if disjoint else 1)
    if per_half < 1 or any(len(half) < needed for half in halves):
        raise ValueError(f"{needed} micrographs per half-set wanted, {[len(half) for half in halves]} there")
    if disjoint:
        shuffled = [rng.permutation(half)[: per_half * draws].reshape(draws, per_half) for half in halves]
        return [np.sort(np.concatenate([part[draw] for part in shuffled])) for draw in range(draws)]
    possible = comb(len(halves[0]), per_half) * comb(len(halves[1]), per_half)
    found: dict[tuple[int, ...], Indices] = {}
    while len(found) < min(draws, possible):
        block = np.sort(np.concatenate([rng.choice(half, per_half, replace=False) for half in halves]))
        found.setdefault(tuple(block.tolist()), block)
    return list(found.values())


def trim(rng: np.random.Generator, grid: Grid, indices: Indices, count: int) -> Indices:
    """Leave out particles at random until `count` remain, half-sets as even as they can be.

    Even half-sets matter: the FSC of 300 + 20 particles is far worse than that of 160 + 160, and a comparison at
    equal counts must not turn into one of unequal halves.
    """
    if count >= len(indices):
        return indices
    first, second = (indices[grid.particle_half[indices] == half] for half in (1, 2))
    from_first = min(len(first), max(count // 2, count - len(second)))
    kept = [rng.choice(first, from_first, replace=False), rng.choice(second, count - from_first, replace=False)]
    return np.sort(np.concatenate(kept)).astype(np.int64)


@dataclass(frozen=True)
class EqualDraws:
    """Repeated draws of equal size from two or more groups.

    Attributes
    ----------
    micrographs_per_draw : int
    disjoint : bool
        No two draws of a group share a micrograph.
    equal_micrographs, equal_particles : dict of str to tuple of Subset
        By group: draws with all their particles, and the same draws trimmed to the smallest group's count. The
        smallest group's subset is the same in both, and so is refined once.
    """

    micrographs_per_draw: int
    disjoint: bool
    equal_micrographs: dict[str, tuple[Subset, ...]]
    equal_particles: dict[str, tuple[Subset, ...]]

    def particle_counts(self) -> list[int]:
        """Particles in each equal-particle draw."""
        return [len(subset) for subset in next(iter(self.equal_particles.values()))]


def equal_draws(
    grid: Grid, members: dict[str, Indices], draws: int, seed: list[int], minimum: int, disjoint_minimum: int
) -> EqualDraws | str:
    """Make repeated draws of equally many micrographs, and of equally many particles, from each group.

    Disjoint blocks are used where every group has enough micrographs and each block then holds
    `disjoint_minimum` particles; otherwise random halves of the smallest group's micrographs.

    Parameters
    ----------
    grid
        Micrographs and particles.
    members
        Group name -> its micrographs (rows).
    draws
        Repeats.
    seed
        Seed sequence of this purpose, so that another experiment's draws do not shift these.
    minimum, disjoint_minimum
        Fewest particles of any draw, and of a disjoint draw.

    Returns
    -------
    EqualDraws or str
        The draws, or the reason why there are none.
    """
    halves = {name: by_half(grid, rows) for name, rows in members.items()}
    scarce = {name: min(len(half) for half in pair) for name, pair in halves.items()}
    short = [name for name, count in scarce.items() if count < 2]
    if short:
        return (
            f"{', '.join(short)}: a half-set has fewer than 2 micrographs with selected particles, so none can repeat"
        )
    for disjoint in (True, False):
        per_half = min(scarce.values()) // (draws if disjoint else 2)
        if per_half < 1:
            continue
        rng = np.random.default_rng(seed)
        blocks = {name: draw_micrographs(rng, halves[name], per_half, draws, disjoint) for name in members}
        repeats = min(len(found) for found in blocks.values())
        counts = np.array([[len(grid.particles_on(b)) for b in blocks[name][:repeats]] for name in members])
        if counts.min() >= (disjoint_minimum if disjoint else minimum) and repeats >= 2:
            return _assemble(rng, grid, blocks, counts, 2 * per_half, disjoint)
    return f"the smallest draw would hold {int(counts.min())} particles in {repeats} repeats; {minimum} in 2 are needed"


def _assemble(
    rng: np.random.Generator,
    grid: Grid,
    blocks: dict[str, list[Indices]],
    counts: NDArray[np.int64],
    per_draw: int,
    disjoint: bool,
) -> EqualDraws:
    repeats = counts.shape[1]
    kind = "disjoint" if disjoint else "overlapping"
    full: dict[str, tuple[Subset, ...]] = {}
    even: dict[str, tuple[Subset, ...]] = {}
    for name, found in blocks.items():
        whole_draws, trimmed = [], []
        for draw in range(repeats):
            steps = (
                f"selected particles of the {name} micrographs",
                f"{kind} draw {draw + 1} of {repeats}: {per_draw} micrographs",
            )
            indices = grid.particles_on(found[draw])
            count = int(counts[:, draw].min())
            label = f"{name}, draw {draw + 1}"
            whole_draws.append(Subset(f"{label}, equal micrographs", indices, steps))
            kept = trim(rng, grid, indices, count)
            trimmed.append(Subset(f"{label}, equal particles", kept, (*steps, f"{count} particles at random")))
        full[name], even[name] = tuple(whole_draws), tuple(trimmed)
    return EqualDraws(per_draw, disjoint, full, even)


def shuffled_members(rng: np.random.Generator, grid: Grid, members: dict[str, Indices]) -> dict[str, Indices]:
    """Deal the micrographs of all groups to two pseudo-groups at random, half-set by half-set."""
    first, second = by_half(grid, np.concatenate(list(members.values())))
    mixed = [rng.permutation(half) for half in (first, second)]
    return {
        name: np.sort(np.concatenate([half[offset::2] for half in mixed]))
        for offset, name in enumerate(("shuffled A", "shuffled B"))
    }


def ladder_draws(grid: Grid, fraction: float, draws: int, seed: list[int], minimum: int) -> tuple[Subset, ...]:
    """Draws of a fraction of all micrographs, for one rung of the ResLog ladder; empty where it is too small."""
    halves = by_half(grid, np.arange(len(grid.names), dtype=np.int64))
    scarce = min(len(half) for half in halves)
    per_half = round(fraction * scarce)
    if per_half < 1 or per_half >= scarce:
        return ()
    rng = np.random.default_rng(seed)
    disjoint = per_half * draws <= scarce
    blocks = draw_micrographs(rng, halves, per_half, draws, disjoint)
    subsets = [
        Subset(
            f"ladder, {2 * per_half} micrographs, draw {draw + 1}",
            grid.particles_on(block),
            ("selected particles of all accepted micrographs", f"ladder draw {draw + 1}: {2 * per_half} micrographs"),
        )
        for draw, block in enumerate(blocks)
    ]
    return tuple(subset for subset in subsets if len(subset) >= minimum)
