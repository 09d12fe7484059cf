"""Counting cameras: what they lose of the signal and how they turn electrons into whole numbers.

Each electron is counted once, at a position with a small error. So the noise is white, the signal is damped by the
camera's modulation transfer function, and the detective quantum efficiency is ``DQE(k) = DQE(0) MTF(k)^2``.

Electrons that arrive close together in one raw frame count as one (Li et al. 2013, J. Struct. Biol. 184, 251). With
the sensor cut into cells of ``event_px`` pixels that count 0 or 1 in every raw frame, and ``x`` electrons expected in
a cell, the counts are binomial: the mean falls by

    eta = (1 - exp(-x)) / x,          x = event_px DQE(0) (dose rate) / (frame rate),

contrast coarser than a cell by ``g = x / (exp(x) - 1)``, the slope of the response, and the variance of coarse
noise by ``exp(-x)``, while fine contrast and noise stay as they are. The signal-to-noise ratio for the electrons that
arrive falls by ``1 - x/2`` at low and at high frequency alike.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.formats.errors import BadInput
from scherzer.simulate.counting import by_rows, child, count_electrons, smallest
from scherzer.simulate.sensor import Sensor

# Below 300 kV electrons scatter more widely in a sensor. The makers' reference MTFs of K2, K3, Falcon 3 and Falcon 4 at
# half and full Nyquist have logarithms 1.06 to 1.33 times as large at 200 kV as at 300 kV; 1.15 is used for all. That
# DQE(0) also changes with the voltage is not modelled, nor are voltages below 200 kV.
LOG_LOSS_AT_200_KV = 1.15


@dataclass(frozen=True)
class Detector:
    """A camera in counting mode.

    Attributes
    ----------
    name : str
        As users write it.
    dqe_zero, dqe_half, dqe_nyquist : float
        Detective quantum efficiency at zero, half and full Nyquist frequency of the physical pixels, at a dose rate so
        low that no two electrons meet.
    frame_rate_hz : float
        Raw frames a second, in which electrons are told apart.
    event_px : float
        Area in which electrons of one raw frame are taken for one, in physical pixels.
    """

    name: str
    dqe_zero: float
    dqe_half: float
    dqe_nyquist: float
    frame_rate_hz: float
    event_px: float = 9.0

    def occupancy(self, dose_rate_e_per_px_s: float) -> float:
        """Electrons expected in the area of one event in one raw frame: ``x``."""
        return self.event_px * self.dqe_zero * dose_rate_e_per_px_s / self.frame_rate_hz

    def counted(self, dose_rate_e_per_px_s: float) -> float:
        """Share of the electrons that are counted: DQE(0) without what coincidence loses."""
        x = self.occupancy(dose_rate_e_per_px_s)
        return self.dqe_zero * (-math.expm1(-x) / x if x > 0 else 1.0)


# All at 300 kV. The area of an event is 3 x 3 px for all: a K2 counts about 0.9 of 8 electrons/px/s (Leginon's manual,
# "K2 camera sensitivity"), which is 9 px; for the others it is plausible, not measured here.
DETECTORS: dict[str, Detector] = {
    detector.name: detector
    for detector in (
        # Counting mode, 40 raw frames/s. The DQE is plausible, not measured here.
        Detector("Falcon III", 0.80, 0.58, 0.30, 40.0),
        # 248 and 320 raw frames/s. The DQE is about what the maker's data sheet gives; plausible, not measured here.
        Detector("Falcon 4", 0.92, 0.72, 0.50, 248.0),
        Detector("Falcon 4i", 0.92, 0.72, 0.50, 320.0),
        # 400 raw frames/s (Gatan's user guide). Shape: square of Gatan's reference MTF, 0.858 and 0.607 at half and
        # full Nyquist. DQE(0): peak of the curve that comes with the simulator of Pelz et al. 2017 (Sci. Rep. 7, 9883);
        # that one falls to 0.54 and 0.23.
        Detector("K2", 0.80, 0.59, 0.295, 400.0),
        # 1500 raw frames/s. Shape: square of Gatan's reference MTF of the standard mode, 0.889 and 0.636 at half and
        # full Nyquist; DQE(0) is plausible, not measured here.
        Detector("K3", 0.85, 0.67, 0.34, 1500.0),
    )
}


def detector_named(name: str, voltage_kV: float = 300.0) -> Detector:
    """Return a camera at a voltage; capitals and spaces in its name do not matter.

    Raises
    ------
    BadInput
        If there is no such camera, naming those there are.
    """
    for known, detector in DETECTORS.items():
        if known.replace(" ", "").casefold() == name.replace(" ", "").casefold():
            loss = float(np.interp(voltage_kV, (200.0, 300.0), (LOG_LOSS_AT_200_KV, 1.0)))
            half, nyquist = ((dqe / detector.dqe_zero) ** loss for dqe in (detector.dqe_half, detector.dqe_nyquist))
            return replace(detector, dqe_half=detector.dqe_zero * half, dqe_nyquist=detector.dqe_zero * nyquist)
    raise BadInput("detector.name", f"there is no detector '{name}'", f"give one of {', '.join(DETECTORS)}")


def signal_transfer(detector: Detector, k: Tensor, pixel_size_A: float, binning: float = 1.0) -> Tensor:
    """Root of the DQE relative to that at zero: what the signal loses against white noise.

    Between and beyond the three frequencies where the DQE is given it is ``DQE(0) exp(-a r^b)`` with ``r`` in units of
    the physical Nyquist frequency, a Gaussian where ``b`` is 2.

    Parameters
    ----------
    detector : Detector
        The camera.
    k : Tensor
        Spatial frequency, 1/A.
    pixel_size_A : float
        Pixel size of the image.
    binning : float
        Physical pixels on a side of the image's pixel: 2 where frames were Fourier-cropped to half, 0.5 in
        super-resolution.
    """
    full = -math.log(detector.dqe_nyquist / detector.dqe_zero)
    power = math.log2(full / -math.log(detector.dqe_half / detector.dqe_zero))
    relative = (2 * pixel_size_A / binning) * k
    return torch.exp(-full / 2 * relative**power)


def expose(
    seed: np.random.SeedSequence,
    detector: Detector,
    sensor: Sensor | None,
    electrons_per_px: float,
    dose_rate_e_per_px_s: float,
    relative_intensity: NDArray[np.float32],
    binning: float = 1.0,
    pool: Executor | None = None,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Count one frame, or the sum of several.

    Half of the electrons are drawn first; the others are drawn with an expectation that is lower where the first have
    crowded the events' neighbourhood, which takes coarse contrast and coarse noise down as the module says (the noise
    to second order in ``x``).

    Parameters
    ----------
    seed : SeedSequence
        Of this frame alone.
    detector, sensor : Detector, Sensor or None
        The camera, and the pixels of this one: counts are raw, not multiplied by the gain.
    electrons_per_px : float
        That arrive, on average, where the relative intensity is 1.
    dose_rate_e_per_px_s : float
        The same in a second, for each physical pixel.
    relative_intensity : ndarray
        ``(h, w)`` float32, already damped by `signal_transfer`.
    binning : float
        As in `signal_transfer`.
    pool : Executor, optional
        Threads that work on blocks of rows side by side; the result does not depend on it.

    Returns
    -------
    ndarray of uint8 or uint16
        ``(h, w)``.
    """
    nominal = electrons_per_px * detector.counted(dose_rate_e_per_px_s)
    expected = np.maximum(relative_intensity, 0) * np.float32(nominal)
    if sensor is not None:
        expected *= sensor.efficiency
    x = detector.occupancy(dose_rate_e_per_px_s)
    if x > 0:
        expected *= np.float32(0.5)
        first = count_electrons(child(seed, 0), expected, pool)
        feedback = 2 * (1 - x / math.expm1(x))
        _crowd(expected, first, feedback, nominal / 2, math.sqrt(detector.event_px) / binning, pool)
        second = count_electrons(child(seed, 1), expected, pool)
        counts = first.astype(np.uint16) + second
    else:
        counts = count_electrons(seed, expected, pool).astype(np.uint16)
    if sensor is not None:
        sensor.spoil(counts, electrons_per_px / (binning**2 * dose_rate_e_per_px_s) * detector.frame_rate_hz)
    return smallest(counts)


def _crowd(
    expected: NDArray[np.float32],
    first: NDArray[np.integer[Any]],
    feedback: float,
    mean: float,
    width: float,
    pool: Executor | None,
) -> None:
    """Multiply expectations by ``1 - feedback (first / mean - 1)``, ``first`` averaged over squares of a width."""
    taps = _box(width)
    reach = len(taps) // 2
    padded = np.pad(first, reach, mode="edge")

    def crowd(_: int, rows: slice) -> None:
        near = padded[rows.start : rows.stop + 2 * reach].astype(np.float32)
        down = sum(tap * near[shift : shift + rows.stop - rows.start] for shift, tap in enumerate(taps))
        across = sum(tap * down[:, shift : shift + expected.shape[1]] for shift, tap in enumerate(taps))
        expected[rows] *= np.maximum(np.float32(1 + feedback) - across * np.float32(feedback / mean), 0)

    by_rows(crowd, expected.shape, pool)


def _box(width: float) -> NDArray[np.float32]:
    """Return an odd number of weights that average over a width of so many pixels."""
    reach = math.ceil((width - 1) / 2)
    weights = np.ones(2 * max(reach, 0) + 1, np.float32)
    if reach > 0:
        weights[0] = weights[-1] = (width - 2 * reach + 1) / 2
    return weights / weights.sum()
