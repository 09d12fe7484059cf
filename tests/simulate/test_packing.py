"""Packing without touching."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from scherzer.geometry.point_groups import point_group
from scherzer.simulate.packing import CONTACT_A, HelixAxis, HelixPile, Symmetry, helix_atoms, pack_coil


def symmetry(name: str) -> Symmetry:
    return Symmetry(point_group(name).double().numpy())


def test_a_helix_is_right_handed_and_repeats_as_alpha_helices_do() -> None:
    axis = HelixAxis(np.array([5.0, 2, 1]), np.array([0, 0, 1.0]), 19)
    positions, names = helix_atoms(np.random.default_rng(1), axis)
    assert names[:4] == ["N", "C", "C", "O"]
    calpha = positions[1::7] - axis.centre
    np.testing.assert_allclose(np.hypot(calpha[:, 0], calpha[:, 1]), 2.28, atol=1e-6)
    np.testing.assert_allclose(np.diff(calpha[:, 2]), 1.5, atol=1e-6)
    turn = np.degrees(np.diff(np.unwrap(np.arctan2(calpha[:, 1], calpha[:, 0]))))
    np.testing.assert_allclose(turn, 100, atol=1e-6)  # with z up, right-handed helices turn counter-clockwise


def test_a_helix_has_the_length_asked_for() -> None:
    axis = HelixAxis.of_length(np.zeros(3), np.array([1.0, 0, 0]), 30.0)
    assert axis.residues == 20
    assert np.ptp(axis.points[:, 0]) == pytest.approx(28.5)  # between the first and the last residue
    np.testing.assert_allclose(axis.points.mean(0), 0, atol=1e-9)


def test_helices_keep_away_from_others_and_from_copies() -> None:
    pile = HelixPile(symmetry("C4"))
    upright = HelixAxis(np.array([20.0, 0, 0]), np.array([0, 0, 1.0]), 10)
    assert pile.has_room(upright.points)
    assert not pile.has_room(upright.points - [16.0, 0, 0])  # the copies around the axis are 5.7 A away
    pile.add(upright.points)
    assert not pile.has_room(upright.points + [0, 8.0, 0])
    assert not pile.has_room(np.array([[0, 12.0, 0]]))  # a copy of the first stands there
    assert pile.has_room(upright.points + [0, 10.0, 0])


@pytest.mark.parametrize("name", ["C1", "C5", "D3", "O"])
def test_coil_fills_the_room_without_touching_anything(name: str) -> None:
    group, rng = symmetry(name), np.random.default_rng(2)
    taken = np.array([[12.0, 7, 5], [14.0, 9, 5]])

    def draw(count: int) -> np.ndarray:
        return rng.uniform(4, 16, (count, 3))

    found = pack_coil(group, draw, taken, 50, 500)
    assert len(found) == 50
    everything = group.copies(np.concatenate((taken, found)))
    others = cKDTree(everything).query(everything, k=2)[0][:, 1]
    assert others.min() > CONTACT_A - 1e-9
    crowded = pack_coil(group, draw, taken, 10_000, 2000)
    assert 50 < len(crowded) < 10_000
    assert len(pack_coil(group, draw, taken, -3, 100)) == 0
