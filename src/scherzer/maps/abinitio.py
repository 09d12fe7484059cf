"""A first map from particles alone: random starts, of which the best go on, and what the best one is worth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from scherzer.geometry.point_groups import point_group
from scherzer.likelihood.parallel import map_blocks
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.maps.axis_search import find_axes, in_standard_setting
from scherzer.maps.expectation import Scene, climb, scene_at
from scherzer.maps.first_map_evidence import Finalist, FirstMapEvidence, held_out_gain, weigh
from scherzer.maps.settings import AbInitioSettings
from scherzer.maps.settling import settle
from scherzer.maps.stochastic import Specimen, Stage, polish, random_start, resampled, run_stage, specimen_at
from scherzer.maps.symmetrise import symmetrise_volume
from scherzer.maps.symmetry_check import AXES_SHARE, RELEASE_BATCHES, GroupScore, check_symmetry, sentence_of

RUNGS = ((4.0, 2.0), (2.0, 1.0))  # temperature at the ends of each half of the batches
KEPT = 1 / 4  # share of the starts that goes on after the first half, but two at least
FREE_ROUND, FREE_STARTS = 1, 4  # the round whose starts know of no symmetry, and how many these are: they cost more
SETTLED = 2  # of the starts that went on to the end, those that all particles then improve
RACE_SHARE, POLISH_AT = 0.5, 0.9  # of the work: when the starts have ended, and when the best map is known
FINER, FINER_ROUNDS = 1.2, 6  # band, and rounds over every pose in it: single poses hold a map where it is wrong
POLISH_ROUNDS = 3  # passes over all particles with continuous poses, up to the finest band
COARSEST_DETAILS = 10  # the first band ends at this part of the diameter, if that is coarser than the setting

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class AbInitio:
    """The best of several first maps.

    Attributes
    ----------
    volume : Tensor
        ``(b, b, b)``. Its hand is undetermined.
    pixel_size_A : float
        Of the map.
    resolution_A : float
        Where the search's band ended; what the map holds beyond comes from the mask and means nothing.
    held_out_score : list of float
        Mean log likelihood gain of the held-out particles for each start, nat, when it was last continued: over every
        pose in a finer grid for one that was settled, without the symmetry for one that ran so and went no further.
    batches : list of int
        How far each start was continued.
    chosen : int
        Index of the start from which the best map came.
    evidence : FirstMapEvidence
        Whether there is a structure, and whether another map fits as well.
    symmetries : list of GroupScore
        How the related point groups fit, the imposed one first; empty where it was not asked or there is no structure.
    """

    volume: Tensor
    pixel_size_A: float
    resolution_A: float
    held_out_score: list[float]
    batches: list[int]
    chosen: int
    evidence: FirstMapEvidence
    symmetries: list[GroupScore]

    @property
    def sentences(self) -> list[str]:
        """What is to be said of the map: its evidence, its symmetry, its hand."""
        said = [self.evidence.sentence]
        if self.symmetries:
            said.append(sentence_of(self.symmetries))
        return [*said, "the hand is undetermined"]


@dataclass
class _Start:
    """A map on its way."""

    seed: int
    volume: Tensor
    gain: Tensor = field(default_factory=lambda: torch.zeros(0))
    batches: int = 0
    settled: bool = False

    @property
    def score(self) -> float:
        return float(self.gain.mean())


def reconstruct_ab_initio(
    particles: ParticleSet,
    symmetry: str,
    diameter_A: float,
    settings: AbInitioSettings | None = None,
    progress: Progress | None = None,
) -> AbInitio:
    """Find a map without a reference.

    Each start begins with particles inserted at random orientations and repeats: align a random batch on the present
    map, insert it at poses drawn from their posterior, fade out older batches, while the posterior sharpens. The band
    is fine from the beginning: what tells the settings of a round particle apart is not seen in a coarse one, in which
    the map would settle. Not every start arrives; after half of the batches the best quarter goes on, judged by
    particles that were never inserted. All particles with the whole of their posterior then improve the best ones,
    and try the settings that differ by a sign of a harmonic. The best map goes on in a finer band and is polished at
    continuous poses of all particles, up to the finest one. The symmetry is imposed throughout; where no structure
    stands out, the next starts run without it and get it about the axes that are then found in them.

    Parameters
    ----------
    particles : ParticleSet
        n particles.
    symmetry : str
        Point group in RELION's setting.
    diameter_A : float
        Of the particle.
    settings : AbInitioSettings, optional
        Seeds, batches, resolutions.
    progress : callable, optional
        Called with the finished fraction and a few words.

    Raises
    ------
    ValueError
        If the symmetry is unknown or there are fewer than 20 particles.
    """
    settings = settings or AbInitioSettings()
    if len(particles) < 20:
        raise ValueError(f"{len(particles)} particles are too few for a first map: at least 20 are needed")
    group = point_group(symmetry)
    held = _held_out(particles, settings)
    early_A = max(settings.coarsest_A, diameter_A / COARSEST_DETAILS, settings.finest_A)

    def sampled(resolution_A: float) -> Specimen:
        return specimen_at(particles, resolution_A, group, diameter_A, settings.shift_range_A, held)

    rough, fine = sampled(early_A), sampled(settings.finest_A)
    early_A, finest_A = rough.finest_A(early_A), fine.finest_A(settings.finest_A)
    told = _Told(progress, settings)
    starts: list[_Start] = []
    finalists: list[Finalist] = []
    scene: Scene | None = None
    chosen = 0
    for number in range(settings.rounds):
        free = number == FREE_ROUND and len(group) > 1
        race = _race_freely if free else _race
        raced = race(rough, early_A, settings, number, told)
        starts += raced
        raced = sorted((start for start in raced if start.batches >= settings.batches), key=lambda start: -start.score)
        if free:
            raced = [_imposed(start, rough, symmetry, early_A) for start in raced]
        told(RACE_SHARE, "every pose of the best starts")
        scene = scene or scene_at(rough, early_A, raced[0].volume)
        settled = settle(scene, [start.volume for start in raced[:SETTLED]], settings.seed)
        found = [Finalist(each.volume, scene.gain(each.volume)) for each in (settled.best, *settled.others)]
        raced[settled.start].gain = found[0].gain
        finalists = sorted([*finalists, *found], key=lambda finalist: -float(finalist.gain.mean()))
        if any(finalists[0] is each for each in found):
            chosen = starts.index(raced[settled.start])
        evidence = weigh(scene, finalists, symmetry)
        if evidence.verdict == "structure":
            break
    best = finalists[0]
    told(POLISH_AT, "finer bands")
    finer_A = max(early_A / FINER, finest_A)
    finer = sampled(finer_A)
    scene = scene_at(finer, finer.finest_A(finer_A), best.volume)
    volume = climb(scene, best.volume, FINER_ROUNDS, settings.seed).volume
    volume = polish(fine, volume, early_A, finest_A, POLISH_ROUNDS, settings.seed)
    symmetries: list[GroupScore] = []
    if settings.check_symmetry and evidence.verdict != "no structure":
        size = min(settings.batch_particles, len(rough.training))
        stage = Stage(RELEASE_BATCHES, size, early_A, early_A, 1.0, 1.0)
        symmetries = check_symmetry(rough, resampled(best.volume, rough.particles.box), symmetry, stage, settings.seed)
    told(1.0)
    return AbInitio(
        volume=volume,
        pixel_size_A=fine.particles.pixel_size_A,
        resolution_A=finest_A,
        held_out_score=[start.score for start in starts],
        batches=[start.batches for start in starts],
        chosen=chosen,
        evidence=evidence,
        symmetries=symmetries,
    )


class _Told:
    """Adds up what several starts have done and tells it."""

    def __init__(self, progress: Progress | None, settings: AbInitioSettings) -> None:
        self.progress, self.settings, self.done = progress, settings, 0
        alive, self.total = settings.seeds, 1
        for _ in RUNGS:
            self.total += alive
            alive = _survivors(alive)

    def __call__(self, fraction: float | None = None, words: str = "") -> None:
        self.done += fraction is None
        if self.progress:
            part = min(self.done / self.total, 1.0) * RACE_SHARE if fraction is None else fraction
            self.progress(part, words or f"{self.settings.seeds} random starts")


def _survivors(alive: int) -> int:
    return max(min(2, alive), math.ceil(KEPT * alive))


def _held_out(particles: ParticleSet, settings: AbInitioSettings) -> Tensor:
    """Which particles are only scored, ``(n,)`` bool: the same for all starts, so that these can be compared."""
    count = max(5, round(settings.held_out * len(particles)))
    order = torch.randperm(len(particles), generator=torch.Generator().manual_seed(settings.seed))
    held = torch.zeros(len(particles), dtype=torch.bool)
    held[order[:count]] = True
    return held.to(particles.transforms.device)


def _race(
    specimen: Specimen, resolution_A: float, settings: AbInitioSettings, number: int, told: _Told
) -> list[_Start]:
    """Run a round's starts a while and go on with the best quarter; return all."""
    device = specimen.group.device
    lengths = [settings.batches // len(RUNGS)] * len(RUNGS)
    lengths[-1] += settings.batches - sum(lengths)
    stages = [
        Stage(length, settings.batch_particles, resolution_A, resolution_A, *temperatures)
        for length, temperatures in zip(lengths, RUNGS, strict=True)
    ]

    def begin(index: int) -> _Start:
        seed = settings.seed * 1000 + index
        return _Start(seed, random_start(specimen, stages[0], seed))

    starts = map_blocks(begin, range(number * settings.seeds, (number + 1) * settings.seeds), device)
    alive = list(starts)
    for rung, stage in enumerate(stages):

        def go_on(start: _Start, rung: int = rung, stage: Stage = stage) -> None:
            start.volume = run_stage(specimen, stage, start.volume, start.seed * len(RUNGS) + rung)
            start.gain = held_out_gain(specimen, start.volume, resolution_A)
            start.batches += stage.batches
            told()

        map_blocks(go_on, alive, device)
        if rung + 1 < len(stages):
            alive = sorted(alive, key=lambda start: -start.score)[: _survivors(len(alive))]
    return starts


def _race_freely(
    specimen: Specimen, resolution_A: float, settings: AbInitioSettings, number: int, told: _Told
) -> list[_Start]:
    """Race a few starts without the symmetry: a map under it from the beginning can be held by the wrong axes."""
    free = specimen.imposing(point_group("C1"))
    return _race(free, resolution_A, replace(settings, seeds=min(FREE_STARTS, settings.seeds)), number, told)


def _imposed(start: _Start, specimen: Specimen, symmetry: str, resolution_A: float) -> _Start:
    """Impose the symmetry about the axes that a free map comes closest to."""
    axes = find_axes(start.volume, specimen.particles.pixel_size_A, symmetry, AXES_SHARE * resolution_A)
    start.volume = symmetrise_volume(in_standard_setting(start.volume, axes), specimen.group) * specimen.mask
    start.gain = held_out_gain(specimen, start.volume, resolution_A)
    return start
