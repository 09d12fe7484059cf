"""Why a micrograph is in its class, in words a person can check by eye or by ruler."""

from __future__ import annotations

import math

from scherzer.micrographs.contrast.classifier import ContrastClass
from scherzer.micrographs.contrast.measurements import Measurements
from scherzer.micrographs.contrast.visibility import LABELS

# A second class that is at least so probable is named.
NAMED_FROM = 0.15


def why(found: ContrastClass) -> str:
    """Return the class, how sure it is, and the numbers that stand behind it."""
    order = sorted(range(3), key=lambda index: -found.probabilities[index])
    named = [index for index in order if index == order[0] or found.probabilities[index] >= NAMED_FROM]
    classes = " or ".join(f"{LABELS[index]} ({found.probabilities[index]:.2f})" for index in named)
    visible = f"d' {found.d_prime:.1f} ({found.d_prime_low:.1f} to {found.d_prime_high:.1f})"
    return f"{classes}: {visible}; {', '.join(measured(found.measurements))}"


def measured(found: Measurements) -> list[str]:
    """Return the measurements that a class rests on, without those that could not be made."""
    power = f"particle-band power {max(found.particle_band_power, 0.0):.2g} times the noise"
    parts = [power, f"{found.band_ratio:.2g} times that of the fine band"]
    if math.isfinite(found.thon_amplitude):
        parts.append(f"Thon rings {max(found.thon_amplitude, 0.0):.2g} of the noise")
    if math.isfinite(found.fit_resolution_A):
        parts.append(f"fitted to {found.fit_resolution_A:.1f} A")
    if found.empty_fraction >= 0.005:
        parts.append(f"{found.empty_fraction:.0%} of the squares empty")
    return parts
