"""What the contrast classes mean: how visible one particle is to an ideal observer.

The observer knows the particle's shape and orientation and looks at the band from 300 to 30 A, where a person and a
blob picker look. Its detectability index d' is the particle's expected matched-filter score over its scatter:

    d'^2 = integral over the band of  S(k) c(k)^2 / N(k)  d^2k

with S the particle's orientation-averaged power, c the transfer to relative intensity and N the density of the noise
(shot noise and the ice's structure). Every factor that a user calls contrast is in it: defocus, thickness of the ice,
dose, voltage, mass.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from scherzer.physics import visibility
from scherzer.physics.visibility import VISIBLE_BAND_A

ContrastLabel = Literal["good", "moderate", "bad"]
LABELS: tuple[ContrastLabel, ...] = ("good", "moderate", "bad")

# Boundaries of the classes in d'. With beta-galactosidase (5a1a) at 300 kV, 30 e/A^2, amplitude contrast 0.07, no
# energy filter, they lie at 1.52 um of underfocus in 200 A of ice and 2.05 um in 420 A (good), and at 0.87 um and
# 1.19 um in 200 A and 480 A (moderate): the overlaps between the groups of micrographs that people sorted by eye, 1.52
# to 2.07 um and 0.84 to 1.20 um (J. Anal. Sci. Technol. 2024, doi 10.1186/s40543-024-00445-1, Fig. 1c).
MODERATE_FROM = 14.2
GOOD_FROM = 18.9


def detectability(
    particle_power: Tensor, transfer: Tensor, noise_density: Tensor, k: Tensor, cell_per_A2: float
) -> float:
    """Detectability index of one particle.

    Parameters
    ----------
    particle_power : Tensor
        Squared modulus of the transform of its projected potential above ice, averaged over orientations, V^2 A^6.
    transfer : Tensor
        From projected potential to relative intensity, 1/(V A).
    noise_density : Tensor
        Power spectral density of the relative intensity's noise, A^2.
    k : Tensor
        Spatial frequency, 1/A; all four have one shape, a grid over the whole plane.
    cell_per_A2 : float
        Area of one cell of the grid, 1/A^2.
    """
    band = (k >= 1 / VISIBLE_BAND_A[0]) & (k <= 1 / VISIBLE_BAND_A[1])
    signal = particle_power * transfer.square() * band
    return float(visibility.detectability(signal.flatten(), noise_density.flatten(), cell_per_A2))


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
