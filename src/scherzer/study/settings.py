"""What a study is asked to do, and what it knows about the specimen."""

from __future__ import annotations

from dataclasses import dataclass

GROUPS = ("good", "moderate", "bad")
"""The contrast classes of the paper, best first; also the order of every table and figure."""

BANDS_A = ((20.0, 12.0), (12.0, 8.0), (8.0, 6.0), (6.0, 4.5), (4.5, 3.5))
"""Fixed resolution bands (A, coarse and fine edge) in which ln SSNR is compared: the primary endpoint.

Fixed before any data are seen, so that no band is chosen because it flatters one group.
"""

FINER_THAN_START = 1.25
"""A map counts where it is finer than the start map's low-pass by this factor.

Half-maps agree up to the low-pass by construction, and the soft edge of a low-pass lets some through beyond it.
"""


@dataclass(frozen=True)
class StudySettings:
    """Settings of the study.

    Attributes
    ----------
    draws : int
        Wanted repeats of every equal-count draw; the budget may lower it (the plan says so).
    seed : int
        Seeds every draw. Half-sets are not drawn here: they are fixed once, in the particle table.
    ladder : tuple of float
        Fractions of all micrographs at which the ResLog ladder is refined, besides 1.
    target_resolution_A : float
        The resolution for which the number of micrographs is asked, A.
    max_refinements : int
        Upper bound on the refinements of the whole study, ladder included.
    minimum_particles : int
        A subset smaller than this is not refined.
    disjoint_particles : int
        Draws are made disjoint only where each then still holds this many particles.
    confidence : float
        Level of every interval.
    """

    draws: int = 5
    seed: int = 1
    ladder: tuple[float, ...] = (0.5, 0.25, 0.125)
    target_resolution_A: float = 4.0
    max_refinements: int = 25
    minimum_particles: int = 50
    disjoint_particles: int = 300
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise ValueError(f"draws must be at least 2 (a spread needs two), not {self.draws}")
        if self.max_refinements < 8:
            raise ValueError(
                f"max_refinements must be at least 8 (E2, E4 and E6 alone take 8), not {self.max_refinements}"
            )
        if not 0.5 < self.confidence < 1.0:
            raise ValueError(f"confidence must lie between 0.5 and 1, not {self.confidence}")
        if any(not 0.0 < fraction < 1.0 for fraction in self.ladder):
            raise ValueError(f"ladder fractions must lie between 0 and 1, not {self.ladder}")
        if self.target_resolution_A <= 0:
            raise ValueError(f"target_resolution_A must be positive, not {self.target_resolution_A}")


@dataclass(frozen=True)
class StudyContext:
    """What all refinements of one study share.

    Attributes
    ----------
    symmetry : str
        Point group, as imposed in every refinement.
    symmetry_order : int
        Its number of operators.
    start : str
        The common start map in words, for the report.
    start_resolution_A : float
        The resolution to which that start map was low-passed, A. Half-maps agree up to there because they
        share the start, so nothing coarser counts as evidence.
    """

    symmetry: str = "C1"
    symmetry_order: int = 1
    start: str = "common start map"
    start_resolution_A: float = 30.0
