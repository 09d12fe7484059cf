"""Normalised cross-correlation that counts usable pixels only.

After Padfield 2012, IEEE Trans. Image Process. 21, 2706: with every sum restricted to usable pixels, the border and
dirt neither help nor harm a particle beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.particles.radial import radius_grid

# A window with fewer usable pixels than this part of it says too little about shape.
MIN_USABLE = 0.6


@dataclass(frozen=True)
class Window:
    """A soft round window and how much of it is usable about every pixel.

    Attributes
    ----------
    weight : Tensor
        ``(h, w)``, centred on pixel (0, 0).
    weight_hat, valid_hat : Tensor
        ``(h, w // 2 + 1)``, transforms of the weight and of the map of usable pixels.
    count : Tensor
        ``(h, w)``, usable weight.
    usable : Tensor
        ``(h, w)`` bool, where a score is to be trusted.
    """

    weight: Tensor
    weight_hat: Tensor
    valid_hat: Tensor
    count: Tensor
    usable: Tensor


@dataclass(frozen=True)
class LocalSums:
    """What every template needs of an image: its transform, and mean and energy (about the mean) in the window."""

    image_hat: Tensor
    mean: Tensor
    energy: Tensor


@dataclass(frozen=True)
class FittedTemplate:
    """What every image needs of a template: its transform, and its sum and energy over usable pixels."""

    hat: Tensor
    total: Tensor
    energy: Tensor


def round_window(valid: Tensor, radius_px: float) -> Window:
    """Prepare matching within a radius over the pixels where ``valid`` ``(h, w)`` is 1."""
    weight = torch.sigmoid(2 * (radius_px - radius_grid(tuple(valid.shape), valid)))
    weight = torch.where(weight > 1e-3, weight, 0.0)
    weight_hat, valid_hat = torch.fft.rfft2(weight), torch.fft.rfft2(valid)
    count = _correlate(weight_hat, valid_hat, valid.shape).clamp(min=1e-3)
    return Window(weight, weight_hat, valid_hat, count, (valid > 0) & (count > MIN_USABLE * weight.sum()))


def local_sums(window: Window, image: Tensor) -> LocalSums:
    """Sum an image ``(h, w)``, zero where not usable, and its square over the window about every pixel."""
    image_hat = torch.fft.rfft2(image)
    mean = _correlate(window.weight_hat, image_hat, image.shape) / window.count
    energy = _correlate(window.weight_hat, torch.fft.rfft2(image**2), image.shape) - window.count * mean**2
    # A blank patch has no energy and would match anything.
    floor = 1e-3 * float(energy[window.usable].median()) if bool(window.usable.any()) else 1.0
    return LocalSums(image_hat, mean, energy.clamp(min=max(floor, 1e-12)))


def fit_template(window: Window, template: Tensor) -> FittedTemplate:
    """Cut a template ``(h, w)``, centred on pixel (0, 0), to the window and sum it over usable pixels."""
    shape, weight = template.shape, window.weight
    centred = template - (weight * template).sum() / weight.sum()
    hat = torch.fft.rfft2(weight * centred)
    total = _correlate(hat, window.valid_hat, shape)
    square = _correlate(torch.fft.rfft2(weight * centred**2), window.valid_hat, shape)
    return FittedTemplate(hat, total, (square - total**2 / window.count).clamp(min=1e-12))


@dataclass(frozen=True)
class Match:
    """How a template fits about every pixel, each less its mean in the window; ``(h, w)``.

    Attributes
    ----------
    shape : Tensor
        Normalised cross-correlation, -1 to 1; -1 where too little of the window is usable.
    strength : Tensor
        Amount of the template, in units of the image times the template's norm; 0 there.
    """

    shape: Tensor
    strength: Tensor


def match(window: Window, sums: LocalSums, template: FittedTemplate) -> Match:
    """Correlate template and image in the window about every pixel."""
    cross = _correlate(template.hat, sums.image_hat, window.weight.shape) - template.total * sums.mean
    strength = cross / torch.sqrt(template.energy)
    shape = (strength / torch.sqrt(sums.energy)).clamp(-1, 1)
    return Match(torch.where(window.usable, shape, -1.0), torch.where(window.usable, strength, 0.0))


def _correlate(kernel_hat: Tensor, image_hat: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Sum of kernel times image about every pixel, from their transforms."""
    sums: Tensor = torch.fft.irfft2(kernel_hat.conj() * image_hat, s=tuple(shape))
    return sums
