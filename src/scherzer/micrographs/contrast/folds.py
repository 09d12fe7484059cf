"""Labelled micrographs divided for cross-validation: sessions whole, classes in proportion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

FOLDS = 5
# With fewer sessions than this a fold would leave hardly anything to learn from.
LEAST_SESSIONS = 3


@dataclass(frozen=True)
class Folds:
    """A division.

    Attributes
    ----------
    index : Tensor
        ``(n,)`` fold of each micrograph.
    count : int
        How many folds.
    by_session : bool
        Whether no session is cut; where it is, what is held out resembles what is learnt from.
    """

    index: Tensor
    count: int
    by_session: bool


def stratified_folds(classes: Tensor, sessions: Sequence[str], seed: int) -> Folds:
    """Divide micrographs.

    Parameters
    ----------
    classes : Tensor
        ``(n,)`` 0, 1 or 2, each at least twice.
    sessions : sequence of str
        ``n`` names; kept whole if there are three or more and every class stays in what is left of each fold.
    seed : int
        Of the order among equals.
    """
    names = sorted(set(sessions))
    if len(names) >= LEAST_SESSIONS:
        units = torch.tensor([names.index(name) for name in sessions])
        index = _divide(classes, units, min(FOLDS, len(names)), seed)
        if all(len(classes[index != fold].unique()) == 3 for fold in range(int(index.max()) + 1)):
            return Folds(index, int(index.max()) + 1, True)
    count = min(FOLDS, int(torch.bincount(classes, minlength=3).min()))
    return Folds(_divide(classes, torch.arange(len(classes)), count, seed), count, False)


def _divide(classes: Tensor, units: Tensor, count: int, seed: int) -> Tensor:
    """Give each unit, the largest first, to the fold where the shares of the classes stay most even."""
    held = torch.zeros(int(units.max()) + 1, 3).index_put_((units, classes), torch.ones(len(units)), accumulate=True)
    share = (held / held.sum(0)).double().numpy()
    order = np.random.default_rng(seed).permutation(len(share))
    order = order[np.argsort(-share[order].max(1), kind="stable")]
    filled = np.zeros((count, 3))
    fold_of = np.zeros(len(share), dtype=np.int64)
    for unit in order:
        uneven = [np.square(filled + share[unit] * (np.arange(count) == fold)[:, None]).sum() for fold in range(count)]
        fold_of[unit] = int(np.argmin(np.round(uneven, 9)))
        filled[fold_of[unit]] += share[unit]
    return torch.from_numpy(fold_of)[units]
