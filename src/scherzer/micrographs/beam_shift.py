"""Beam shifts to groups: exposures taken with the same image shift share their aberrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

# Our own choices, tested on simulated patterns.
LEAST_GAP = 2.2  # between the merges within groups and those between them
LEAST_SEPARATION = 0.76  # 1: groups are points; groups cut out of a cloud reach 0.6
MOST_GROUPS = 200
MOST_CLUSTERED = 4000
EQUAL = 1e-3  # of the whole range: shifts that are nearer were meant to be the same


@dataclass(frozen=True)
class BeamShiftGroups:
    """Groups of exposures by beam shift.

    Attributes
    ----------
    labels : ndarray of int
        ``(n,)``, from 0 in the order in which the groups first occur.
    count : int
        Number of groups.
    positions : int
        Number of positions of the pattern, before small groups were merged; 1 where there is no pattern.
    """

    labels: NDArray[np.int64]
    count: int
    positions: int


def group_beam_shifts(shifts: Sequence[tuple[float, float]], least_images: int = 3) -> BeamShiftGroups:
    """Find the positions of an image-shift pattern and sort exposures by them.

    Parameters
    ----------
    shifts : sequence of tuple of float
        x and y of each exposure, in any one unit.
    least_images : int
        Positions with fewer exposures are joined to the nearest other.

    Returns
    -------
    BeamShiftGroups
        One group where no pattern is seen.

    Notes
    -----
    Hierarchical clustering by mean distance: within a position the merges are as small as the jitter, between positions
    as large as the pattern's pitch, so the threshold lies in the widest gap (as a ratio) of the merge distances. The
    number of positions need not be known. The gap counts only where its groups are told apart well.
    """
    points = np.asarray(shifts, dtype=np.float64).reshape(-1, 2)
    # All pairs of some thousand exposures fit into memory; more are sorted to the centres of a part of them.
    part = points[:: 1 + len(points) // MOST_CLUSTERED]
    labels = _positions(part, least_images)
    if len(part) < len(points):
        labels = np.linalg.norm(points[:, None] - _centres(part, labels)[None], axis=2).argmin(axis=1)
    positions = int(labels.max()) + 1 if len(labels) else 1
    labels = _in_order(_without_small(points, labels, least_images))
    return BeamShiftGroups(labels, int(labels.max()) + 1 if len(labels) else 1, positions)


def _positions(points: NDArray[np.float64], least_images: int) -> NDArray[np.int64]:
    """Return the position of each point; all 0 where there is no pattern."""
    alone = np.zeros(len(points), np.int64)
    extent = float(np.ptp(points, axis=0).max()) if len(points) else 0.0
    if len(points) < 2 or extent == 0:
        return alone
    tree = linkage(points, "average")
    heights = np.maximum(tree[:, 2], EQUAL * extent)
    # A cut into k groups lies between the merges k and k - 1 from the end. Groups of too few on average are not looked
    # for: the smallest distances between neighbours would be taken for the jitter.
    counts = np.arange(2, min(len(points) // max(2, least_images), MOST_GROUPS) + 1)
    if not len(counts):
        return alone
    gaps = heights[len(heights) - counts + 1] / heights[len(heights) - counts]
    for index in np.argsort(-gaps, kind="stable"):
        if gaps[index] < LEAST_GAP:
            break
        labels = fcluster(tree, int(counts[index]), "maxclust").astype(np.int64) - 1
        if _separation(points, labels) >= LEAST_SEPARATION:
            return labels
    return alone


def _separation(points: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the mean of 1 - (distance to the own centre) / (distance to the nearest other): a quick silhouette."""
    if labels.max() < 1:
        return 0.0
    distances = np.linalg.norm(points[:, None] - _centres(points, labels)[None], axis=2)
    own = distances[np.arange(len(points)), labels]
    distances[np.arange(len(points)), labels] = np.inf
    return float(np.mean(1 - own / np.maximum(distances.min(axis=1), 1e-300)))


def _centres(points: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    sums = np.zeros((int(labels.max()) + 1, 2))
    np.add.at(sums, labels, points)
    return sums / np.bincount(labels)[:, None]


def _without_small(points: NDArray[np.float64], labels: NDArray[np.int64], least: int) -> NDArray[np.int64]:
    """Join the smallest group to the one with the nearest centre until none is too small."""
    labels = _in_order(labels)
    while len(labels) and labels.max() > 0:
        sizes = np.bincount(labels)
        smallest = int(sizes.argmin())
        if sizes[smallest] >= least:
            break
        centres = _centres(points, labels)
        distances = np.linalg.norm(centres - centres[smallest], axis=1)
        distances[smallest] = np.inf
        labels = _in_order(np.where(labels == smallest, int(distances.argmin()), labels))
    return labels


def _in_order(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number groups from 0 in the order in which they first occur."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)
