"""What a first map is worth: particles that it has not seen, and whether independent starts came to the same map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.geometry.point_groups import normaliser
from scherzer.likelihood.parallel import map_blocks
from scherzer.likelihood.score import prepare
from scherzer.maps.expectation import Scene
from scherzer.maps.fsc import crossing_A
from scherzer.maps.harmonic_signs import signed_orders
from scherzer.maps.held_out import Gain, gain_of, marginal, spherical_average
from scherzer.maps.map_alignment import align_map, mirrored, moved_map
from scherzer.maps.stochastic import Specimen, references_at

Verdict = Literal["structure", "ambiguous", "no structure"]

SIGMA = 4.0  # standard errors over a featureless ball below which a structure is in doubt; our choice, as in refinement
WEAK_SIGMA = 2.0  # and below which there is none: noise gains nothing, by Jensen's inequality
CERTAIN_SIGMA = 6.0  # and below which it is not certain: maps in a wrong setting explain a part; a choice of ours
SETTINGS_SIGMA = 4.0  # unless the other settings were made and explain so much less, or all maps came to be one
RIVAL_SIGMA = 2.0  # a map this near to the best one, and of another shape, makes it ambiguous
SAME_BAND = 1.5  # maps that agree to this many times the band's resolution show the same
GRID_RAD = 0.35  # spacing of the rotations tried where no axis is fixed: 20 deg
BAND_SHARE = 0.6  # of the band, in which maps are laid on each other
BLOCK = 64  # images scored at a time
SHIFT_A = 12.0  # how far maps without a fixed centre may lie apart


@dataclass(frozen=True)
class Finalist:
    """A start's map with the gain of every held-out particle."""

    volume: Tensor
    gain: Tensor


@dataclass(frozen=True)
class FirstMapEvidence:
    """Whether a first map shows a structure.

    Attributes
    ----------
    verdict : {"structure", "ambiguous", "no structure"}
        Held-out particles prefer the map to a featureless ball and to every other map that starts ended in; another
        map does as well; the ball does.
    sentence : str
        Why, in one line.
    over_nothing, over_ball : Gain
        Of held-out particles: over "no particle", and over the ball of the same radial profile.
    over_rival : Gain or None
        Over the best map of another shape, from another start or with other signs; None where there is none.
    agreement_A : list of float or None
        To what resolution (FSC = 0.5) each other finalist agrees with the best one, hand aside.
    """

    verdict: Verdict
    sentence: str
    over_nothing: Gain
    over_ball: Gain
    over_rival: Gain | None
    agreement_A: list[float | None]


def held_out_gain(specimen: Specimen, volume: Tensor, resolution_A: float) -> Tensor:
    """Log likelihood gain over "no particle" of the held-out particles, poses averaged out: ``(held out,)`` nat."""
    band, _, references, shifts = references_at(specimen, volume, resolution_A)
    images = prepare(specimen.particles[specimen.held_out], band, specimen.noise)
    blocks = [images[rows] for rows in torch.arange(len(images), device=volume.device).split(BLOCK)]
    return torch.cat(map_blocks(lambda block: marginal(block, references, shifts), blocks, volume.device))


def weigh(scene: Scene, finalists: list[Finalist], symmetry: str) -> FirstMapEvidence:
    """Judge the first of several finalists.

    Parameters
    ----------
    scene : Scene
        The held-out particles and the band in which the maps were found.
    finalists : list of Finalist
        The best one first.
    symmetry : str
        Point group imposed.
    """
    specimen, resolution_A = scene.specimen, scene.resolution_A
    best, others = finalists[0], finalists[1:]
    member = specimen.particles.micrograph[specimen.held_out]
    ball = scene.gain(spherical_average(best.volume))
    over_ball = gain_of(best.gain - ball, member)
    agreement = [agreement_A(other.volume, best.volume, specimen, symmetry, resolution_A) for other in others]
    apart = [
        gain_of(best.gain - other.gain, member)
        for other, reached in zip(others, agreement, strict=True)
        if reached is None or reached > SAME_BAND * resolution_A
    ]
    rival = min(apart, key=lambda gain: gain.mean, default=None)
    verdict, sentence = conclude(
        over_ball, rival, len(others) - len(apart), len(others), bool(signed_orders(specimen.group))
    )
    return FirstMapEvidence(verdict, sentence, gain_of(best.gain, member), over_ball, rival, agreement)


def conclude(over_ball: Gain, rival: Gain | None, same: int, others: int, made: bool = False) -> tuple[Verdict, str]:
    """Return the verdict and why; ``made`` where the rival is the best of the other settings."""
    told = f"{over_ball.mean:+.2f} nats a particle, standard error {over_ball.error:.2f}"
    if not over_ball.sigma > WEAK_SIGMA:
        return "no structure", f"no structure: particles that it has not seen do not prefer the map to a ball ({told})"
    first = f"particles that it has not seen prefer the map to a ball ({told})"
    if not over_ball.sigma > SIGMA:
        return "ambiguous", f"ambiguous: {first}, but not clearly"
    ruled_out = same > 0 if rival is None else made and rival.sigma > SETTINGS_SIGMA
    if not (over_ball.sigma > CERTAIN_SIGMA or ruled_out):
        return "ambiguous", f"ambiguous: {first}, but not by so much that a map in a wrong setting is ruled out"
    if rival is not None and not rival.sigma > RIVAL_SIGMA:
        second = f"a map of another shape fits as well (difference {rival.mean:.2f}"
        return "ambiguous", f"ambiguous: {first}, but {second}, standard error {rival.error:.2f})"
    if rival is not None:
        second = f"the best map of another shape fits worse ({rival.mean:.2f} nats a particle less)"
    elif others == 0:
        second = "no other start was made"
    else:
        second = f"{same} of {others} other maps that were made came to be the same"
    return "structure", f"structure: {first}; {second}"


def agreement_A(other: Tensor, best: Tensor, specimen: Specimen, symmetry: str, resolution_A: float) -> float | None:
    """Resolution to which two maps agree (FSC = 0.5) in the best of their equivalent settings and hands."""
    extent_A, pixel_size_A = specimen.particles.extent_A, specimen.particles.pixel_size_A
    free = symmetry.upper().startswith("C")
    found = align_map(
        other,
        best,
        BAND_SHARE * extent_A / resolution_A,
        normaliser(symmetry, GRID_RAD),
        shift_range_px=SHIFT_A / pixel_size_A if free else 0.0,
        climb_rad=GRID_RAD if free else 0.0,
    )
    moved = moved_map(mirrored(other) if found.mirrored else other, found.rotation, found.shift_px)
    curve = fourier_shell_correlation(moved * specimen.mask, best * specimen.mask)
    return crossing_A(torch.arange(len(curve)) / extent_A, curve.cpu(), 0.5)
