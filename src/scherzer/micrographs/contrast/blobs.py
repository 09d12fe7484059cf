"""What a blob picker sees of a patch: how far the darkest places stand out of the noise, for blobs of many sizes.

The score of a filter that fits a particle, in standard deviations of the noise, is the particle's detectability. These
filters fit none exactly; a network learns from them what it would have been.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scherzer.micrographs.contrast.whitening import WORKING_PIXEL_A

# Sizes of the blobs, A: differences of two Gaussians, whose transfers end at the first and begin at the second multiple
# of the size.
BLOBS_A = (30.0, 45.0, 65.0, 90.0, 125.0, 175.0, 250.0)
ENDS, BEGINS = 0.75, 1.6
# Shares of the places whose mean score is told: from the darkest, and from the lightest.
DARKEST = ((0.0, 0.003), (0.003, 0.01), (0.01, 0.05), (0.05, 0.2))
LIGHTEST = ((0.99, 1.0), (0.8, 0.95))
STATISTICS = 1 + 2 * len(DARKEST) + len(LIGHTEST) + 2
# Scores are kept at every second pixel, those of blobs from this size on at every fourth; so many pixels at each edge
# are left out, where the patch wraps around.
COARSE_FROM_A, EDGE_PX = 100.0, 8


@torch.no_grad()
def blob_statistics(patches: Tensor) -> Tensor:
    """Describe the scores of blobs.

    Parameters
    ----------
    patches : Tensor
        ``(n, h, w)`` whitened, of even sides; protein dark.

    Returns
    -------
    Tensor
        ``(n, s)``: for each of :data:`BLOBS_A` the logarithm of the scores' scatter, their mean over shares of the
        places in standard deviations of white noise (dark ones also as logarithms), skewness and excess kurtosis.
    """
    height, width = patches.shape[-2:]
    ky = torch.fft.fftfreq(height, WORKING_PIXEL_A, device=patches.device)[:, None]
    kx = torch.arange(width // 2 + 1, device=patches.device)[None, :] / (width * WORKING_PIXEL_A)
    k2 = kx**2 + ky**2
    transform = torch.fft.rfft2(patches)
    transform[:, 0, 0] = 0
    found = []
    for size_A in BLOBS_A:
        step = 2 if size_A < COARSE_FROM_A else 4
        down, across, edge = 2 * (height // step // 2), 2 * (width // step // 2), EDGE_PX // step
        blob = torch.exp(-2 * (ENDS * size_A) ** 2 * k2) - torch.exp(-2 * (BEGINS * size_A) ** 2 * k2)
        coarse = _cropped(transform * blob, down, across)
        scores = torch.fft.irfft2(coarse, s=(down, across)) * (down * across / (height * width))
        # White noise of unit variance leaves this much of itself; both halves of the plane count.
        noise = math.sqrt(2 * float(blob.square().sum()) / (height * width))
        found.append(_described((scores[:, edge:-edge, edge:-edge] / noise).flatten(1)))
    return torch.cat(found, 1)


def _cropped(transform: Tensor, height: int, width: int) -> Tensor:
    half = height // 2
    return torch.cat([transform[:, :half, : width // 2 + 1], transform[:, -half:, : width // 2 + 1]], 1)


def _described(scores: Tensor) -> Tensor:
    ordered = scores.sort(1).values
    count = ordered.shape[1]

    def mean(start: float, end: float) -> Tensor:
        first = int(start * count)
        return ordered[:, first : max(first + 1, int(end * count))].mean(1)

    spread = scores.std(1).clamp(min=1e-3)
    standard = (scores - scores.mean(1, keepdim=True)) / spread[:, None]
    dark = [-mean(*share) for share in DARKEST]
    light = [mean(*share) for share in LIGHTEST]
    logarithms = [value.clamp(min=0.05).log() for value in dark]
    square = standard.square()
    shape = [(square * standard).mean(1), (square.square().mean(1) - 3).clamp(-2, 20)]
    return torch.stack([spread.log(), *dark, *logarithms, *light, *shape], 1)
