"""Would another point group fit as well, or better? A map under related groups, judged by particles it has not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scherzer.geometry.point_groups import point_group
from scherzer.geometry.related_groups import embeddings, subgroups, supergroups
from scherzer.geometry.rotations import from_rotation_vector
from scherzer.maps.axis_search import find_axes, in_standard_setting
from scherzer.maps.first_map_evidence import held_out_gain
from scherzer.maps.held_out import Gain, gain_of, spherical_average
from scherzer.maps.map_alignment import moved_map
from scherzer.maps.stochastic import Specimen, Stage, run_stage
from scherzer.maps.symmetrise import symmetrise_volume

AXES_SHARE = 1.6  # the axes are sought in a band this much coarser than that of the scores
AS_WELL_SIGMA = 2.0  # a larger group fits as well if within this many standard errors it is not worse by more than
AS_WELL_SHARE = 0.1  # this share of what the map's features gain, which interpolation may cost; choices of ours
BETTER_SIGMA = 4.0  # a smaller group better by more than this shows that symmetry was imposed that is not there
RELEASE_BATCHES = 12  # after the larger group is released, for the map to lose it
TURN_RAD = math.radians(5)  # spacing of turns about the axis of Cn where a larger group leaves them open

Relation = Literal["imposed", "larger", "smaller"]


@dataclass(frozen=True)
class GroupScore:
    """How a point group fits.

    Attributes
    ----------
    symmetry : str
        The group.
    relation : {"imposed", "larger", "smaller"}
        To the group that was imposed.
    over_imposed : Gain
        Of held-out particles over the imposed group; for a smaller one, over its map with the imposed one put back.
    correlation : float or None
        Of the map with its copies under the larger of the two groups.
    allowance : float
        Loss, nats a particle, that interpolation explains.
    """

    symmetry: str
    relation: Relation
    over_imposed: Gain
    correlation: float | None = None
    allowance: float = 0.0


def check_symmetry(specimen: Specimen, volume: Tensor, symmetry: str, stage: Stage, seed: int) -> list[GroupScore]:
    """Score the related groups of the one that was imposed on a map.

    A larger group is imposed on the map as it is: if it is true, nothing but noise is averaged away. A smaller one is
    given batches of particles in which the map can lose the symmetry, which is then put back for comparison.

    Parameters
    ----------
    specimen : Specimen
        In the sampling of the map, with the imposed group.
    volume : Tensor
        ``(b, b, b)``.
    symmetry : str
        The imposed point group.
    stage : Stage
        Band, temperature and size of the batches.
    seed : int
        Of the batches.
    """
    member = specimen.particles.micrograph[specimen.held_out]
    own = held_out_gain(specimen, volume, stage.to_A)
    ball = held_out_gain(specimen, spherical_average(volume), stage.to_A)
    allowance = AS_WELL_SHARE * max(float((own - ball).mean()), 0.0)
    scores = [GroupScore(symmetry, "imposed", gain_of(torch.zeros_like(own), member))]
    for larger in supergroups(symmetry):
        imposed, correlation = impose_larger(volume, specimen.particles.pixel_size_A, symmetry, larger, stage.to_A)
        gain = held_out_gain(specimen, imposed, stage.to_A)
        scores.append(GroupScore(larger, "larger", gain_of(gain - own, member), correlation, allowance))
    for part in subgroups(symmetry):
        released = specimen.imposing(point_group(part))
        turn = embeddings(part, symmetry)[0].to(volume)
        found = run_stage(released, stage, moved_map(volume, turn), seed)
        back, correlation = impose_larger(found, specimen.particles.pixel_size_A, part, symmetry, stage.to_A)
        pair = [held_out_gain(released, each, stage.to_A) for each in (found, back)]
        scores.append(GroupScore(part, "smaller", gain_of(pair[0] - pair[1], member), correlation))
    return scores


def impose_larger(
    volume: Tensor, pixel_size_A: float, symmetry: str, larger: str, resolution_A: float
) -> tuple[Tensor, float]:
    """Impose a group that contains the map's own, where it fits best: the map in its own setting, and how well."""
    rotations = None
    if symmetry != "C1":
        rotations = embeddings(symmetry, larger).mT
        if symmetry.startswith("C"):  # free to turn about z
            turns = torch.arange(0, 2 * math.pi, TURN_RAD)[:, None] * torch.tensor([0.0, 0.0, 1.0])
            rotations = (from_rotation_vector(turns)[:, None] @ rotations[None]).reshape(-1, 3, 3)
    axes = find_axes(volume, pixel_size_A, larger, AXES_SHARE * resolution_A, rotations)
    imposed = symmetrise_volume(in_standard_setting(volume, axes), point_group(larger).to(volume.device))
    return moved_map(imposed, axes.rotation.T, axes.centre_px), axes.correlation


def sentence_of(scores: list[GroupScore]) -> str:
    """Return what the related groups say, in one sentence."""
    own = scores[0].symmetry
    higher = [score for score in scores if score.relation == "larger" and fits_as_well(score)]
    lower = [score for score in scores if score.relation == "smaller" and fits_better(score)]
    if lower:
        best = max(lower, key=lambda score: score.over_imposed.mean)
        gain = f"{best.over_imposed.mean:+.2f} nats a particle, standard error {best.over_imposed.error:.2f}"
        return f"{own} may be too high a symmetry: {best.symmetry} fits clearly better ({gain})"
    if higher:
        names = " and ".join(score.symmetry for score in higher)
        return f"{names} {'fit' if len(higher) > 1 else 'fits'} as well as {own}: the symmetry may be higher"
    tried = ", ".join(score.symmetry for score in scores[1:])
    return f"{own} stands against {tried}" if tried else f"no other symmetry was tried beside {own}"


def fits_as_well(score: GroupScore) -> bool:
    """Whether a larger group explains held-out particles no worse."""
    return score.over_imposed.mean + AS_WELL_SIGMA * score.over_imposed.error > -score.allowance


def fits_better(score: GroupScore) -> bool:
    """Whether a smaller group explains held-out particles clearly better."""
    return score.over_imposed.sigma > BETTER_SIGMA
