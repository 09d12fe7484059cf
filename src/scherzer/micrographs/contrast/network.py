"""The network that estimates from a patch how visible its particles are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scherzer.micrographs.contrast.whitening import WORKING_PIXEL_A

PATCH_PX = 96
# Widths of the layers; each halves the sampling.
WIDTHS = (12, 24, 48, 64)
# Low-pass of the second channel, A (half width at 1/e of the transfer): shows particles that noise hides.
DENOISE_A = 40.0
# Bounds of the error that the network may state for log d'.
LOG_SPREAD_RANGE = (-4.0, 1.0)
# Where an untrained network starts: log d' in the middle of the classes.
CENTRE = 2.8


class PatchNetwork(nn.Module):
    """A small convolutional network from a whitened patch to ``log d'`` and its error.

    Pooling keeps the mean and the spread of every feature, because what counts is the size of the signal and not only
    its presence; nothing inside normalises one patch by itself, which would take that size away.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, kernel, stride = 2, 5, 2
        for width in WIDTHS:
            layers += [
                nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            if width != WIDTHS[-1]:
                layers.append(nn.AvgPool2d(2) if stride == 1 else nn.Identity())
            before, kernel, stride = width, 3, 1
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(2 * WIDTHS[-1], 48), nn.ReLU(), nn.Linear(48, 2))

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
        """Return what the trunk finds in patches, ``(n, f)``: all that the head gets to see."""
        found = self.features(patches)
        return torch.cat([found.mean((2, 3)), found.std((2, 3))], 1)

    def estimate(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Return the estimate and the logarithm of its error from what the trunk found; the last layer is linear."""
        out = self.head(found)
        return CENTRE + out[:, 0], (out[:, 1] - 1.5).clamp(*LOG_SPREAD_RANGE)


def with_denoised(patches: Tensor) -> Tensor:
    """Return the input of the network for whitened patches ``(n, h, w)``: them and their low-pass, ``(n, 2, h, w)``."""
    height, width = patches.shape[-2:]
    ky = torch.fft.fftfreq(height, WORKING_PIXEL_A, device=patches.device)[:, None]
    kx = torch.arange(width // 2 + 1, device=patches.device)[None, :] / (width * WORKING_PIXEL_A)
    transfer = torch.exp(-(ky**2 + kx**2) * DENOISE_A**2)
    centred = patches - patches.mean((1, 2), keepdim=True)
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
