"""Which point groups contain which, and how one lies in the other."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from scherzer.geometry.point_groups import generators, parse_symmetry, point_group
from scherzer.geometry.rotations import angle_between

_TOLERANCE = 1e-3
# Beside Cn and Dn, which follow a rule. O and I lie in no other point group.
_ABOVE: dict[str, tuple[str, ...]] = {
    "C2": ("T",),
    "C3": ("T",),
    "C4": ("O",),
    "C5": ("I",),
    "D2": ("T",),
    "D3": ("O",),
    "D4": ("O",),
    "D5": ("I",),
    "T": ("O", "I"),
    "O": (),
    "I": (),
}
_BELOW = {"T": ("D2", "C3"), "O": ("T", "D4", "D3"), "I": ("T", "D5", "D3")}
_OF_C1 = ("C2", "C3", "C4", "C5", "C6", "C7", "D2")


def supergroups(symmetry: str) -> tuple[str, ...]:
    """Point groups that contain a given one with nothing between them; those most often met in proteins for C1."""
    name = parse_symmetry(symmetry)
    if name == "C1":
        return _OF_C1
    if name in ("T", "O", "I"):
        return _ABOVE[name]
    kind, order = name[0], int(name[1:])
    multiples = tuple(f"{kind}{factor * order}" for factor in (2, 3))
    return (*((f"D{order}",) if kind == "C" else ()), *multiples, *_ABOVE.get(name, ()))


def subgroups(symmetry: str) -> tuple[str, ...]:
    """Point groups that a given one contains with nothing between them, the largest first."""
    name = parse_symmetry(symmetry)
    if name in _BELOW:
        return _BELOW[name]
    kind, order = name[0], int(name[1:])
    smaller = [order // prime for prime in _prime_factors(order)]
    if kind == "C":
        return tuple(f"C{part}" for part in smaller)
    dihedral = tuple(f"D{part}" for part in smaller if part > 1)
    return (*dihedral, f"C{order}", *(("C2",) if order > 2 else ()))


def embeddings(small: str, large: str) -> Tensor:
    """Ways in which a point group lies in a larger one.

    Returns
    -------
    Tensor
        ``(m, 3, 3)`` float32 rotations U for which every ``U @ g @ U.T`` of the small group is in the large one, each
        in its standard setting; one of those that differ by an operator of the large group. Where the small group is
        Cn, turns about its axis are left open and one of them is given.
    """
    steps, group, members = generators(small), point_group(large), point_group(small)
    if len(steps) == 0:
        return torch.eye(3)[None]
    axes = [_axis(step) for step in steps]
    found: list[Tensor] = []
    for targets in _images(steps, group):
        if len(axes) == 1:
            turn, _ = Rotation.align_vectors(targets[0][None], axes[0][None])
        else:
            if abs(axes[0] @ axes[1] - targets[0] @ targets[1]) > _TOLERANCE:
                continue
            turn, _ = Rotation.align_vectors(np.stack(targets), np.stack(axes))
        rotation = torch.from_numpy(turn.as_matrix()).float()
        moved = rotation @ members @ rotation.T
        inside = (moved[:, None] - group[None]).abs().amax((2, 3)).amin(1).max() < _TOLERANCE
        known = found and angle_between(torch.stack(found), rotation.expand(len(found), 3, 3), group).min() < 0.01
        if inside and not known:
            found.append(rotation)
    return torch.stack(found) if found else torch.zeros((0, 3, 3))


def _images(steps: Tensor, group: Tensor) -> list[list[np.ndarray]]:
    """Axes in the large group onto which those of the first two generators could fall, all combinations."""
    options = []
    for step in steps[:2]:
        same = [element for element in group if abs(float(element.trace() - step.trace())) < _TOLERANCE]
        options.append([sign * _axis(element) for element in same for sign in (1.0, -1.0)])
    if len(options) == 1:
        return [[axis] for axis in options[0]]
    return [[first, second] for first in options[0] for second in options[1]]


def _axis(operator: Tensor) -> np.ndarray:
    vector = Rotation.from_matrix(operator.double().numpy()).as_rotvec()
    return np.asarray(vector / np.linalg.norm(vector))


def _prime_factors(number: int) -> list[int]:
    return [p for p in range(2, number + 1) if number % p == 0 and all(p % q for q in range(2, p))]
