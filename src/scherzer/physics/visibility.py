"""How visible a known signal is in noise."""

from __future__ import annotations

from torch import Tensor

# A particle's own band, in its diameters: nothing broader than the particle, which thickness and illumination change
# as well, and nothing finer than a fifth of it, which a blob picker does not use (`scherzer.particles.working_image`).
BAND_DIAMETERS = (1.0, 1 / 5)


def own_band_A(diameter_A: float) -> tuple[float, float]:
    """Return the coarse and the fine end of the band by which a particle of a diameter is found, A."""
    coarse, fine = BAND_DIAMETERS
    return coarse * diameter_A, fine * diameter_A


def detectability(signal_power: Tensor, noise_density: Tensor, cell_per_A2: Tensor | float) -> Tensor:
    """Detectability index of an ideal observer who knows the signal: the matched filter's mean score over its scatter.

        d'^2 = integral of |S(k)|^2 / N(k) d^2k

    Parameters
    ----------
    signal_power : Tensor
        ``(..., m)``, squared modulus of the signal's transform, A^4 for a signal without unit.
    noise_density : Tensor
        ``(..., m)``, power spectral density of the noise, A^2.
    cell_per_A2 : Tensor or float
        Area of the Fourier plane, 1/A^2, that each of the m values stands for; the whole plane counts, both halves.

    Returns
    -------
    Tensor
        ``(...)``.
    """
    return (signal_power / noise_density * cell_per_A2).sum(-1).sqrt()
