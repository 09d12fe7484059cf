"""Whether the ice is vitreous: its ring, and the reflections of crystals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.local_spectra import BESIDE_ICE_BANDS_A, ICE_BAND_A, LocalSpectra

# Of so many sound micrographs one is said to hold a crystal, and of so many of its tiles one to be crystalline.
FALSE_ALARM, TILE_FALSE_ALARM = 1e-3, 1e-3
# The noise of a tile is known from the median of a few hundred frequencies only, and tiles overlap by half: of 6,000
# images of white noise (0.26 to 1.5 um2, four pixel sizes) two to three times as many exceeded a level as would among
# independent frequencies. This much more is asked for, in units of the noise.
MARGIN = 1.6
# Powder of ice, its grains too small for spots: a ring so much higher than what lies beside it. In sound tiles it
# scatters by 0.04.
POWDER_RING = 1.25


@dataclass(frozen=True)
class Ice:
    """State of the ice; NaN where the pixels are too coarse to tell.

    Attributes
    ----------
    ring : float
        Ice-ring ratio: mean power between 3.90 and 3.60 A, over what a straight line in the logarithm of the power
        through the bands beside it (4.6 to 4.1 A and 3.4 to 3.2 A) gives there. 1 without a ring; needs pixels of at
        most 1.56 A. RELION's ``rlnCtfIceRingDensity`` is a sum of CTFFIND's rotational average between 4.0 and 3.57 A,
        so its scale depends on the size of the spectrum and on CTFFIND's normalisation: both rise with the same ring,
        thresholds cannot be carried over.
    reflection : float
        Strongest spot at a reflection of ice in any tile of 300 A, over the mean of the noise there; noise alone gives
        about the logarithm of the number of frequencies, 12 to 15.
    reflection_A : float
        Its spacing.
    crystalline_fraction : float
        Share of the image whose tiles show such spots (or a ring of powder), gaps of one tile closed. 0 unless one
        spot is so strong that noise has one like it in a thousand micrographs.
    """

    ring: float
    reflection: float
    reflection_A: float
    crystalline_fraction: float


def state_of_ice(spectra: LocalSpectra) -> Ice:
    """Judge the ice of a micrograph by the spectra of its tiles."""
    ring = float(_ring(*(power.mean() for power in (spectra.ice, spectra.beside_coarse, spectra.beside_fine))))
    if not spectra.searched:
        return Ice(ring, math.nan, math.nan, math.nan)
    strongest = int(spectra.reflection.argmax())
    highest = float(spectra.reflection.max())
    return Ice(
        ring=ring,
        reflection=highest,
        reflection_A=float(spectra.reflection_A.flatten()[strongest]),
        crystalline_fraction=_crystalline_fraction(spectra, highest, ring),
    )


def _crystalline_fraction(spectra: LocalSpectra, highest: float, ring: float) -> float:
    tiles = spectra.reflection.numel()
    if highest <= chance_level(spectra.searched * tiles, FALSE_ALARM) and not ring > POWDER_RING:
        return 0.0
    spotted = spectra.reflection > chance_level(spectra.searched, TILE_FALSE_ALARM)
    powder = _ring(spectra.ice, spectra.beside_coarse, spectra.beside_fine) > POWDER_RING
    return float(_closed(spotted | powder).float().mean())


def chance_level(frequencies: int, false_alarm: float) -> float:
    """Return what the highest of so many powers of noise, in units of their mean, exceeds with a probability.

    Powers are distributed exponentially, so the highest of n exceeds x with the probability ``n exp(-x)``, where that
    is small.
    """
    return math.log(frequencies / false_alarm) + MARGIN


def _ring(ice: Tensor, beside_coarse: Tensor, beside_fine: Tensor) -> Tensor:
    middles = [(1 / coarse_A + 1 / fine_A) / 2 for coarse_A, fine_A in (ICE_BAND_A, *BESIDE_ICE_BANDS_A)]
    along = (middles[0] - middles[1]) / (middles[2] - middles[1])
    return ice / torch.exp(torch.lerp(beside_coarse.log(), beside_fine.log(), along))


def _closed(tiles: Tensor) -> Tensor:
    """Fill gaps of one tile between others."""

    def widened(values: Tensor) -> Tensor:
        return torch.nn.functional.max_pool2d(values[None, None], 3, 1, 1)[0, 0]

    return 1 - widened(1 - widened(tiles.float())) > 0.5
