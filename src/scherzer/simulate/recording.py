"""From the contrast of a specimen at rest to what one image or the frames of a movie see of it.

While it is recorded the specimen moves, radiation fades the particles, and the water of the ice moves, so that its
noise fades from one moment to the next. For a sum all this comes to one factor for each spatial frequency; frames are
made one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from scherzer.physics.dose import dose_weights, mean_survival
from scherzer.simulate.drift import Motion, Smear, Track
from scherzer.simulate.field import Array, ComplexArray, FieldGrid
from scherzer.simulate.ice import mean_power, water_decay_per_e
from scherzer.simulate.image_formation import Contrast
from scherzer.simulate.lens import table
from scherzer.simulate.threads import for_all

# Fading over an exposure is a sum of so many products of a function of the dose and one of the frequency, and the
# correlation of moving water one of so many cosines of the time.
FADING_TERMS, WATER_TERMS = 5, 8


@dataclass(frozen=True)
class Recording:
    """How one exposure is recorded.

    Attributes
    ----------
    grid : FieldGrid
        Where.
    track : Track
        How the specimen moves.
    dose_e_per_A2, voltage_kV : float
        Whole exposure, and the voltage that decides how fast it destroys.
    water_motion_A2_per_e : float
        Mean squared displacement of the water for each e/A^2.
    white : ndarray
        ``(h, w)``, local factor of the amplitude of the ice's noise.
    """

    grid: FieldGrid
    track: Track
    dose_e_per_A2: float
    voltage_kV: float
    water_motion_A2_per_e: float
    white: Array

    @property
    def water_decays(self) -> torch.Tensor:
        """Length of the exposure in units of the water's correlation length, over `FieldGrid.radii`."""
        return water_decay_per_e(self.grid.radii, self.water_motion_A2_per_e).double() * self.dose_e_per_A2

    def noise(self, rng: np.random.Generator) -> ComplexArray:
        """Transform of white noise of unit variance, times `white`."""
        field = rng.standard_normal(self.white.shape, dtype=np.float32)
        field *= self.white
        return self.grid.transform(field)


def record_sum(
    pool: ThreadPoolExecutor, rng: np.random.Generator, contrast: Contrast, recording: Recording, aligned: bool
) -> Array:
    """Return the relative contrast of the sum of all frames over the field, ``(h, w)``; ``contrast`` is overwritten.

    Parameters
    ----------
    pool : ThreadPoolExecutor
        For the work.
    rng : Generator
        Source of the ice's noise.
    contrast : Contrast
        At rest.
    recording : Recording
        How the exposure is recorded.
    aligned : bool
        Frames were aligned before they were summed: only movement within them is left.
    """
    grid, motion = recording.grid, recording.track.of_sum(aligned)
    noise = pool.submit(recording.noise, rng)
    doses, curves = _fading(motion, recording)
    fades = [table(curve) for curve in curves]
    protein_smear = Smear(motion, grid, doses)
    smear = Smear(motion, grid)
    water_power = _WaterPower(motion, recording, aligned)
    picture, water = contrast.protein, noise.result()

    def record(rows: slice) -> None:
        place = grid.place(rows)
        factor = np.zeros((len(place), len(grid.kx)), np.complex64)
        for fade, wave in zip(fades, protein_smear.rows(rows), strict=True):
            wave *= fade[place]
            factor += wave
        picture[rows] *= factor
        amplitude = contrast.water[rows]
        still = smear.rows(rows)[0]
        amplitude *= np.sqrt(water_power.rows(rows, place, still))
        picture[rows] += water[rows] * amplitude
        picture[rows] += contrast.still[rows] * still

    for_all(pool, record, grid.blocks)
    return grid.field(picture)


def _fading(motion: Motion, recording: Recording) -> tuple[NDArray[np.float64], torch.Tensor]:
    """Factors ``(terms, n)`` and ``(terms, table)`` whose products sum to what radiation leaves at each moment."""
    doses = torch.from_numpy(motion.moments * recording.dose_e_per_A2)
    left = dose_weights(recording.grid.radii.double(), doses, recording.voltage_kV)
    over_time, sizes, over_k = torch.linalg.svd(left, full_matrices=False)
    count = min(FADING_TERMS, len(sizes))
    return (over_time[:, :count] * sizes[:count]).T.numpy(), over_k[:count]


class _WaterPower:
    """Power of the ice's noise in the mean over an exposure, relative to one moment.

    The correlation ``exp(-c |t - t'|)`` of the noise at two moments is a series of ``a_m cos(pi m (t - t'))`` over the
    exposure, all of whose coefficients are positive: as many independent parts, of which each moves with the specimen.
    In a sum of aligned frames movement is so small that its effect and that of the fading are simply multiplied.
    """

    def __init__(self, motion: Motion, recording: Recording, aligned: bool) -> None:
        self._decays = recording.water_decays
        self._whole = table(mean_power(self._decays))
        self._smear: Smear | None = None
        if not aligned and np.abs(motion.positions_A).max() > 0:
            orders = np.arange(-WATER_TERMS, WATER_TERMS + 1)
            self._smear = Smear(motion, recording.grid, np.exp(1j * np.pi * orders[:, None] * motion.moments))
            self._shares = [table(self._share(abs(int(order)))) for order in orders]

    def _share(self, order: int) -> torch.Tensor:
        c = self._decays.clamp(min=1e-6)
        fall = 1 - (-1) ** order * torch.exp(-c)
        return fall / c if order == 0 else c * fall / (c**2 + (math.pi * order) ** 2)

    def rows(self, rows: slice, place: NDArray[np.int32], still: ComplexArray) -> Array:
        """Return the power for some rows of a transform."""
        if self._smear is None:
            return np.asarray(self._whole[place] * (still.real**2 + still.imag**2))
        total = np.zeros(place.shape, np.float32)
        for share, wave in zip(self._shares, self._smear.rows(rows), strict=True):
            total += share[place] * (wave.real**2 + wave.imag**2)
        return total


def record_frames(
    pool: ThreadPoolExecutor, rng: np.random.Generator, contrast: Contrast, recording: Recording
) -> Iterator[Array]:
    """Yield the relative contrast of each frame over the field, ``(h, w)``; ``contrast`` is overwritten.

    Between frames the noise of the ice goes on as a process whose means over the frames have exactly the variance and
    the correlations of an exponentially forgetting one: ``mean = a state + b innovation``, ``state = r state +
    sqrt(1 - r^2) innovation``.
    """
    grid, frames = recording.grid, recording.track.frames
    rate = recording.dose_e_per_A2 / frames
    first = mean_survival(grid.radii, 0.0, rate, recording.voltage_kV)
    second = mean_survival(grid.radii, rate, 2 * rate, recording.voltage_kV)
    forget, old, new = (table(curve) for curve in _frame_process(recording.water_decays / frames))
    renew = np.sqrt(1 - forget**2)
    state = recording.noise(rng)

    def record(smear: Smear, fade: Array, innovation: ComplexArray, rows: slice) -> None:
        """Make some rows of a frame's transform, in place of the innovation, and go on to the next frame."""
        place = grid.place(rows)
        protein, fresh, water = contrast.protein[rows], innovation[rows], state[rows]
        protein *= fade[place]
        picture = old[place] * water + new[place] * fresh
        picture *= contrast.water[rows]
        picture += protein
        picture += contrast.still[rows]
        picture *= smear.rows(rows)[0]
        water *= forget[place]
        water += renew[place] * fresh
        fresh[...] = picture

    for frame in range(frames):
        innovation = recording.noise(rng)
        smear = Smear(recording.track.of_frame(frame), grid)
        for_all(pool, partial(record, smear, table(first if frame == 0 else second / first), innovation), grid.blocks)
        yield grid.field(innovation)


def _frame_process(decays: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return r, a and b of the process of frame means, for frames that last so many correlation lengths.

    Means over a frame have the variance ``g = mean_power(x)`` and, m frames apart, the correlation
    ``h^2 exp(-(m - 1) x)`` with ``h = (1 - exp(-x)) / x``. The process gives ``a^2 + b^2`` and, for m = 1,
    ``a (a r + b q)`` with ``q^2 = 1 - r^2``.
    """
    x = decays.double().clamp(min=1e-5)
    r, g, h = torch.exp(-x), mean_power(x), -torch.expm1(-x) / x
    middle = h**2 * r + (1 - r**2) * g / 2
    square = middle + torch.sqrt((middle**2 - h**4).clamp(min=0))
    a = torch.sqrt(torch.minimum(square, g))
    b = (h**2 - square * r) / (a * torch.sqrt(1 - r**2))
    return r, a, b
