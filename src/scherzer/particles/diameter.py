"""How large the particles of a session are, when nobody said.

Projected balls and shells of rising size are matched with a micrograph. What they explain, counted over the matches
that stand out of the negative ones, has peaks at the sizes of domains and of the whole, and falls steeply beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scherzer.particles.blob_templates import projected_shell
from scherzer.particles.flat_image import minus_plane, shrink, standardise
from scherzer.particles.peaks import find_peaks
from scherzer.particles.radial import radius_grid
from scherzer.particles.working_image import ctf_on_grid
from scherzer.physics.ctf import CtfParameters
from scherzer.physics.optics import Optics

SMALLEST_A, LARGEST_A, STEP = 45.0, 1000.0, 1.12
PIXELS_PER_DIAMETER = 12
SOLID, SHELL = 0.0, 0.75
# Contamination must not outweigh particles: pixels, and matches over their median, count up to here.
CLIP_SIGMA, MOST_OF_MEDIAN = 4.0, 1.5
# Positive matches count above this quantile of the negative ones, which hold no particles; so many are needed, and so
# many times as many as negative ones.
NEGATIVE_SHARE = 0.02
FEWEST, CLEAR = 15, 2.0
# The diameter is a little under the size at which the explained part has fallen to a share of its largest. On simulated
# micrographs of six kinds of particle, 86 to 182 A, and on real apo-ferritin it is then 0.89 to 1.08 of the true one,
# the least for long particles; smooth balls, which no protein is, come out at 1.2.
FALLEN_TO, FACTOR, SYSTEMATIC = 0.35, 0.95, 0.1


@dataclass(frozen=True)
class Diameter:
    """An estimate, A, with its standard error and the number of micrographs it is from."""

    diameter_A: float
    error_A: float
    micrographs: int


def measure_diameter(image: Tensor, optics: Optics, ctf: CtfParameters | None) -> float:
    """Estimate the largest diameter of a micrograph's particles.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``, raw: dark protein.
    optics : Optics
        Of the micrograph.
    ctf : CtfParameters or None
        Of this one image, ``(1,)``; None if unknown.

    Returns
    -------
    float
        Angstrom; NaN where too few particles stand out or the image is too small to see where they end.
    """
    pixel_A = optics.pixel_size_A
    largest_A = min(LARGEST_A, min(image.shape) * pixel_A / 4)
    sizes = SMALLEST_A * STEP ** np.arange(max(0, math.floor(math.log(largest_A / SMALLEST_A, STEP)) + 1))
    explained = np.zeros(len(sizes))
    clear = np.zeros(len(sizes), dtype=bool)
    small = minus_plane(image.float())
    for index, size_A in enumerate(sizes):
        factor = pixel_A * PIXELS_PER_DIAMETER / size_A
        if factor < 1:
            shrunk = shrink(small, factor)
            pixel_A *= math.sqrt(small.numel() / shrunk.numel())
            small = shrunk
        explained[index], clear[index] = _explained(small, pixel_A, ctf, float(size_A))
    if not len(sizes) or not clear[explained.argmax()]:
        return math.nan
    last = int(np.flatnonzero(explained >= FALLEN_TO * explained.max())[-1])
    if last + 1 == len(sizes):
        return math.nan
    part = (explained[last] - FALLEN_TO * explained.max()) / (explained[last] - explained[last + 1])
    return float(FACTOR * sizes[last] * STEP**part)


def joined(estimates_A: Sequence[float]) -> Diameter | None:
    """Join the estimates of micrographs: their median; None unless half of them have one."""
    values = np.array([value for value in estimates_A if math.isfinite(value)])
    if not len(values) or 2 * len(values) < len(estimates_A):
        return None
    middle = float(np.median(values))
    # The median's standard error is 1.25 times that of the mean (normal distribution).
    random = 1.25 * 1.4826 * float(np.median(np.abs(values - middle))) / math.sqrt(len(values))
    return Diameter(middle, math.hypot(random, SYSTEMATIC * middle), len(values))


def _explained(small: Tensor, pixel_A: float, ctf: CtfParameters | None, size_A: float) -> tuple[float, bool]:
    """Return what round templates of a size explain of an image, and whether enough matches stand out."""
    shape, size_px = tuple(small.shape), size_A / pixel_A
    flat = standardise(small)
    k, contrast = ctf_on_grid(shape, pixel_A, ctf, flat)
    # Broader than some particles is the ice; finer differs from view to view.
    band = (1 - torch.exp(-2 * (math.pi * 3 * size_A * k) ** 2)) / (1 + (k * max(size_A / 4, 2.5 * pixel_A)) ** 8)
    image_hat = -torch.fft.rfft2(flat.clamp(-CLIP_SIGMA, CLIP_SIGMA)) * torch.sign(contrast) * band
    radius = radius_grid(shape, flat)
    window = torch.sigmoid(2 * (0.75 * size_px - radius))
    rim = math.ceil(size_px / 2)
    # The scatter of the image is the unit of the matches; per area of it, sizes compare.
    unit = float((1.4826 * (small - small.median()).abs().median() * pixel_A) ** 2)
    most, clear = 0.0, False
    for inner in (SOLID, SHELL):
        shell_hat = torch.fft.rfft2(projected_shell(radius, size_px / 2, inner))
        template = torch.fft.irfft2(shell_hat * contrast.abs() * band, s=shape) * window
        template = template - window * (template.sum() / window.sum())
        template = template / template.norm().clamp(min=1e-12)
        matches = torch.fft.irfft2(torch.fft.rfft2(template).conj() * image_hat, s=shape)[rim:-rim, rim:-rim]
        positive, negative = (find_peaks(sign * matches, 0.7 * size_px).score for sign in (1, -1))
        if not len(negative):
            continue
        beyond = math.ceil(NEGATIVE_SHARE * len(negative))
        found = positive[positive > negative[beyond - 1]]
        if not len(found):
            continue
        amount = unit * float(found.clamp(max=MOST_OF_MEDIAN * float(found.median())).square().sum())
        if amount > most:
            most, clear = amount, len(found) >= max(FEWEST, CLEAR * beyond)
    return most, clear
