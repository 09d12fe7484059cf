"""What the contrast classes mean: how visible one particle is to an ideal observer.

The observer knows the particle's shape and orientation and looks at the particle's own band, from its diameter to a
fifth of it, as a blob picker does. Its detectability index d' is the particle's expected matched-filter score over its
scatter:

    d'^2 = integral over the band of  |S(k)|^2 / N(k)  d^2k

with S the noise-free particle as it reaches the counts (CTF, envelopes, fading, electrons out of focus) and N the
density of the noise: shot noise and the ice's structure (:mod:`scherzer.physics.visibility`; for simulations
:func:`scherzer.simulate.snr.particle_snr`). Every factor that a user calls contrast is in it: defocus, thickness of the
ice, dose, voltage, mass. A micrograph has the median of its whole particles.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

ContrastLabel = Literal["good", "moderate", "bad"]
LABELS: tuple[ContrastLabel, ...] = ("good", "moderate", "bad")

# Boundaries of the classes in d': they divide the 63 micrographs of the preset bgal-jeong2019 (model 5a1a) into three
# times 21, with underfoci of 1.61 to 2.70 um (good), 0.99 to 2.06 (moderate) and 0.34 to 1.27 (bad). The groups that
# people sorted by eye have 1.52 to 2.71, 0.84 to 2.07 and 0.31 to 1.20 (J. Anal. Sci. Technol. 2024,
# doi 10.1186/s40543-024-00445-1, Fig. 1c).
MODERATE_FROM = 8.5
GOOD_FROM = 10.5


def label_of(d_prime: float) -> ContrastLabel:
    """Return the class of a detectability index."""
    if d_prime >= GOOD_FROM:
        return "good"
    return "moderate" if d_prime >= MODERATE_FROM else "bad"


def class_probabilities(log_d_prime: Tensor, spread: Tensor) -> Tensor:
    """Return the probabilities of good, moderate and bad when ``log d'`` is known with a normal error.

    Parameters
    ----------
    log_d_prime, spread : Tensor
        Mean and standard deviation, ``(n,)``.

    Returns
    -------
    Tensor
        ``(n, 3)``.
    """
    cuts = torch.tensor([MODERATE_FROM, GOOD_FROM], device=log_d_prime.device).log()
    below = torch.special.ndtr((cuts - log_d_prime[:, None]) / spread[:, None])
    return torch.stack([1 - below[:, 1], below[:, 1] - below[:, 0], below[:, 0]], 1)
