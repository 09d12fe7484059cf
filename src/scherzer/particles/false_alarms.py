"""How high a score noise alone would reach, and the threshold that follows."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.particles.radial import at_radius, radial_mean, radius_grid


def noise_image(amplitude: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return an image ``(h, w)`` of random phases with a given amplitude spectrum ``(h, w // 2 + 1)``."""
    white = torch.fft.rfft2(torch.randn(shape, generator=generator).to(amplitude.device))
    image: Tensor = torch.fft.irfft2(amplitude * white, s=shape)
    return image


def background_amplitude(image: Tensor, valid: Tensor, rows: Tensor, columns: Tensor, radius_px: float) -> Tensor:
    """Estimate the amplitude spectrum of what lies between the particles, from the radial mean of its power.

    Parameters
    ----------
    image, valid : Tensor
        ``(h, w)``, the working image and its usable pixels.
    rows, columns : Tensor
        ``(n,)`` long, particles; circles about them are left out.
    radius_px : float
        Of those circles.

    Returns
    -------
    Tensor
        ``(h, w // 2 + 1)``, to be multiplied by the transform of white noise of variance 1. Where particles leave less
        than a tenth of the image they stay in: the noise is then overestimated, the threshold errs to the strict side.
    """
    marks = torch.zeros_like(image)
    marks[rows, columns] = 1.0
    disc = (radius_grid(tuple(image.shape), image) <= radius_px).to(image.dtype)
    covered = torch.fft.irfft2(torch.fft.rfft2(marks) * torch.fft.rfft2(disc), s=image.shape) > 0.5
    free = torch.where(covered, 0.0, valid)
    if float(free.sum()) < 0.1 * float(valid.sum()):
        free = valid
    mean = (free * image).sum() / free.sum()
    power = torch.fft.rfft2(free * (image - mean)).abs() ** 2 / free.sum()
    ky = torch.fft.fftfreq(image.shape[0], device=image.device)[:, None]
    kx = torch.fft.rfftfreq(image.shape[1], device=image.device)[None]
    k = torch.sqrt(kx**2 + ky**2)
    return torch.sqrt(at_radius(radial_mean(power, k, float(k.max())), k, float(k.max())))


def score_threshold(scores: Tensor, null: list[Tensor], false_fraction: float) -> float:
    """Return the lowest score above which at most a share of the peaks is expected from noise.

    Parameters
    ----------
    scores : Tensor
        ``(n,)`` peak scores of the micrograph, descending.
    null : list of Tensor
        Peak scores of noise images of the same size and mask.
    false_fraction : float
        The share.

    Returns
    -------
    float
        1 if no score is so high.
    """
    if not len(scores):
        return 1.0
    noise = torch.sort(torch.cat(null)).values
    expected = (len(noise) - torch.searchsorted(noise, scores)).float() / len(null)
    found = torch.arange(1, len(scores) + 1, device=scores.device)
    fine = torch.nonzero(expected <= false_fraction * found)
    return float(scores[fine[-1, 0]]) - 1e-6 if len(fine) else 1.0
