"""Point groups in RELION's setting."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from scherzer.geometry.sphere import orientation_grid

_Z, _X = (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)
_GENERATORS = {  # (order, axis), as RELION's table of symmetries states them
    "T": ((3, _Z), (2, (0.0, 0.816496581, 0.577350269))),
    "O": ((4, _Z), (3, (1.0, 1.0, 1.0))),
    "I": ((2, _Z), (5, (0.525731112, 0.0, 0.850650808)), (3, (0.0, 0.356822090, 0.934172359))),
}


def parse_symmetry(name: str) -> str:
    """Return the point group's name as scherzer writes it: C1, Cn, Dn, T, O or I.

    Raises
    ------
    ValueError
        If no such point group is known.
    """
    clean = name.strip().upper()
    clean = {"I2": "I"}.get(clean, clean)
    if clean in _GENERATORS:
        return clean
    match = re.fullmatch(r"([CD])(\d{1,3})", clean)
    if match and int(match[2]) >= (1 if match[1] == "C" else 2):
        return f"{match[1]}{int(match[2])}"
    raise ValueError(f"unknown symmetry {name!r}: give C1, C2, ..., D2, D3, ..., T, O or I")


@lru_cache(maxsize=32)
def point_group(symmetry: str) -> Tensor:
    """Return the operators of a point group, ``(g, 3, 3)`` float32, the identity first.

    n-folds along z; for D a 2-fold along x; O with 4-folds along x, y and z; T with a 3-fold along z; I with 2-folds
    along x, y and z (RELION's I2).

    Raises
    ------
    ValueError
        If the symmetry is unknown.
    """
    steps = _steps(parse_symmetry(symmetry))
    elements = [np.eye(3)]
    for element in elements:  # grows while it is walked: closure under the generators
        for step in steps:
            product = step @ element
            if np.abs(np.stack(elements) - product).max(axis=(1, 2)).min() > 1e-6:
                elements.append(product)
    group = np.stack(elements)
    # Entries that stand for integers are made exact, so that permutations of the axes stay on the grid.
    group = np.where(np.abs(group - group.round()) < 1e-6, group.round(), group)
    return torch.from_numpy(group).float()


def generators(symmetry: str) -> Tensor:
    """Return operators of which products make a point group, ``(s, 3, 3)`` float32; none for C1."""
    steps = [step for step in _steps(parse_symmetry(symmetry)) if not np.allclose(step, np.eye(3))]
    return torch.from_numpy(np.stack(steps)).float() if steps else torch.zeros((0, 3, 3))


def _steps(name: str) -> list[np.ndarray]:
    if name in _GENERATORS:
        return [_rotation(order, axis) for order, axis in _GENERATORS[name]]
    order = int(name[1:])
    return [_rotation(order, _Z)] + ([_rotation(2, _X)] if name[0] == "D" else [])


def _rotation(order: int, axis: tuple[float, float, float]) -> np.ndarray:
    direction = np.asarray(axis) / np.linalg.norm(axis)
    return np.asarray(Rotation.from_rotvec(2 * np.pi / order * direction).as_matrix())


def normaliser(symmetry: str, step_rad: float) -> Tensor:
    """Rotations that map a point group's axes onto themselves: maps that differ by them are the same map.

    Parameters
    ----------
    symmetry : str
        Point group.
    step_rad : float
        Spacing where they are continuous: about z for Cn, everywhere for C1.

    Returns
    -------
    Tensor
        ``(r, 3, 3)`` float32, one of each coset of the group, the identity first where they are discrete.
    """
    name = parse_symmetry(symmetry)
    if name == "C1":
        return orientation_grid(step_rad, torch.eye(3)[None])
    if name in ("O", "I"):
        return torch.eye(3)[None]
    if name == "T":  # a quarter turn about one of its 2-folds makes O of it
        turns = [np.eye(3), _rotation(4, _GENERATORS["T"][1][1])]
    elif name == "D2":  # the three axes can change places
        third, quarter = _rotation(3, (1.0, 1.0, 1.0)), _rotation(4, _Z)
        turns = [power @ swap for swap in (np.eye(3), quarter) for power in (np.eye(3), third, third @ third)]
    elif name[0] == "D":
        turns = [np.eye(3), _rotation(2 * int(name[1:]), _Z)]
    else:
        order = int(name[1:])
        count = max(1, round(2 * np.pi / order / step_rad))
        about = [_rotation(order * count, _Z)]
        turns = [
            np.linalg.matrix_power(about[0], k) @ flip for flip in (np.eye(3), _rotation(2, _X)) for k in range(count)
        ]
    return torch.from_numpy(np.stack(turns)).float()
