"""Points to grids, against the plain sum over points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from scherzer.physics import splatting
from scherzer.physics.splatting import fine_box, kernel_correction, splat, to_coarse_rfft


def direct_transform(points: Tensor, weights: Tensor, box: int) -> Tensor:
    """The plain twin: one exponential for every point and frequency."""
    dimensions = points.shape[1]
    k = torch.fft.fftfreq(box, 1.0, dtype=torch.float64)
    axes = [k] * (dimensions - 1) + [k[: box // 2 + 1].abs()]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    phase = torch.einsum("c...,pc->p...", grid, points.double().flip(1))
    return torch.einsum("pc,p...->c...", weights.to(torch.complex128), torch.exp(-2j * torch.pi * phase))


@pytest.mark.parametrize(("dimensions", "box"), [(2, 48), (3, 20)])
def test_transform_equals_the_direct_sum(dimensions: int, box: int) -> None:
    rng = np.random.default_rng(1)
    # Some points lie outside the box: grids are periodic.
    points = torch.from_numpy(rng.uniform(-0.5 * box, 1.5 * box, (60, dimensions)))
    weights = torch.from_numpy(rng.normal(size=(60, 2))).float()
    fine = fine_box(box)
    grids = splat((points * fine / box).float(), weights, fine)
    found = to_coarse_rfft(grids, box, dimensions) * kernel_correction(box, fine, dimensions)
    expected = direct_transform(points, weights, box)
    axes = [torch.fft.fftfreq(box, 1 / box)] * (dimensions - 1) + [torch.arange(box // 2 + 1.0)]
    radius = torch.stack(torch.meshgrid(*axes, indexing="ij")).norm(dim=0)
    for end, tolerance in ((0.4, 0.003), (0.8, 0.005)):
        inside = radius < end * box / 2
        error = (found - expected)[:, inside].abs().pow(2).mean(1) / expected[:, inside].abs().pow(2).mean(1)
        assert float(error.max().sqrt()) < tolerance


def test_the_sum_of_a_grid_is_that_of_the_weights() -> None:
    weights = torch.tensor([[1.0], [2.5], [-0.7]])
    grid = splat(torch.tensor([[0.0, 3.3], [9.9, 5.5], [11.7, 0.2]]), weights, 16)
    correction = float(kernel_correction(12, 16, 2)[0, 0])
    assert float(grid.sum()) * correction == pytest.approx(2.8, rel=0.005)


def test_chunks_do_not_change_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    points, weights = (torch.from_numpy(rng.uniform(0, 24, (50, count))).float() for count in (2, 3))
    whole = splat(points, weights, 24)
    monkeypatch.setattr(splatting, "CHUNK_TAPS", 7 * 16)
    torch.testing.assert_close(splat(points, weights, 24), whole)


@pytest.mark.parametrize("box", [20, 94, 122, 240])
def test_fine_grids_are_even_and_large_enough(box: int) -> None:
    fine = fine_box(box)
    assert fine % 2 == 0
    assert box * 4 / 3 <= fine < 1.2 * box * 4 / 3
