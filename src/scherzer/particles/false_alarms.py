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


def noise_amplitude(image: Tensor, free: Tensor) -> Tensor:
    """Estimate the amplitude spectrum of noise from the radial mean of its power where nothing else is.

    Parameters
    ----------
    image, free : Tensor
        ``(h, w)``, the working image, and 1 on its pixels that hold noise only, else 0.

    Returns
    -------
    Tensor
        ``(h, w // 2 + 1)``, to be multiplied by the transform of white noise of variance 1.
    """
    mean = (free * image).sum() / free.sum()
    power = torch.fft.rfft2(free * (image - mean)).abs() ** 2 / free.sum()
    ky = torch.fft.fftfreq(image.shape[0], device=image.device)[:, None]
    kx = torch.fft.rfftfreq(image.shape[1], device=image.device)[None]
    k = torch.sqrt(kx**2 + ky**2)
    return torch.sqrt(at_radius(radial_mean(power, k, float(k.max())), k, float(k.max())))


def between(valid: Tensor, rows: Tensor, columns: Tensor, radius_px: float) -> Tensor:
    """Mark the usable pixels outside circles about particles; ``(h, w)`` of 0 and 1.

    Parameters
    ----------
    valid : Tensor
        ``(h, w)``, 1 on usable pixels.
    rows, columns : Tensor
        ``(n,)`` long, the particles.
    radius_px : float
        Of the circles.

    Returns
    -------
    Tensor
        All usable pixels where particles leave less than a tenth of them: the noise is then overestimated, and a
        threshold that follows errs to the strict side.
    """
    marks = torch.zeros_like(valid)
    marks[rows, columns] = 1.0
    disc = (radius_grid(tuple(valid.shape), valid) <= radius_px).to(valid.dtype)
    covered = torch.fft.irfft2(torch.fft.rfft2(marks) * torch.fft.rfft2(disc), s=valid.shape) > 0.5
    free = torch.where(covered, 0.0, valid)
    return free if float(free.sum()) >= 0.1 * float(valid.sum()) else valid


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
        A little above the highest of them all if no score is so high.
    """
    noise = torch.sort(torch.cat(null)).values
    highest = float(torch.cat([scores[:1], noise[-1:]]).max()) if len(scores) or len(noise) else 0.0
    beyond = highest * (1 + 1e-5) + 1e-12
    if not len(scores):
        return beyond
    expected = (len(noise) - torch.searchsorted(noise, scores)).float() / len(null)
    found = torch.arange(1, len(scores) + 1, device=scores.device)
    fine = torch.nonzero(expected <= false_fraction * found)
    return float(scores[fine[-1, 0]]) * (1 - 1e-6) if len(fine) else beyond
