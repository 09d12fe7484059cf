"""A micrograph made ready for one search: small, flat, in the band of particles of a diameter, with its local sums."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.particles.flat_image import minus_plane, shrink, standardise
from scherzer.particles.matching import LocalSums, Window, local_sums, round_window
from scherzer.particles.working_image import WorkingImage, prepare_working_image
from scherzer.physics.ctf import CtfParameters

# Working pixels per diameter: enough to place a centre to a fraction of a pixel, few enough to be quick.
PIXELS_PER_DIAMETER = 16
# Radius of the matching window in diameters: the particle and its fringe, hardly the neighbour, and the edge of a
# particle a sixth larger than said (at 0.6 such a ball loses its edge and is lost).
WINDOW_RADIUS = 0.65
# Share of the image, where it varies least, that shows noise before any particle is known.
QUIET_SHARE = 0.3


@dataclass(frozen=True)
class SmallImage:
    """A flat, shrunken micrograph ``(h, w)`` and its pixel size: the mean one, and each axis's over the original's."""

    image: Tensor
    pixel_A: float
    scale_y: float
    scale_x: float


@dataclass(frozen=True)
class SearchField:
    """A working image with all that matching needs of it."""

    working: WorkingImage
    window: Window
    sums: LocalSums


def shrunk(image: Tensor, pixel_size_A: float, diameter_A: float) -> SmallImage:
    """Shrink a raw micrograph ``(h, w)`` to `PIXELS_PER_DIAMETER`.

    Raises
    ------
    ValueError
        If the diameter is under five pixels or more than half of the image.
    """
    _check_diameter(image, pixel_size_A, diameter_A)
    target_A = max(pixel_size_A, diameter_A / PIXELS_PER_DIAMETER)
    small = standardise(shrink(minus_plane(image.float()), pixel_size_A / target_A))
    scale_y, scale_x = image.shape[0] / small.shape[0], image.shape[1] / small.shape[1]
    return SmallImage(small, pixel_size_A * math.sqrt(scale_x * scale_y), scale_y, scale_x)


def search_field(
    small: SmallImage, parameters: CtfParameters | None, diameter_A: float, dirt: Tensor | None = None
) -> SearchField:
    """Prepare a search; ``dirt`` ``(h, w)`` bool is left out of it."""
    if dirt is None:
        dirt = torch.zeros_like(small.image, dtype=torch.bool)
    working = prepare_working_image(small.image, small.pixel_A, parameters, diameter_A, dirt)
    window = round_window(working.valid, WINDOW_RADIUS * diameter_A / small.pixel_A)
    return SearchField(working, window, local_sums(window, working.image))


def quiet(field: SearchField) -> Tensor:
    """Mark the pixels about which the image varies least."""
    energy, usable = field.sums.energy / field.window.count, field.window.usable
    if not bool(usable.any()):
        return field.working.valid.clone()
    # quantile refuses large tensors
    values = torch.sort(energy[usable]).values
    return (usable & (energy <= values[int(QUIET_SHARE * (len(values) - 1))])).to(field.working.image.dtype)


def _check_diameter(image: Tensor, pixel_size_A: float, diameter_A: float) -> None:
    diameter_px = diameter_A / pixel_size_A
    if not 5 <= diameter_px <= min(image.shape) / 2:
        raise ValueError(
            f"a particle diameter of {diameter_A:g} A is {diameter_px:.1f} pixels; it must be at least 5 pixels and at "
            f"most half of the micrograph ({min(image.shape)} pixels)"
        )
