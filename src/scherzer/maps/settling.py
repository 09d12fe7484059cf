"""First maps improved by all particles, out of the settings in which only a harmonic's sign is wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.maps.expectation import Climbed, Scene, climb
from scherzer.maps.harmonic_signs import resigned, signed_orders

ROUNDS = 10  # over all particles that a map is given
SIGN_ROUNDS = 6  # after which the best of the maps with one sign changed goes on for as many as the others had
CHANGES = 4  # of signs, at most
SAME = 0.9  # mean correlation of the shells of maps that are one


@dataclass(frozen=True)
class Settled:
    """The best map, the number of the start that it came from, and what was made beside it."""

    best: Climbed
    start: int
    others: list[Climbed]


def settle(scene: Scene, starts: list[Tensor], seed: int) -> Settled:
    """Improve maps by rounds over all particles; then change signs of the best one's harmonics while that helps.

    Parameters
    ----------
    scene : Scene
        Images and poses.
    starts : list of Tensor
        ``(b, b, b)`` maps.
    seed : int
        Of the rounds: the same for all maps, so that they can be compared by the particles they are made of.
    """
    found = [climb(scene, volume, ROUNDS, seed) for volume in starts]
    start = max(range(len(found)), key=lambda number: found[number].training_gain)
    best = found[start]
    others = [each for each in found if each is not best]
    specimen = scene.specimen
    orders = signed_orders(specimen.group)
    extent = math.pi * specimen.diameter_A / scene.resolution_A
    for _ in range(CHANGES if orders else 0):
        changed = [resigned(best.volume, specimen.group, order, extent) for order in orders]
        tried = [climb(scene, volume, SIGN_ROUNDS, seed) for volume in changed]
        first = max(tried, key=lambda each: each.training_gain)
        others += [each for each in tried if each is not first]
        if _alike(scene, first.volume, best.volume):
            break
        top = climb(scene, first.volume, ROUNDS, seed)
        better, same = top.training_gain > best.training_gain, _alike(scene, top.volume, best.volume)
        if better:
            best, top = top, best
        others.append(top)
        if same or not better:
            break
    if best.rounds == ROUNDS:  # it has not come to a stand
        best = climb(scene, best.volume, ROUNDS, seed)
    return Settled(best, start, others)


def _alike(scene: Scene, first: Tensor, second: Tensor) -> bool:
    """Whether maps that lie on each other are one, up to the edge of the band."""
    specimen = scene.specimen
    shells = int(specimen.particles.extent_A / scene.resolution_A) + 1
    curve = fourier_shell_correlation(first * specimen.mask, second * specimen.mask)
    return float(curve[1:shells].mean()) > SAME
