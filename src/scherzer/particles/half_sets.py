"""Split particles into the two half-sets, once for the whole study."""

from __future__ import annotations

import torch
from torch import Tensor


def assign_half_sets(micrograph_index: Tensor) -> Tensor:
    """Split particles by micrograph into two halves of about equal particle count.

    Particles of one micrograph share noise, background and sometimes a second copy of themselves; putting them on both
    sides would raise the FSC. Micrographs are dealt from the fullest down, each to the half that holds fewer particles
    (equal: to half 1), so the result depends on nothing but the counts.

    Parameters
    ----------
    micrograph_index : Tensor
        ``(n,)`` integer, the micrograph of each particle.

    Returns
    -------
    Tensor
        ``(n,)`` int64, 1 or 2.

    Raises
    ------
    ValueError
        If particles come from one micrograph only, which cannot be split so.
    """
    micrographs, member, count = torch.unique(micrograph_index, return_inverse=True, return_counts=True)
    if len(micrographs) == 1:
        raise ValueError("all particles are from one micrograph; two half-sets need at least two micrographs")
    half = torch.ones(len(micrographs), dtype=torch.int64, device=micrograph_index.device)
    held = [0, 0]
    for index in torch.argsort(count, descending=True, stable=True).tolist():
        smaller = 0 if held[0] <= held[1] else 1
        half[index] = smaller + 1
        held[smaller] += int(count[index])
    return half[member]
