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
    alive = np.ones(len(points), dtype=bool)
    if len(points) > 1:
        # query_ball_point includes points at the distance itself; nextafter leaves those alone
        for index, near in enumerate(cKDTree(points).query_ball_point(points, np.nextafter(min_distance, 0))):
            if alive[index]:
                neighbours = np.asarray(near)
                alive[neighbours[neighbours > index]] = False
    keep[order[torch.from_numpy(alive)]] = True
    return keep.to(x.device)
