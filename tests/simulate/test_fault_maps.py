"""Smooth fields over a few nodes."""

from __future__ import annotations

import numpy as np
import pytest

from scherzer.simulate.faults.maps import Nodes


def test_smooth_fields_have_unit_variance_and_their_length() -> None:
    nodes = Nodes.over((1500, 1600), 2.0)
    for length_A in (20.0, 150.0):
        field = nodes.smooth(np.random.default_rng(1), length_A)
        assert field.shape == nodes.counts
        assert field.std() == pytest.approx(1, abs=0.25)
        lag = round(2 * length_A / (nodes.step * 2.0))
        # A Gaussian of this width leaves exp(-1) of the correlation at twice its width.
        assert np.mean(field[lag:] * field[:-lag]) / field.var() == pytest.approx(np.exp(-1), abs=0.15)


def test_nodes_are_brought_to_pixels_linearly() -> None:
    nodes = Nodes.over((101, 90), 2.0)
    plane = 3 * nodes.y_A - 2 * nodes.x_A
    y, x = np.mgrid[:101, :90] * 2.0
    np.testing.assert_allclose(nodes.pixels(plane), 3 * y - 2 * x, atol=1e-3)
    fine, top, left = nodes.patch(plane[5:9, 3:10], slice(5, 9), slice(3, 10))
    np.testing.assert_allclose(fine, (3 * y - 2 * x)[top : top + fine.shape[0], left : left + fine.shape[1]], atol=1e-3)
    np.testing.assert_allclose(
        nodes.values((3 * y - 2 * x).astype(np.float32))[2:-2, 2:-2], plane[2:-2, 2:-2], atol=1e-3
    )
