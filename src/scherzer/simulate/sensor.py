"""The pixels of one camera: their gains and defects, as its gain reference and list of defects state them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scherzer.formats.atomic import write_text
from scherzer.formats.mrc import write_mrc
from scherzer.simulate.settings import SimulationSettings

# Shares of the gains' variance: independent pixels, columns, and the tiles that share an amplifier. Our own choice,
# after the look of real references.
PIXEL_SHARE, COLUMN_SHARE, TILE_SHARE = 0.64, 0.09, 0.27
TILES = (2, 16)  # down, across
# A hot pixel counts in this share of the raw frames. Our own choice.
HOT_SHARE = (0.2, 1.0)


@dataclass(frozen=True)
class Sensor:
    """The pixels.

    Attributes
    ----------
    gain : ndarray
        ``(h, w)`` float32, mean 1: what counts are multiplied by to be corrected.
    hot, dead : ndarray
        ``(n, 2)`` int64, x and y from 0.
    hot_share : ndarray
        ``(n,)``, share of the raw frames in which each hot pixel counts.
    """

    gain: NDArray[np.float32]
    hot: NDArray[np.int64]
    dead: NDArray[np.int64]
    hot_share: NDArray[np.float64]

    @property
    def efficiency(self) -> NDArray[np.float32]:
        """``(h, w)``, counts for each electron, 1 on average."""
        return np.reciprocal(self.gain)

    @property
    def bad(self) -> NDArray[np.bool_]:
        """``(h, w)``, True at defects."""
        bad = np.zeros(self.gain.shape, dtype=bool)
        for defects in (self.hot, self.dead):
            bad[defects[:, 1], defects[:, 0]] = True
        return bad

    def spoil(self, counts: NDArray[np.uint16], raw_frames: float) -> None:
        """Overwrite the counts of defects: hot pixels count in most of the raw frames, dead ones never."""
        counts[self.hot[:, 1], self.hot[:, 0]] = np.minimum(np.round(self.hot_share * raw_frames), 2**16 - 1)
        counts[self.dead[:, 1], self.dead[:, 0]] = 0

    def correct(self, counts: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Return counts times gain, ``(h, w)`` float32, each defect replaced by the nearest good pixel's value."""
        corrected = counts * self.gain
        bad = self.bad
        y, x = np.nonzero(bad)
        height, width = bad.shape
        for dx, dy in _outward(8):
            if not len(y):
                break
            y_from, x_from = (y + dy).clip(0, height - 1), (x + dx).clip(0, width - 1)
            good = ~bad[y_from, x_from]
            corrected[y[good], x[good]] = corrected[y_from[good], x_from[good]]
            y, x = y[~good], x[~good]
        corrected[y, x] = corrected[~bad].mean() if (~bad).any() else 0
        return corrected


def draw_sensor(settings: SimulationSettings) -> Sensor | None:
    """Draw the session's sensor; None where all pixels are perfect."""
    detector, microscope = settings.detector, settings.microscope
    if not (detector.gain_spread or detector.hot_px or detector.dead_px):
        return None
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(2,)))
    shape = (microscope.height_px, microscope.width_px)
    size = shape[0] * shape[1]
    places = rng.choice(size, min(detector.hot_px + detector.dead_px, size), replace=False)
    points = np.stack((places % shape[1], places // shape[1]), axis=1).astype(np.int64)
    hot, dead = points[: detector.hot_px], points[detector.hot_px :]
    return Sensor(_draw_gain(rng, shape, detector.gain_spread), hot, dead, rng.uniform(*HOT_SHARE, len(hot)))


def write_sensor(out: Path, sensor: Sensor, pixel_size_A: float) -> tuple[Path, Path]:
    """Write what comes with raw movies.

    Parameters
    ----------
    out : Path
        Folder; gets ``gain.mrc``, to multiply by, 0 at defects, and ``defects.txt``, one line ``x y w h`` for each
        defect, in pixels from 0, as MotionCor2 reads it.
    sensor : Sensor
        What is written.
    pixel_size_A : float
        Pixel size.

    Returns
    -------
    pair of Path
        The gain reference and the list.
    """
    gain, defects = out / "gain.mrc", out / "defects.txt"
    bad = sensor.bad
    write_mrc(gain, np.where(bad, np.float32(0), sensor.gain), pixel_size_A, "image")
    write_text(defects, "".join(f"{x} {y} 1 1\n" for y, x in zip(*np.nonzero(bad), strict=True)))
    return gain, defects


def _draw_gain(rng: np.random.Generator, shape: tuple[int, int], spread: float) -> NDArray[np.float32]:
    gain = rng.standard_normal(shape, dtype=np.float32) * np.float32(PIXEL_SHARE**0.5)
    gain += rng.standard_normal(shape[1], dtype=np.float32) * np.float32(COLUMN_SHARE**0.5)
    tiles = rng.standard_normal(TILES, dtype=np.float32) * np.float32(TILE_SHARE**0.5)
    rows, columns = (np.arange(side) * count // side for side, count in zip(shape, TILES, strict=True))
    gain += tiles[rows][:, columns]
    gain = np.maximum(1 + np.float32(spread) * gain, np.float32(0.1))
    return np.asarray(gain / gain.mean(dtype=np.float64), dtype=np.float32)


def _outward(reach: int) -> list[tuple[int, int]]:
    """Return steps to the neighbours within a distance, the nearest first."""
    side = range(-reach, reach + 1)
    steps = [(dx, dy) for dy in side for dx in side if dx or dy]
    return sorted(steps, key=lambda step: (step[0] ** 2 + step[1] ** 2, step))
