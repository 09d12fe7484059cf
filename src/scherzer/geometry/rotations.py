"""Rotations from the image frame to the volume frame, as ``(n, 3, 3)`` matrices, and RELION's Euler angles."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

POLE_RAD = 1e-4  # nearer to a pole than this, single precision cannot tell rot from psi


def from_euler(rot_rad: Tensor, tilt_rad: Tensor, psi_rad: Tensor) -> Tensor:
    """Return ``Rz(rot) Ry(tilt) Rz(psi)``, the inverse of RELION's Euler matrix, for ``(n,)`` angles."""
    angles = torch.stack((rot_rad, tilt_rad, psi_rad), dim=-1).double().cpu().numpy()
    return torch.from_numpy(Rotation.from_euler("ZYZ", angles).as_matrix()).to(rot_rad)


def to_euler(rotations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Invert :func:`from_euler`; rot and psi in (-pi, pi], tilt in [0, pi]."""
    tilt = torch.atan2(torch.hypot(rotations[:, 0, 2], rotations[:, 1, 2]), rotations[:, 2, 2])
    rot = torch.atan2(rotations[:, 1, 2], rotations[:, 0, 2])
    psi = torch.atan2(rotations[:, 2, 1], -rotations[:, 2, 0])
    # On the poles only rot + psi (or psi - rot) is defined; put all of it into psi.
    polar = torch.hypot(rotations[:, 0, 2], rotations[:, 1, 2]) < POLE_RAD
    sign = torch.where(rotations[:, 2, 2] > 0, 1.0, -1.0)
    rot = torch.where(polar, torch.zeros_like(rot), rot)
    psi = torch.where(polar, torch.atan2(-rotations[:, 0, 1] * sign, rotations[:, 0, 0] * sign), psi)
    return rot, tilt, psi


def from_rotation_vector(vectors: Tensor) -> Tensor:
    """Return rotation matrices of ``(n, 3)`` rotation vectors, rad (Rodrigues' formula)."""
    angle = vectors.norm(dim=1)[:, None, None]
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    generator = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).reshape(-1, 3, 3)
    square = generator @ generator
    identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return identity + torch.sinc(angle / math.pi) * generator + torch.sinc(angle / (2 * math.pi)) ** 2 / 2 * square


def angle_between(first: Tensor, second: Tensor, group: Tensor | None = None) -> Tensor:
    """Angle of the rotation between two orientations, rad, the least over a point group.

    Parameters
    ----------
    first, second : Tensor
        ``(n, 3, 3)``, image frame to volume frame.
    group : Tensor, optional
        ``(g, 3, 3)`` operators in the volume frame.

    Returns
    -------
    Tensor
        ``(n,)``.
    """
    if group is None:
        group = torch.eye(3, dtype=first.dtype, device=first.device)[None]
    traces = torch.einsum("nij,gik,nkj->ng", first, group.to(first), second)
    return torch.acos(((traces.amax(1) - 1) / 2).clamp(-1, 1))


def random_rotations(count: int, generator: np.random.Generator) -> Tensor:
    """Draw ``(count, 3, 3)`` uniformly distributed rotations."""
    return torch.from_numpy(Rotation.random(count, rng=generator).as_matrix()).float().reshape(-1, 3, 3)
