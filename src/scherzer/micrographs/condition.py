"""Which exposures are set aside before particles are picked, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scherzer.micrographs.contrast.measurements import CtfNumbers, Measurements

State = Literal["accepted", "rejected"]
Kind = Literal["sound", "drifted", "empty", "crystalline ice", "no rings", "dark", "uneven"]


@dataclass(frozen=True)
class ConditionSettings:
    """Limits; a micrograph beyond one of them is rejected.

    Low contrast is not among them: whether micrographs of bad contrast are worth keeping is what the study asks.

    Attributes
    ----------
    max_directional_loss : float
        Beyond it the particles' signal is smeared along one direction.
    smeared_directional_loss : float
        The same where no rings are left either, which drift takes first.
    min_confidence : float
        Confidence of the CTF fit below which there are no rings: noise gives about 0.1, and fits of small simulated
        images (0.9 um2 at 0.4 to 1.6 um of underfocus) were within 3 % down to 0.48.
    max_ice_ring : float
        Power between 3.95 and 3.6 A over that beside it.
    min_particle_band_power : float
        Power of the particle band above noise, in units of the noise, below which the image is empty.
    sparse_particle_band_power, max_empty_fraction : float
        The image is also empty when its power is below the first and this share of its squares holds little but noise.
    weak_particle_band_power, max_plain_skewness : float
        Power that ice alone can have; below it the image is empty unless something dark in it makes the grey levels'
        distribution lean by more than this.
    max_power_spread : float
        Standard deviation of the logarithm of local power: beyond it aggregates, a crack or an edge of carbon fill the
        image.
    min_mean_level : float
        Mean grey level in units of the noise of a pixel; less means that hardly an electron arrived. Not judged where
        the file's grey levels are not counts.
    max_motion_A : float
        Path of the specimen during the exposure that correction cannot undo within frames.
    """

    max_directional_loss: float = 0.75
    smeared_directional_loss: float = 0.55
    min_confidence: float = 0.4
    max_ice_ring: float = 1.25
    min_particle_band_power: float = 0.08
    sparse_particle_band_power: float = 0.2
    max_empty_fraction: float = 0.9
    weak_particle_band_power: float = 2.0
    max_plain_skewness: float = 0.3
    max_power_spread: float = 1.1
    min_mean_level: float = 0.5
    max_motion_A: float = 200.0


@dataclass(frozen=True)
class Condition:
    """What was decided about an exposure.

    Attributes
    ----------
    state : str
        accepted or rejected.
    reason : str
        One sentence with the number that decided; empty when accepted.
    kind : str
        What is wrong, in a word; "sound" when accepted.
    """

    state: State
    reason: str
    kind: Kind


def judge(
    measurements: Measurements,
    ctf_numbers: CtfNumbers | None,
    motion_total_A: float | None = None,
    settings: ConditionSettings | None = None,
) -> Condition:
    """Decide whether an exposure can be used.

    The first of these that holds gives the reason: dark, drifted, crystalline ice, empty, uneven, no rings. A missing
    number (None or NaN) rejects nothing.

    Parameters
    ----------
    measurements : Measurements
        Of the image.
    ctf_numbers : CtfNumbers or None
        Of its CTF fit.
    motion_total_A : float, optional
        Length of the specimen's path, for movies.
    settings : ConditionSettings, optional
        Limits.
    """
    limits = settings or ConditionSettings()
    found = measurements
    if found.mean_level < limits.min_mean_level:
        return _rejected("dark", f"too dark: the mean level is {found.mean_level:.2f} of a pixel's noise")
    drifted = _drift(found, ctf_numbers, motion_total_A, limits)
    if drifted:
        return _rejected("drifted", drifted)
    if found.ice_ring > limits.max_ice_ring:
        return _rejected(
            "crystalline ice", f"crystalline ice: {found.ice_ring:.2f} times the usual power at 3.6 to 3.9 A"
        )
    if _is_empty(found, limits):
        power = max(found.particle_band_power, 0.0)
        return _rejected("empty", f"no particles: power between 300 and 30 A is {power:.2f} times the noise and plain")
    if found.power_spread > limits.max_power_spread:
        return _rejected("uneven", f"uneven: local power varies by a factor of {math.exp(found.power_spread):.1f}")
    if ctf_numbers is not None and not _has_rings(ctf_numbers, limits):
        return _rejected(
            "no rings",
            f"no rings: the CTF fit has a confidence of {ctf_numbers.confidence:.2f} (noise: about 0.1)",
        )
    return Condition("accepted", "", "sound")


def _rejected(kind: Kind, reason: str) -> Condition:
    return Condition("rejected", reason, kind)


def _has_rings(numbers: CtfNumbers, limits: ConditionSettings) -> bool:
    return numbers.confidence >= limits.min_confidence


def _drift(found: Measurements, numbers: CtfNumbers | None, motion_A: float | None, limits: ConditionSettings) -> str:
    """Say how the image is smeared, or nothing."""
    if motion_A is not None and motion_A > limits.max_motion_A:
        return f"drift: the specimen moved {motion_A:.0f} A during the exposure"
    # Direction can only be judged where there is signal; an empty image is not a drifted one.
    if found.particle_band_power < limits.min_particle_band_power:
        return ""
    rings = numbers is None or _has_rings(numbers, limits)
    limit = limits.max_directional_loss if rings else limits.smeared_directional_loss
    if found.directional_loss <= limit:
        return ""
    along = "" if rings else " and no rings are left"
    return f"drift: signal is lost along one direction ({found.directional_loss:.0%} between 100 and 20 A){along}"


def _is_empty(found: Measurements, limits: ConditionSettings) -> bool:
    power = found.particle_band_power
    if power < limits.min_particle_band_power:
        return True
    if power < limits.sparse_particle_band_power and found.empty_fraction > limits.max_empty_fraction:
        return True
    if power >= limits.weak_particle_band_power:
        return False
    # Noise has no skewness, so what there is belongs to the signal's share of the power.
    return -found.skewness * ((1 + power) / power) ** 1.5 < limits.max_plain_skewness
