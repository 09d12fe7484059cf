"""The simulated field."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scherzer.simulate.field import MARGIN_A, FieldGrid, field_grid


def test_the_field_has_the_room_asked_for_on_every_side_within_bounds() -> None:
    grid = field_grid(256, 320, 2.0, 230.0)
    assert grid.margin_px == 115
    assert grid.height >= 256 + 230
    assert grid.width >= 320 + 230
    assert grid.height % 2 == grid.width % 2 == 0
    assert field_grid(256, 320, 2.0, 3.0).margin_px == MARGIN_A[0] / 2
    assert field_grid(256, 320, 2.0, 5000.0).margin_px == MARGIN_A[1] / 2


def test_transforms_keep_energy_and_come_back() -> None:
    grid = FieldGrid(90, 120, 10, 1.3)
    field = np.random.default_rng(1).standard_normal((90, 120), dtype=np.float32)
    transform = grid.transform(field)
    weights = np.full(61, 2.0)
    weights[[0, -1]] = 1
    # Parseval.
    assert (np.abs(transform) ** 2 * weights).sum() / (90 * 120) == pytest.approx((field**2).sum(), rel=1e-4)
    np.testing.assert_allclose(grid.field(transform), field, atol=1e-5)


def test_the_image_is_cut_from_the_middle() -> None:
    grid = FieldGrid(90, 120, 10, 1.3)
    field = np.zeros((90, 120))
    field[10, 10] = 1
    assert grid.cut(field, 64, 96)[0, 0] == 1
    assert grid.cut(field, 64, 96).shape == (64, 96)


def test_tables_are_looked_up_at_the_right_radius() -> None:
    grid = FieldGrid(200, 260, 10, 0.9)
    curve = torch.exp(-60 / 4 * grid.radii**2).numpy()
    rows = slice(64, 128)
    exact = np.exp(-60 / 4 * (grid.kx**2 + grid.ky[rows, None] ** 2))
    np.testing.assert_allclose(curve[grid.place(rows)], exact, atol=1e-3)


def test_blocks_cover_all_rows_once() -> None:
    rows = np.concatenate([np.arange(200)[block] for block in FieldGrid(200, 64, 1, 1.0).blocks])
    assert rows.tolist() == list(range(200))
