"""Micrographs as tensors, their CTF as parameters."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from scherzer.formats.movies import open_exposure
from scherzer.physics.ctf import CtfParameters
from scherzer.physics.optics import Optics
from scherzer.session.items import Row


def read_micrograph(path: Path) -> Tensor:
    """Read a summed micrograph, ``(h, w)`` float32.

    Raises
    ------
    BadInput
        If it cannot be read or holds no picture.
    """
    return torch.from_numpy(open_exposure(path).read()[0])


def ctf_of(row: Row, optics: Optics) -> CtfParameters:
    """Return the CTF parameters, ``(1,)``, of a micrograph's row."""
    return optics.ctf_parameters(
        float(row["rlnDefocusU"]),
        float(row["rlnDefocusV"]),
        math.radians(row["rlnDefocusAngle"]),
        math.radians(row.get("rlnPhaseShift", 0.0)),
    )
