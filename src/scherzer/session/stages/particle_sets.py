"""Particle tables and their stacks as the one form in which classification and refinement take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_stack_images
from scherzer.formats.star import StarTable
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.physics.optics import ctf_parameters_of
from scherzer.session.folder import Session

PREMULTIPLIED = "rlnCtfDataAreCtfPremultiplied"
BLOCK = 256  # images read and transformed at a time

Locate = Callable[[str], Path]
Prepare = Callable[[Tensor], Tensor]
Indices = NDArray[np.int64]


def load_particles(session: Session, table: StarTable, box: int | None = None) -> ParticleSet:
    """Load every particle of a session's table, in its order, see :func:`read_particles`.

    Raises
    ------
    BadInput
        If a stack cannot be read.
    """
    return read_particles(table, session.absolute, box=box)


def read_particles(
    table: StarTable,
    locate: Locate,
    *,
    box: int | None = None,
    micrograph: pd.Series[Any] | None = None,
    prepare: Prepare | None = None,
) -> ParticleSet:
    """Read every particle of a table, in its order.

    Images are read and transformed in blocks, so that one copy of the transforms in float16 is all that is held.

    Parameters
    ----------
    table : StarTable
        n particles, each with its half-set.
    locate : callable
        Takes a stack's name in the table to its file.
    box : int, optional
        Largest box to keep, px; larger images are Fourier-cropped to it.
    micrograph : Series, optional
        ``(n,)`` which particles lie on one micrograph; their ``rlnMicrographName`` by default.
    prepare : callable, optional
        Applied to each block of images ``(m, b, b)`` before its transform.

    Raises
    ------
    BadInput
        If a stack cannot be read or its images have another size than the first one's.
    """
    rows = table.rows
    groups = rows["rlnMicrographName"] if micrograph is None else micrograph
    member = torch.from_numpy(pd.factorize(groups)[0].astype(np.int64))
    half = torch.tensor(rows["rlnRandomSubset"].to_numpy(dtype=np.int64))
    optics_group = torch.from_numpy(pd.factorize(rows["rlnOpticsGroup"])[0].astype(np.int64))
    parameters = ctf_parameters_of(rows, table.optics)
    pixel_size_A = float(table.optics["rlnImagePixelSize"].iloc[0])
    multiplied = premultiplied(table.optics)
    result: ParticleSet | None = None
    side = 0
    for path, indices, places in image_blocks(rows["rlnImageName"], locate):
        images = torch.from_numpy(read_stack_images(path, indices))
        side = side or images.shape[-1]
        if images.shape[1:] != (side, side) or side % 2:
            size = f"{images.shape[2]} x {images.shape[1]}"
            raise BadInput(path, f"holds images of {size} px", "all must be squares of one even size")
        at = torch.from_numpy(places)
        block = ParticleSet.from_images(
            prepare(images) if prepare else images, parameters[at], pixel_size_A, member[at], half[at], multiplied
        )
        block = block.resized(min(side, box or side)).compact()
        if result is None:
            empty = torch.empty((len(rows), *block.transforms.shape[1:]), dtype=torch.float16)
            result = ParticleSet(
                empty, parameters, block.pixel_size_A, member, half, optics_group, premultiplied=multiplied
            )
        result.transforms[at] = block.transforms
    if result is None:
        raise BadInput("particles", "the table is empty", "give at least one particle")
    return result


def premultiplied(optics: pd.DataFrame) -> bool:
    """Return whether the images of all optics groups were multiplied by their CTF."""
    if PREMULTIPLIED not in optics:
        return False
    return bool((pd.to_numeric(optics[PREMULTIPLIED], errors="coerce").fillna(0) != 0).all())


def extent_A(table: StarTable) -> float:
    """Return the side of a table's images, A."""
    optics = table.optics.iloc[0]
    return int(optics["rlnImageSize"]) * float(optics["rlnImagePixelSize"])


def image_blocks(names: pd.Series[Any], locate: Locate) -> Iterator[tuple[Path, Indices, Indices]]:
    """Group images named ``000001@stack.mrcs`` into blocks of one stack, in the order in which they lie there.

    Yields
    ------
    path : Path
        The stack.
    indices : ndarray
        Which images, numbered from 0.
    places : ndarray
        Where they stand in the table.
    """
    parts = names.str.split("@", n=1, expand=True)
    numbers = parts[0].to_numpy(dtype=np.int64) - 1
    for stack, rows in parts.groupby(1, sort=False).indices.items():
        places = np.asarray(rows, dtype=np.int64)
        places = places[np.argsort(numbers[places], kind="stable")]
        for start in range(0, len(places), BLOCK):
            block = places[start : start + BLOCK]
            yield locate(str(stack)), numbers[block], block
