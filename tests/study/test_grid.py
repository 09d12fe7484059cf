"""Tables come together: accepted micrographs, groups, half-sets, selection."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scherzer.study.grid import read_grid


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    micrographs = pd.DataFrame(
        {
            "rlnMicrographName": ["a", "b", "c", "d"],
            "sczState": ["accepted", "rejected", "accepted", "accepted"],
            "rlnDefocusU": [10000.0, 9000.0, 20000.0, np.nan],
            "rlnDefocusV": [12000.0, 9000.0, 20000.0, np.nan],
            "rlnCtfMaxResolution": [4.0, 9.0, 5.0, np.nan],
            "sczContrastClass": ["good", "good", "bad", None],
        }
    )
    picked = pd.DataFrame(
        {"rlnMicrographName": list("aaabccd"), "rlnRandomSubset": [1, 1, 2, 1, 2, 2, 1]},
    )
    return micrographs, picked


def test_rejected_micrographs_and_their_particles_are_out():
    grid = read_grid(*tables(), np.ones(7, dtype=bool))
    assert grid.names == ("a", "c", "d")
    assert grid.groups == ("good", "bad")
    assert grid.particle_micrograph.tolist() == [0, 0, 0, -1, 1, 1, 2]
    assert grid.selected.tolist() == [True, True, True, False, True, True, True]
    assert grid.micrograph_half.tolist() == [1, 2, 1]
    assert grid.underfocus_A[0] == 11000.0
    assert grid.group.tolist() == ["good", "bad", ""]


def test_selection_as_row_numbers_equals_selection_as_mask():
    mask = np.array([1, 0, 1, 0, 0, 1, 0], dtype=bool)
    by_mask = read_grid(*tables(), mask)
    by_rows = read_grid(*tables(), np.flatnonzero(mask))
    assert np.array_equal(by_mask.selected, by_rows.selected)
    assert by_mask.particles_on(np.array([0])).tolist() == [0, 2]
    assert by_mask.particles_on(np.array([0]), selected_only=False).tolist() == [0, 1, 2]
    assert by_mask.shares(np.array([0, 2, 5])).tolist() == pytest.approx([2 / 3, 1 / 3, 0.0])


def test_what_does_not_belong_together_is_refused():
    micrographs, picked = tables()
    with pytest.raises(ValueError, match="unknown"):
        read_grid(micrographs.iloc[1:], picked, np.ones(7, dtype=bool))
    with pytest.raises(ValueError, match="half-set"):
        read_grid(micrographs, picked.assign(rlnRandomSubset=0), np.ones(7, dtype=bool))
    with pytest.raises(ValueError, match="mask"):
        read_grid(micrographs, picked, np.ones(3, dtype=bool))
