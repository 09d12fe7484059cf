"""What can be set about extraction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExtractSettings:
    """How particles are cut out and normalised.

    Attributes
    ----------
    min_diameters, max_diameters : float
        Limits of the box's side, in particle diameters.
    delocalised_A : float
        Detail that must not be carried out of the box by defocus, within those limits.
    finest_A : float
        Resolution at which Fourier cropping may set Nyquist; never coarser than asked, never finer than the data.
    background_diameters : float
        Background is what lies outside this many diameters.
    dust_sigma : float
        Pixels further than this many standard deviations from the mean become noise; background and particle are
        each held against their own.
    max_outside : float
        Share of the box that may lie outside the micrograph; it is filled with noise. The particle itself never may.
    """

    min_diameters: float = 1.5
    max_diameters: float = 1.65
    delocalised_A: float = 8.0
    finest_A: float = 3.0
    background_diameters: float = 1.1
    dust_sigma: float = 5.0
    max_outside: float = 0.2
