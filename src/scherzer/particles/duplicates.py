"""Keep one of several positions that mean the same particle."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor


def drop_duplicates(x: Tensor, y: Tensor, score: Tensor, min_distance: float) -> Tensor:
    """Mark the best of every group of positions nearer to each other than a distance.

    Positions are walked from the best score down (equal scores: in their order); each kept one drops its neighbours.

    Parameters
    ----------
    x, y : Tensor
        ``(n,)``, in any unit.
    score : Tensor
        ``(n,)``, higher is better.
    min_distance : float
        In the unit of ``x`` and ``y``.

    Returns
    -------
    Tensor
        ``(n,)`` bool, those to keep. No two of them are nearer than ``min_distance``.
    """
    keep = torch.zeros(len(x), dtype=torch.bool)
    order = torch.argsort(score.detach().cpu(), descending=True, stable=True)
    points = torch.stack([x, y], dim=1).detach().cpu().double()[order].numpy()
    kept = np.zeros(len(points), dtype=bool)
    waiting = np.ones(len(points), dtype=bool)
    # Pairs come with the better one first; nextafter leaves those at the distance itself alone.
    pairs = cKDTree(points).query_pairs(np.nextafter(min_distance, 0), output_type="ndarray")
    # The walk, many at once: who waits for nobody better is kept and drops its neighbours.
    while waiting.any():
        free = waiting.copy()
        free[pairs[:, 1]] = False
        kept |= free
        waiting &= ~free
        waiting[pairs[free[pairs[:, 0]], 1]] = False
        pairs = pairs[waiting[pairs].all(1)]
    keep[order[torch.from_numpy(kept)]] = True
    return keep.to(x.device)
