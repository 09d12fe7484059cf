"""Poisson counts of whole images: fast, exact, and the same whatever the number of threads.

An image is cut into blocks of rows, each with its own stream of random numbers. Within a block counts are drawn by
inversion: a uniform number is looked up in the distribution function of its pixel's expectation. The upper byte of a
16-bit number picks one of 256 cells of the unit interval; where no step of the distribution function lies in the
cell, the count stands in a table, and only the few other pixels are compared with the function itself, with 53 more
random bits. Expectations are tabulated at `LEVELS` values over the image's range; a pixel between two of them takes
one of both at random (the lower byte decides), so that its mean is exact and its variance too large by at most a
quarter of the squared spacing.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr

Result = TypeVar("Result")

LEVELS = 256
# Above this expectation nearly every cell holds a step of the distribution function and numpy's rejection is as fast.
TABULATED_UP_TO = 150.0
# Pixels of a block: its arrays stay in the processor's cache.
BLOCK_PX = 2**18
# In the table: the cell holds a step.
STEP = 255
SATURATED = 2**16 - 1


@dataclass(frozen=True)
class _Table:
    """The distribution functions of an image's range of expectations."""

    low: float
    per_unit: float  # levels for each unit of expectation
    function: NDArray[np.float64]  # (level, count)
    first: NDArray[np.uint8]  # (level * 256 + cell): smallest count of the cell
    sure: NDArray[np.uint8]  # the same where it is the only one, elsewhere STEP


def child(seed: np.random.SeedSequence, *key: int) -> np.random.SeedSequence:
    """Return a seed of its own for each key; unlike ``spawn`` it does not depend on what was asked before."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *key))


def by_rows(work: Callable[[int, slice], Result], shape: tuple[int, ...], pool: Executor | None) -> list[Result]:
    """Call ``work(number, rows)`` for each block of an image's rows; return the results in order."""
    rows = max(1, BLOCK_PX // max(shape[1], 1))
    blocks = [slice(top, min(top + rows, shape[0])) for top in range(0, shape[0], rows)]
    return list((pool.map if pool else map)(work, range(len(blocks)), blocks))


def count_electrons(
    seed: np.random.SeedSequence, expected: NDArray[np.float32], pool: Executor | None = None
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Draw independent Poisson counts.

    Parameters
    ----------
    seed : SeedSequence
        Of this image alone; the same seed gives the same counts.
    expected : ndarray
        ``(h, w)`` float32, expectations, not negative.
    pool : Executor, optional
        Threads that draw blocks side by side; the result does not depend on it.

    Returns
    -------
    ndarray of uint8 or uint16
        ``(h, w)``, the smaller type if it holds all counts; larger counts than 65535 are cut to that.
    """
    low, high = float(expected.min(initial=np.inf)), float(expected.max(initial=0))
    table = _tabulate(low, high) if 0 <= low <= high <= TABULATED_UP_TO else None

    def draw(number: int, rows: slice) -> NDArray[Any]:
        rng = np.random.Generator(np.random.PCG64(child(seed, number)))
        if table is None:
            return np.minimum(rng.poisson(expected[rows]), SATURATED).astype(np.uint16)
        return _look_up(rng, table, expected[rows])

    return smallest(np.concatenate(by_rows(draw, expected.shape, pool)))


def smallest(counts: NDArray[Any]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return counts in the smaller of the two types if it holds them."""
    return counts.astype(np.uint8, copy=False) if counts.max(initial=0) < 256 else counts


def _tabulate(low: float, high: float) -> _Table:
    means = np.linspace(low, high, LEVELS)
    counts = np.arange(int(high + 12 * np.sqrt(high)) + 25)
    function = np.asarray(pdtr(counts, means[:, None]), dtype=np.float64)
    function[:, -1] = 1  # what lies beyond has a probability below 1e-16
    # How many counts have their step at or before the start of each cell, and which cells hold one.
    cell = np.arange(LEVELS)[:, None] * 257 + np.ceil(function * 256).astype(np.int64)
    steps = np.bincount(cell.ravel(), minlength=LEVELS * 257).reshape(LEVELS, 257)
    first = np.minimum(np.cumsum(steps, axis=1)[:, :256], len(counts) - 1).astype(np.uint8)
    sure = np.where(steps[:, 1:] > 0, STEP, first).astype(np.uint8)
    per_unit = (LEVELS - 1) / (high - low) if high > low else 0.0
    return _Table(low, per_unit, function, first.ravel(), sure.ravel())


def _look_up(rng: np.random.Generator, table: _Table, expected: NDArray[np.float32]) -> NDArray[np.uint8]:
    size = expected.size
    words = rng.integers(0, 2**64 - 1, (size + 3) // 4, dtype=np.uint64, endpoint=True)
    bits = words.astype("<u8", copy=False).view("<u2")[:size]
    position = (expected.ravel() - np.float32(table.low)) * np.float32(table.per_unit)
    position += (bits & 255).astype(np.float32) * np.float32(1 / 256) + np.float32(1 / 512)
    entry = np.minimum(position, np.float32(LEVELS - 1)).astype(np.int32)
    entry <<= 8
    entry |= bits >> 8
    counts = np.take(table.sure, entry)
    open_px = np.flatnonzero(counts == STEP)
    entry = entry[open_px]
    count = np.take(table.first, entry).astype(np.intp)
    level = entry >> 8
    uniform = ((entry & 255) + rng.random(len(entry))) / 256
    left = np.arange(len(entry))
    while len(left):
        left = left[table.function[level[left], count[left]] <= uniform[left]]
        count[left] += 1
    counts[open_px] = count
    return counts.reshape(expected.shape)
