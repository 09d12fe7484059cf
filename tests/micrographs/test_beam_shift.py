"""Positions of an image-shift pattern, found without being told how many there are."""

from __future__ import annotations

import numpy as np
import pytest

from scherzer.micrographs import beam_shift
from scherzer.micrographs.beam_shift import group_beam_shifts


def pattern(side: int, images: int, jitter: float, seed: int = 0, unit: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """Return shifts over a turned square pattern of positions 1 apart, and the position of each."""
    rng = np.random.default_rng(seed)
    cosine, sine = np.cos(0.4), np.sin(0.4)
    grid = np.array([(i, j) for i in range(side) for j in range(side)]) @ np.array([[cosine, -sine], [sine, cosine]])
    truth = rng.permutation(np.arange(images) % side**2)
    return unit * (grid[truth] + rng.normal(0, jitter, (images, 2))), truth


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    return len(pairs) == len(set(first.tolist())) == len(set(second.tolist()))


@pytest.mark.parametrize(("side", "images"), [(2, 20), (3, 40), (3, 400), (5, 100), (7, 400)])
@pytest.mark.parametrize("jitter", [0.0, 0.02, 0.08])
def test_the_positions_of_a_regular_pattern_are_found(side: int, images: int, jitter: float) -> None:
    shifts, truth = pattern(side, images, jitter)
    found = group_beam_shifts([tuple(shift) for shift in shifts])
    assert (found.count, found.positions) == (side**2, side**2)
    assert same_partition(found.labels, truth)


def test_groups_are_numbered_as_they_come() -> None:
    found = group_beam_shifts([(5.0, 5.0), (0.0, 0.0), (5.0, 5.01)] * 4)
    assert found.labels.tolist() == [0, 1, 0] * 4


def test_shots_within_holes_are_positions_of_their_own() -> None:
    holes = np.array([(i, j) for i in range(-1, 2) for j in range(-1, 2)])
    shots = 0.2 * np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
    truth = np.arange(360) % 36
    positions = (holes[:, None] + shots).reshape(-1, 2)[truth]
    found = group_beam_shifts(list(map(tuple, positions + np.random.default_rng(0).normal(0, 0.01, (360, 2)))))
    assert found.count == 36
    assert same_partition(found.labels, truth)


@pytest.mark.parametrize("images", [0, 1, 2, 12, 40, 300])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_without_a_pattern_there_is_one_group(images: int, spread: float) -> None:
    shifts = spread * np.random.default_rng(images).normal(size=(images, 2))
    found = group_beam_shifts([tuple(shift) for shift in shifts])
    assert (found.count, found.positions) == (1, 1)
    assert found.labels.tolist() == [0] * images


def test_positions_with_few_images_join_their_neighbour() -> None:
    shifts = [(0.0, 0.0)] * 10 + [(10.0, 0.0)] * 10 + [(11.0, 0.0)] * 2
    found = group_beam_shifts(shifts, least_images=3)
    assert (found.count, found.positions) == (2, 3)
    assert found.labels.tolist() == [0] * 10 + [1] * 12


def test_a_long_session_is_sorted_like_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beam_shift, "MOST_CLUSTERED", 100)
    shifts, truth = pattern(3, 950, 0.05)
    found = group_beam_shifts([tuple(shift) for shift in shifts])
    assert found.count == 9
    assert same_partition(found.labels, truth)
