"""Dropping duplicates against the walk, one position after the other, that defines it."""

from __future__ import annotations

import pytest
import torch

from scherzer.particles.duplicates import drop_duplicates


@pytest.mark.parametrize("on_grid", [False, True], ids=["anywhere", "with ties"])
@pytest.mark.parametrize("count", [0, 1, 2, 400])
def test_keeps_what_a_walk_from_the_best_down_keeps(count: int, on_grid: bool) -> None:
    x, y, score = 100 * torch.rand(3, count, generator=torch.Generator().manual_seed(count))
    if on_grid:
        x, y, score = x.round(), y.round(), (score / 5).round()
    kept: list[int] = []
    for index in torch.argsort(score, descending=True, stable=True).tolist():
        if all(torch.hypot(x[index] - x[other], y[index] - y[other]) >= 5.0 for other in kept):
            kept.append(index)
    assert torch.nonzero(drop_duplicates(x, y, score, 5.0)).flatten().tolist() == sorted(kept)
