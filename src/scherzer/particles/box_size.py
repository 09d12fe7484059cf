"""How large a box a particle needs, and how much detail to keep in it."""

from __future__ import annotations

import math

from scherzer.fourier.crop import even_fast_length
from scherzer.particles.extract_settings import ExtractSettings


def box_size_px(
    diameter_A: float,
    pixel_size_A: float,
    max_defocus_A: float,
    wavelength_A: float,
    settings: ExtractSettings | None = None,
) -> tuple[int, int, float]:
    """Choose one box for all particles of a study.

    Parameters
    ----------
    diameter_A : float
        Of the particle.
    pixel_size_A : float
        Of the micrographs.
    max_defocus_A : float
        Largest underfocus **of the whole study**: one box serves all, or the box would decide the defocus comparison.
    wavelength_A : float
        Of the electrons.
    settings : ExtractSettings, optional
        Limits.

    Returns
    -------
    raw_box_px, working_box_px : int
        Even sides with factors 2, 3 and 5 only, cut from the micrograph and left after Fourier cropping.
    working_pixel_A : float
        ``pixel_size_A * raw_box_px / working_box_px``.

    Notes
    -----
    Defocus carries detail of size d by ``wavelength * defocus / d`` to each side (the gradient of the CTF's phase), so
    a box that loses nothing of d has the side ``diameter + 2 wavelength defocus / d``: at 300 kV, 2.5 um and 4 A that
    is the diameter and 250 A. But in a crowded micrograph whatever is beyond about 1.6 diameters is mostly the
    neighbours, which the alignment takes for noise, and the cost grows with the area. So the side is that of
    d = ``delocalised_A``, held between ``min_diameters`` and ``max_diameters``. What that costs the most defocused
    images is :func:`resolution_held_A`; where particles are sparse, or detail beyond it at high defocus is to be
    claimed, raise ``max_diameters``.
    """
    settings = settings or ExtractSettings()
    wanted_A = diameter_A + 2 * wavelength_A * max_defocus_A / settings.delocalised_A
    side_A = min(max(wanted_A, settings.min_diameters * diameter_A), settings.max_diameters * diameter_A)
    raw_box = even_fast_length(side_A / pixel_size_A)
    working_box = min(raw_box, even_fast_length(raw_box * pixel_size_A / (settings.finest_A / 2)))
    return raw_box, working_box, pixel_size_A * raw_box / working_box


def resolution_held_A(
    box_px: int, pixel_size_A: float, diameter_A: float, defocus_A: float, wavelength_A: float
) -> float:
    """Return the finest detail, A, that defocus does not carry out of the box: ``2 wavelength defocus / (box - D)``.

    Finer detail is still there, only less of it: the part that stayed inside.
    """
    margin_A = box_px * pixel_size_A - diameter_A
    return 2 * wavelength_A * defocus_A / margin_A if margin_A > 0 else math.inf
