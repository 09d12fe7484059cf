"""How high a score noise alone would reach, and the threshold that follows."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.particles.matching import LocalSums, find_peaks, local_sums, match
from scherzer.particles.working_image import WorkingImage

NULL_IMAGES = 3


def null_scores(working: WorkingImage, template: Tensor, sums: LocalSums, distance_px: float) -> list[Tensor]:
    """Return the peak scores of a template in images of the same spectrum with random phases.

    The spectrum still holds the particles' own power, so in a crowded micrograph this noise is stronger than the real
    one: the threshold errs to the strict side.

    Returns
    -------
    list of Tensor
        One ``(n,)`` for each of ``NULL_IMAGES`` images.
    """
    generator = torch.Generator().manual_seed(0)
    amplitude = sums.image.abs()
    found = []
    for _ in range(NULL_IMAGES):
        noise = torch.fft.rfft2(torch.randn(working.image.shape, generator=generator).to(working.image.device))
        image = torch.fft.irfft2(amplitude * noise / noise.abs().clamp(min=1e-6), s=working.image.shape)
        # the padding and the masked parts diluted the variance; the scores do not depend on the scale
        null = local_sums(image * working.valid, working.valid, _radius(sums))
        found.append(find_peaks(match(null, template), distance_px, floor=0.0).score)
    return found


def score_threshold(scores: Tensor, null: list[Tensor], false_fraction: float) -> float:
    """Return the lowest score above which at most a share of the peaks is expected from noise.

    Parameters
    ----------
    scores : Tensor
        ``(n,)`` peak scores of the micrograph, descending.
    null : list of Tensor
        Peak scores of randomised images of the same size.
    false_fraction : float
        The share.
    """
    if not len(scores):
        return 1.0
    noise = torch.sort(torch.cat(null)).values
    above = len(noise) - torch.searchsorted(noise, scores)
    expected = above.float() / len(null)
    found = torch.arange(1, len(scores) + 1, device=scores.device)
    fine = torch.nonzero(expected <= false_fraction * found)
    return float(scores[fine[-1, 0]]) - 1e-6 if len(fine) else 1.0


def _radius(sums: LocalSums) -> float:
    return float(torch.sqrt(sums.window.sum() / torch.pi))
