"""Round templates: discs and rings from a bank, and the radial average of what was found."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scherzer.particles.radial import at_radius, radial_mean, radius_grid

# A solid ball, a thick shell and a thin one; each over sizes that forgive a diameter off by a sixth.
INNER_TO_OUTER = (0.0, 0.5, 0.75)
RELATIVE_SIZES = (0.86, 1.0, 1.14)


def template_bank(transfer: Tensor, shape: tuple[int, ...], diameter_px: float) -> list[Tensor]:
    """Return the images ``(h, w)``, centred on pixel (0, 0), of projected balls and shells of about a diameter.

    Parameters
    ----------
    transfer : Tensor
        ``(h, w // 2 + 1)``, what the optics and the filters do to a projection.
    shape : tuple of int
        ``(h, w)``.
    diameter_px : float
        Outer diameter.
    """
    radius = radius_grid(shape, transfer)
    return [
        torch.fft.irfft2(torch.fft.rfft2(projected_shell(radius, size * diameter_px / 2, inner)) * transfer, s=shape)
        for size in RELATIVE_SIZES
        for inner in INNER_TO_OUTER
    ]


def averaged_template(image: Tensor, rows: Tensor, columns: Tensor, diameter_px: float) -> Tensor:
    """Average windows about picks over their number and over all angles; ``(h, w)``, centred on pixel (0, 0).

    Parameters
    ----------
    image : Tensor
        ``(h, w)``.
    rows, columns : Tensor
        ``(n,)`` long, pixels nearest to the picks.
    diameter_px : float
        Of the particle; the template reaches 0.8 of it from the centre.
    """
    reach = math.ceil(0.8 * diameter_px)
    offset = torch.arange(-reach, reach + 1, device=image.device)
    window = image[
        (rows[:, None, None] + offset[:, None]) % image.shape[0],
        (columns[:, None, None] + offset) % image.shape[1],
    ].mean(0)
    radius = torch.sqrt((offset[:, None] ** 2 + offset**2).float())
    profile = radial_mean(window, radius, float(reach), bins=reach + 1)
    return at_radius(profile, radius_grid(tuple(image.shape), image), float(reach))


def projected_shell(radius: Tensor, outer: float, inner_to_outer: float) -> Tensor:
    """Project a shell of density 1 between two radii along the beam."""

    def chord(limit: float) -> Tensor:
        return torch.sqrt((limit**2 - radius**2).clamp(min=0))

    return chord(outer) - chord(inner_to_outer * outer)
