"""Which exposures are set aside before particles are picked, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scherzer.micrographs.contrast.areas import MOST_CARBON
from scherzer.micrographs.contrast.measurements import CtfNumbers, Measurements

# Standard errors by which a distribution must lean; of ten empty simulated micrographs the most was 1.9.
LEANING = 2.5
State = Literal["accepted", "rejected"]
Kind = Literal["sound", "dark", "drifted", "crystalline ice", "no ice", "no rings", "empty", "spoilt"]


@dataclass(frozen=True)
class ConditionSettings:
    """Limits; a micrograph beyond one of them is rejected.

    Low contrast is not among them: whether micrographs of bad contrast are worth keeping is what the study asks. Nor is
    contamination or carbon beside good ice: that is noted, and the micrograph kept.

    Attributes
    ----------
    max_directional_loss : float
        Beyond it the particles' signal is smeared along one direction.
    smeared_directional_loss : float
        The same where no rings are left either, which drift takes first.
    sharp_resolution_A : float
        Rings that reach beyond this exclude drift, and what looks like it is the shape of a contaminant.
    max_crystalline_fraction : float
        Share of the image that shows reflections of ice.
    min_particle_band_power : float
        Power of the particle band above noise, in units of the noise, below which the image is empty.
    sparse_particle_band_power, max_empty_fraction : float
        The image is also empty when its power is below the first and this share of its squares holds little but noise.
    weak_particle_band_power, max_plain_skewness : float
        Power that ice alone can have; below it the image is empty unless something dark in it makes the grey levels'
        distribution lean by more than this, and by more than noise does.
    max_spoilt_fraction : float
        Share of the image that is not even ice: contamination, aggregates, holes and their edges.
    min_mean_level : float
        Mean grey level in units of the noise of a pixel; less means that hardly an electron arrived. Not judged where
        the file's grey levels are not counts.
    max_motion_A : float
        Path of the specimen during the exposure that correction cannot undo within frames.
    noted_fraction, noted_edge_fraction : float
        Shares of the image from which darker or lighter parts, and light edges, are noted. Sound micrographs, simulated
        and real, have at most 0.03 and 0.04.
    """

    max_directional_loss: float = 0.75
    smeared_directional_loss: float = 0.55
    sharp_resolution_A: float = 10.0
    max_crystalline_fraction: float = 0.5
    min_particle_band_power: float = 0.08
    sparse_particle_band_power: float = 0.2
    max_empty_fraction: float = 0.9
    weak_particle_band_power: float = 2.0
    max_plain_skewness: float = 0.3
    max_spoilt_fraction: float = 0.8
    min_mean_level: float = 0.5
    max_motion_A: float = 200.0
    noted_fraction: float = 0.04
    noted_edge_fraction: float = 0.07


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
        What is wrong, in a word or two; "sound" when accepted.
    notes : tuple of str
        What else is in the image besides even ice.
    """

    state: State
    reason: str
    kind: Kind
    notes: tuple[str, ...] = ()


def judge(
    measurements: Measurements,
    ctf_numbers: CtfNumbers | None,
    motion_total_A: float | None = None,
    settings: ConditionSettings | None = None,
) -> Condition:
    """Decide whether an exposure can be used.

    The first of these that holds gives the reason: dark, drifted, crystalline ice, no ice, no rings, empty, spoilt. A
    missing number (None or NaN) rejects nothing.

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
    kind, reason = _fault(measurements, ctf_numbers, motion_total_A, limits)
    notes = tuple(note for note in _notes(measurements, limits) if note != reason)
    return Condition("rejected" if reason else "accepted", reason, kind, notes)


def _fault(
    found: Measurements, numbers: CtfNumbers | None, motion_A: float | None, limits: ConditionSettings
) -> tuple[Kind, str]:
    if found.mean_level < limits.min_mean_level:
        return "dark", f"too dark: the mean level is {found.mean_level:.2f} of a pixel's noise"
    drifted = _drift(found, numbers, motion_A, limits)
    if drifted:
        return "drifted", drifted
    if found.ice.crystalline_fraction > limits.max_crystalline_fraction:
        return "crystalline ice", _crystals(found)
    power = max(found.particle_band_power, 0.0)
    if numbers is not None and numbers.problem:
        rings = f"no reliable CTF fit: {numbers.problem}"
        if power < limits.min_particle_band_power:
            return "no ice", f"nothing in the beam: neither particles nor rings, {rings}"
        return "no rings", rings
    if _is_empty(found, limits):
        return "empty", f"no particles: power between 300 and 30 A is {power:.2f} times the noise and plain"
    if found.areas.spoilt_fraction > limits.max_spoilt_fraction:
        spoilt = f"{found.areas.spoilt_fraction:.0%} of the image"
        return "spoilt", f"spoilt: contamination, aggregates, holes and their edges take {spoilt}"
    return "sound", ""


def _drift(found: Measurements, numbers: CtfNumbers | None, motion_A: float | None, limits: ConditionSettings) -> str:
    """Say how the image is smeared, or nothing."""
    if motion_A is not None and motion_A > limits.max_motion_A:
        return f"drift: the specimen moved {motion_A:.0f} A during the exposure"
    # Direction can only be judged where there is signal; an empty image is not a drifted one.
    if found.particle_band_power < limits.min_particle_band_power:
        return ""
    rings = numbers is None or not numbers.problem
    if rings and numbers is not None and numbers.fit_resolution_A < limits.sharp_resolution_A:
        return ""
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
    if -found.clear_skewness < LEANING * found.skewness_error:
        return True
    # Noise has no skewness, so what there is belongs to the signal's share of the power.
    return -found.clear_skewness * ((1 + power) / power) ** 1.5 < limits.max_plain_skewness


def _crystals(found: Measurements) -> str:
    ice = found.ice
    spot = f"a reflection at {ice.reflection_A:.2f} A stands out {ice.reflection:.0f} times from the noise"
    return f"crystalline ice in {ice.crystalline_fraction:.0%} of the image: {spot}, the ring {ice.ring:.2f} times"


def _notes(found: Measurements, limits: ConditionSettings) -> tuple[str, ...]:
    """Say what else is in the image."""
    areas, notes = found.areas, []
    if found.ice.crystalline_fraction > 0:
        notes.append(_crystals(found))
    if areas.carbon_fraction > limits.noted_fraction:
        what = "carbon" if areas.carbon_fraction < MOST_CARBON else "carbon, or particles crowded on one side,"
        notes.append(f"{what} in {areas.carbon_fraction:.0%}")
    if areas.thinner_fraction > limits.noted_fraction:
        notes.append(f"thinner ice or none in {areas.thinner_fraction:.0%}")
    if areas.thicker_fraction > limits.noted_fraction and not areas.carbon_fraction > limits.noted_fraction:
        notes.append(f"contamination, aggregates or thicker ice in {areas.thicker_fraction:.0%}")
    if areas.edge_fraction > limits.noted_edge_fraction and not notes:
        notes.append(f"edges of contamination, cracks or holes in {areas.edge_fraction:.0%}")
    return tuple(notes)
