"""What can be set about extraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    premultiply_ctf : bool
        Whether images are multiplied by their CTF in a wide field before they are cropped to the box, so that the box
        holds what defocus had carried out of it.
    stack_type : {"float32", "float16"}
        Numbers of the stacks; float16 (MRC mode 12) halves them, and RELION reads it from version 4 on.
    """

    min_diameters: float = 1.5
    max_diameters: float = 1.65
    delocalised_A: float = 8.0
    finest_A: float = 3.0
    background_diameters: float = 1.1
    dust_sigma: float = 5.0
    max_outside: float = 0.2
    premultiply_ctf: bool = False
    stack_type: Literal["float32", "float16"] = "float32"
