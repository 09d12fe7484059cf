"""Particle tables and their stacks as the one form in which classification and refinement take them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.formats.mrc import read_stack_images
from scherzer.formats.star import StarTable
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.physics.optics import ctf_parameters_of
from scherzer.session.folder import Session


def load_particles(session: Session, table: StarTable) -> ParticleSet:
    """Load every particle of a table, in its order.

    Raises
    ------
    BadInput
        If a stack cannot be read.
    """
    images = read_images(session, table.rows["rlnImageName"])
    micrograph, _ = pd.factorize(table.rows["rlnMicrographName"])
    return ParticleSet.from_images(
        images,
        ctf_parameters_of(table.rows, table.optics),
        float(table.optics["rlnImagePixelSize"].iloc[0]),
        torch.from_numpy(micrograph.astype(np.int64)),
        torch.tensor(table.rows["rlnRandomSubset"].to_list()),
    )


def read_images(session: Session, names: pd.Series) -> Tensor:
    """Read images named ``000001@stack.mrcs``, ``(n, b, b)``, opening each stack once."""
    parts = names.str.split("@", n=1, expand=True)
    indices = parts[0].to_numpy(dtype=np.int64) - 1
    stacks: list[NDArray[np.float32]] = []
    order: list[NDArray[np.int64]] = []
    for stack, rows in parts.groupby(1, sort=False).indices.items():
        positions = np.asarray(rows, dtype=np.int64)
        stacks.append(read_stack_images(session.absolute(str(stack)), indices[positions]))
        order.append(positions)
    back = np.argsort(np.concatenate(order))
    return torch.from_numpy(np.concatenate(stacks)[back])
