"""The network that estimates from a patch how visible its particles are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scherzer.micrographs.contrast.blobs import BLOBS_A, STATISTICS, blob_statistics
from scherzer.micrographs.contrast.whitening import WORKING_PIXEL_A

PATCH_PX = 128
# Widths of the layers, and after which the sampling is halved; the first one halves it by itself.
WIDTHS = (16, 32, 48, 64)
POOLED = (False, True, True, False)
# Share of the places of a patch that are its highest.
HIGHEST = 0.1
# Edges of the rings of the power spectrum, A.
RINGS_A = (400.0, 280.0, 200.0, 150.0, 120.0, 100.0, 84.0, 70.0, 60.0, 50.0, 42.0, 36.0, 30.0, 25.0, 21.0, 18.0)
# Low-pass of the second channel, A (half width at 1/e of the transfer): shows particles that noise hides.
DENOISE_A = 40.0
# Bounds of the error that the network may state for log d'.
LOG_SPREAD_RANGE = (-4.0, 1.0)
# Where an untrained network starts: log d' in the middle of the classes.
CENTRE = 2.2


class PatchNetwork(nn.Module):
    """A small network from a whitened patch, its blobs and its power spectrum to ``log d'`` and its error.

    Pooling keeps the mean, the spread and the highest places of every feature, because what counts is how strong the
    signal of one particle is and not only how much of it there is; nothing inside normalises one patch by itself, which
    would take that size away.

    Parameters
    ----------
    denoise : bool
        Whether the network is given the low-pass of its patches (:func:`with_denoised`) and what blobs see of them.
    """

    def __init__(self, denoise: bool = True) -> None:
        super().__init__()
        self.denoise = denoise
        layers: list[nn.Module] = []
        before, kernel, stride = 2, 5, 2
        for width, pooled in zip(WIDTHS, POOLED, strict=True):
            layers += [
                nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            if pooled:
                layers.append(nn.AvgPool2d(2))
            before, kernel, stride = width, 3, 1
        self.features = nn.Sequential(*layers)
        measured = 2 * (len(RINGS_A) - 1) + STATISTICS * len(BLOBS_A)
        self.measured = nn.Sequential(nn.BatchNorm1d(measured), nn.Hardtanh(-4, 4), nn.Linear(measured, 64), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(3 * WIDTHS[-1] + 64, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Estimate ``log d'``.

        Parameters
        ----------
        patches : Tensor
            ``(n, 2, h, w)`` from :func:`with_denoised`.

        Returns
        -------
        mean, log_spread : Tensor
            ``(n,)`` each: the estimate and the logarithm of its standard deviation.
        """
        return self.estimate(self.describe(patches))

    def describe(self, patches: Tensor) -> Tensor:
        """Return what the trunk finds in patches, blobs and spectra, ``(n, f)``: all that the head gets to see."""
        found = self.features(patches).flatten(2)
        highest = found.topk(max(1, round(HIGHEST * found.shape[2])), dim=2).values.mean(2)
        whitened = 2 * patches[:, 0]
        blobs = blob_statistics(whitened)
        seen = torch.cat([blobs if self.denoise else torch.zeros_like(blobs), ring_spectrum(whitened)], 1)
        return torch.cat([found.mean(2), found.std(2), highest, self.measured(seen)], 1)

    def estimate(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Return the estimate and the logarithm of its error from what the trunk found; the last layer is linear."""
        out = self.head(found)
        return CENTRE + out[:, 0], (out[:, 1] - 1.5).clamp(*LOG_SPREAD_RANGE)


@torch.no_grad()
def ring_spectrum(patches: Tensor) -> Tensor:
    """Return the logarithm of the power of patches ``(n, h, w)`` in rings, and how uneven each ring is.

    Returns
    -------
    Tensor
        ``(n, 2 r)`` for r rings between the edges :data:`RINGS_A`: means, then the two-fold harmonic of the power over
        the mean, which smearing and edges have and particles have not. Neither changes much when a patch is turned.
    """
    height, width = patches.shape[-2:]
    window = torch.hann_window(height, device=patches.device)[:, None] * torch.hann_window(width, device=patches.device)
    power = torch.fft.rfft2(patches * (window / window.square().mean().sqrt()), norm="ortho").abs().square()
    ky = torch.fft.fftfreq(height, WORKING_PIXEL_A, device=patches.device)[:, None]
    kx = torch.arange(width // 2 + 1, device=patches.device)[None, :] / (width * WORKING_PIXEL_A)
    k2 = kx**2 + ky**2
    edges = 1 / torch.tensor(RINGS_A, device=patches.device)
    ring = torch.bucketize(k2.sqrt(), edges) - 1
    inside = (ring >= 0) & (ring < len(edges) - 1)
    members = torch.nn.functional.one_hot(ring[inside], len(edges) - 1).to(power.dtype)
    members = members / members.sum(0).clamp(min=1)
    chosen = power[:, inside]
    mean = (chosen @ members).clamp(min=1e-3)
    double = torch.stack([(kx**2 - ky**2) / k2.clamp(min=1e-12), 2 * kx * ky / k2.clamp(min=1e-12)])[:, inside]
    harmonic = torch.hypot((chosen * double[0]) @ members, (chosen * double[1]) @ members)
    return torch.cat([mean.log(), harmonic / mean], 1)


def with_denoised(patches: Tensor, denoise: bool = True) -> Tensor:
    """Return the input of the network for whitened patches ``(n, h, w)``: them and their low-pass, ``(n, 2, h, w)``.

    Without denoising the second channel is empty.
    """
    centred = patches - patches.mean((1, 2), keepdim=True)
    if not denoise:
        return torch.stack([centred / 2, torch.zeros_like(centred)], 1)
    height, width = patches.shape[-2:]
    ky = torch.fft.fftfreq(height, WORKING_PIXEL_A, device=patches.device)[:, None]
    kx = torch.arange(width // 2 + 1, device=patches.device)[None, :] / (width * WORKING_PIXEL_A)
    transfer = torch.exp(-(ky**2 + kx**2) * DENOISE_A**2)
    smooth = torch.fft.irfft2(torch.fft.rfft2(centred) * transfer, s=(height, width))
    return torch.stack([centred / 2, smooth], 1)


def cut_patches(values: Tensor, side: int = PATCH_PX) -> Tensor:
    """Cut an image into patches that cover it evenly, overlapping where they must; ``(n, side, side)``.

    An image smaller than a patch is mirrored at its edges until it holds one.
    """
    height, width = values.shape
    while min(height, width) < side:
        missing = [min(max(0, side - length), length - 1) for length in (height, width)]
        values = nn.functional.pad(values[None], (0, missing[1], 0, missing[0]), mode="reflect")[0]
        height, width = values.shape
    starts = [_starts(length, side) for length in (height, width)]
    return torch.stack([values[y : y + side, x : x + side] for y in starts[0] for x in starts[1]])


def _starts(length: int, side: int) -> list[int]:
    count = -(-length // side)
    return [round(index * (length - side) / max(1, count - 1)) for index in range(count)]
