"""What can be set about maps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RefineSettings:
    """How a map is refined.

    Attributes
    ----------
    start_resolution_A : float
        The start map is low-passed to this before it is used; only detail beyond it is independent between the
        half-sets. 12 A, since rounder particles have more than one plausible setting at 20 to 30 A.
    iterations : int
        Rounds of search and reconstruction. Fixed, so that no comparison profits from a lucky stop.
    finest_A : float
        Limit of the band used for alignment; the maps are sampled to hold a little more.
    shift_range_A : float
        How far a particle may lie from the centre of its image.
    seed : int
        Of the orientation grids' turns and the random phases.
    """

    start_resolution_A: float = 12.0
    iterations: int = 6
    finest_A: float = 3.5
    shift_range_A: float = 15.0
    seed: int = 0


@dataclass(frozen=True)
class AbInitioSettings:
    """How a first map is found.

    Attributes
    ----------
    seeds : int
        Random starts. After half of the batches the quarter that best explains held-out particles goes on.
    rounds : int
        So often, at most, are starts made while none leads to a structure for certain; the second time a few without
        the symmetry, the axes of which are then sought in them.
    batches, batch_particles : int
        Batches of a start that goes on to the end, and particles per batch.
    coarsest_A, finest_A : float
        Resolution of the search for orientations (a tenth of the diameter, where that is coarser) and of the map.
    held_out : float
        Share of the particles that is only scored, never inserted, until the best map is known.
    shift_range_A : float
        How far a particle may lie from the centre of its image.
    check_symmetry : bool
        Try related point groups on the result.
    seed : int
        Of all random choices.
    """

    seeds: int = 8
    rounds: int = 3
    batches: int = 20
    batch_particles: int = 300
    coarsest_A: float = 12.0
    finest_A: float = 8.0
    held_out: float = 0.15
    shift_range_A: float = 12.0
    check_symmetry: bool = True
    seed: int = 0
