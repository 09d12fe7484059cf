"""Thickness of the ice from the electrons that it costs, as far as a session's grey levels allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scherzer.physics.thickness import lost_mean_free_path_A, thickness_of_loss_A

Method = Literal[
    "counts against an exposure without ice",
    "counts against dose",
    "counts relative to the session's brightest",
    "none: no other exposure to compare with",
    "none: grey levels were rescaled",
]
VACUUM: Method = "counts against an exposure without ice"
DOSE: Method = "counts against dose"
BRIGHTEST: Method = "counts relative to the session's brightest"
ALONE: Method = "none: no other exposure to compare with"
RESCALED: Method = "none: grey levels were rescaled"

# Counted electrons scatter as their number does: variance over mean, 0.97 to 1.18 in simulated sums (carbon and thick
# ice add to it). Wide limits, for cameras and interpolation; and how alike a session's exposures are, relative.
NOISE_PER_COUNT, ALIKE = (0.5, 1.6), 0.15
# How well the beam is known, relative: how steady it is between two exposures, and a stated dose. Plausible values.
BEAM_ERROR, DOSE_ERROR = 0.01, 0.05
# An error above this tells nothing about single-particle ice, and ice above the other is not that either, A.
LARGEST_ERROR_A, THICKEST_A = 300.0, 3000.0


@dataclass(frozen=True)
class ThicknessSettings:
    """What the user knows of the microscope's losses.

    Attributes
    ----------
    energy_filter : bool or None
        Whether a slit stops electrons that lost energy; not known when None, and then no absolute thickness is given.
    mean_free_path_A : float or None
        For all that keeps electrons from the camera, where it was calibrated; overrides the filter.
    counts_per_electron : float or None
        Counts that an electron of the stated dose leaves where there is no specimen; cameras in counting mode miss up
        to a third. Without it the dose is not used.
    """

    energy_filter: bool | None = None
    mean_free_path_A: float | None = None
    counts_per_electron: float | None = None

    def __post_init__(self) -> None:
        if self.mean_free_path_A is not None and not 500 <= self.mean_free_path_A <= 50_000:
            raise ValueError(f"mean_free_path_A is {self.mean_free_path_A:g}, give 500 to 50000 A")
        if self.counts_per_electron is not None and not 0.01 <= self.counts_per_electron <= 1.6:
            raise ValueError(f"counts_per_electron is {self.counts_per_electron:g}, give 0.01 to 1.6 counts")


@dataclass(frozen=True)
class Brightness:
    """How light one exposure is.

    Attributes
    ----------
    level : float
        Mean grey level of its ice.
    noise_per_level : float
        Variance of a pixel's noise over its mean grey level; NaN where that is not positive.
    has_ice : bool
        False for an exposure in which nothing was found.
    dose_e_per_px : float or None
        As stated, in a pixel of the image.
    """

    level: float
    noise_per_level: float
    has_ice: bool = True
    dose_e_per_px: float | None = None


@dataclass(frozen=True)
class Thickness:
    """Thickness of the ice of one exposure.

    Attributes
    ----------
    method : str
        How it was made.
    relative : float
        ``ln(I_brightest / I)``: mean free paths more than the session's lightest exposure with ice has; NaN where grey
        levels cannot be compared.
    thickness_A, error_A : float
        ``Lambda ln(I0 / I)`` and its standard error from that of I0; NaN unless the method is absolute. That of Lambda,
        some 15 %, is common to a session and not in it.
    """

    method: Method
    relative: float = math.nan
    thickness_A: float = math.nan
    error_A: float = math.nan


def ice_thicknesses(exposures: Sequence[Brightness], voltage_kV: float, settings: ThicknessSettings) -> list[Thickness]:
    """Return the thickness of each of a session's exposures, all recorded alike.

    Guesses of I0 from the images alone, such as a high percentile, can be wrong many times over, so I0 is taken from
    exposures that were found to hold no ice and are lighter than all others, or else from a stated dose whose counts
    are known. Otherwise only differences within the session are given.

    Parameters
    ----------
    exposures : sequence of Brightness
        With the same dose, frames and pixel size.
    voltage_kV : float
        Acceleration voltage.
    settings : ThicknessSettings
        What is known of the losses.
    """
    if not _are_counts(exposures):
        return [Thickness(RESCALED) for _ in exposures]
    with_ice = [one.level for one in exposures if one.has_ice]
    brightest = max(with_ice, default=math.nan)
    without = [one.level for one in exposures if not one.has_ice and one.level > brightest]
    path_A = _mean_free_path_A(voltage_kV, settings)
    found = []
    for one in exposures:
        relative = math.log(brightest / one.level) if one.has_ice and len(with_ice) > 1 else math.nan
        sent, error, method = math.nan, math.nan, VACUUM
        if without:
            sent, error = float(np.median(without)), BEAM_ERROR
        elif one.dose_e_per_px is not None and settings.counts_per_electron is not None:
            sent, error, method = one.dose_e_per_px * settings.counts_per_electron, DOSE_ERROR, DOSE
        found.append(_absolute(one, sent, error * path_A, path_A, method, relative) or _relative(relative))
    return found


def _are_counts(exposures: Sequence[Brightness]) -> bool:
    """Whether grey levels are counted electrons, on one scale."""
    scatters = np.array([one.noise_per_level for one in exposures])
    if not len(scatters) or not np.isfinite(scatters).all():
        return False
    middle = float(np.median(scatters))
    alike = bool(np.median(np.abs(scatters / middle - 1)) < ALIKE)
    return alike and NOISE_PER_COUNT[0] < middle < NOISE_PER_COUNT[1]


def _mean_free_path_A(voltage_kV: float, settings: ThicknessSettings) -> float:
    if settings.mean_free_path_A is not None:
        return settings.mean_free_path_A
    return math.nan if settings.energy_filter is None else lost_mean_free_path_A(voltage_kV, settings.energy_filter)


def _absolute(
    one: Brightness, sent: float, error_A: float, path_A: float, method: Method, relative: float
) -> Thickness | None:
    """Return an absolute thickness, or None where it cannot be believed."""
    if not one.has_ice or not error_A <= LARGEST_ERROR_A:
        return None
    thickness_A = thickness_of_loss_A(one.level, sent, path_A)
    if not -2 * error_A <= thickness_A <= THICKEST_A:
        return None
    return Thickness(method, relative, max(thickness_A, 0.0), error_A)


def _relative(relative: float) -> Thickness:
    return Thickness(ALONE if math.isnan(relative) else BRIGHTEST, relative)
