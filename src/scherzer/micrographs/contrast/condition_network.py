"""The network that says what is wrong with a micrograph: a second opinion beside the rules, from a small picture.

It sees what a person sees who leafs through thumbnails: the whole field at 8 A, and its power spectrum. Grey levels
are taken relative to each other, so a picture stretched to eight bits serves as well as counts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LABELS = ("fine", "drift", "empty", "contamination", "crystalline", "carbon")
# Channels of the layers, each of which halves the sampling; the picture's first one takes a quarter.
PICTURE_WIDTHS = (16, 24, 32, 48)
SPECTRUM_WIDTHS = (8, 16, 24)
HIDDEN = 48
# Layer of the picture's branch that also gets the picture averaged over 8 x 8 pixels.
COARSE_LAYER = 2
COARSE_PX = 8
# Side of the tiles whose power is averaged, px.
TILE_PX = 128
# The noise is read here, in units of Nyquist.
FLOOR_BAND = (0.7, 0.95)
CLIP_SIGMA = 8.0


class ConditionNetwork(nn.Module):
    """A small convolutional network with one branch for the picture and one for its spectrum."""

    def __init__(self) -> None:
        super().__init__()
        picture: list[nn.Module] = []
        before = 1
        for number, width in enumerate(PICTURE_WIDTHS):
            picture.append(
                _layer(before, width, 7, 4) if number == 0 else _layer(before + (number == COARSE_LAYER), width)
            )
            before = width
        self.picture = nn.ModuleList(picture)
        spectrum, before = [], 2
        for width in SPECTRUM_WIDTHS:
            spectrum.append(_layer(before, width))
            before = width
        self.spectrum = nn.Sequential(*spectrum)
        pooled = 3 * PICTURE_WIDTHS[-1] + 2 * SPECTRUM_WIDTHS[-1]
        self.hidden = nn.Sequential(nn.Linear(pooled, HIDDEN), nn.ReLU())
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(HIDDEN, len(LABELS))

    def embed(self, picture: Tensor, coarse: Tensor, spectrum: Tensor) -> Tensor:
        """Return the features before the last layer, ``(n, HIDDEN)``; see :func:`views` for the input."""
        found = picture
        for number, layer in enumerate(self.picture):
            if number == COARSE_LAYER:
                found = torch.cat([found, nn.functional.interpolate(coarse, found.shape[-2:], mode="area")], 1)
            found = layer(found)
        # The largest response counts only where it holds over a neighbourhood.
        largest = nn.functional.avg_pool2d(found, 3, 1, 1).amax((2, 3))
        rings = self.spectrum(torch.cat([spectrum, _radius(spectrum)], 1))
        parts = [found.mean((2, 3)), found.std((2, 3)), largest, rings.mean((2, 3)), rings.amax((2, 3))]
        return self.hidden(torch.cat(parts, 1))

    def forward(self, picture: Tensor, coarse: Tensor, spectrum: Tensor) -> Tensor:
        """Return the logits of the labels, ``(n, labels)``."""
        return self.out(self.drop(self.embed(picture, coarse, spectrum)))


def _layer(before: int, width: int, kernel: int = 3, stride: int = 2) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


def _radius(spectrum: Tensor) -> Tensor:
    """Spatial frequency of the entries of a spectrum in units of Nyquist: a convolution does not know where it is."""
    axis = torch.linspace(-1, 1, TILE_PX, device=spectrum.device)
    return torch.hypot(axis[:, None], axis[None, :]).expand(len(spectrum), 1, TILE_PX, TILE_PX)


def views(pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bring pictures to the network's terms.

    Parameters
    ----------
    pictures : Tensor
        ``(n, h, w)`` in any grey levels, sampled at 8 A, at least 32 px wide.

    Returns
    -------
    picture : Tensor
        ``(n, 1, h, w)``: without what a slope and a bowl explain, in units of its own spread.
    coarse : Tensor
        ``(n, 1, h // 8, w // 8)``: averaged, in units of what noise leaves of an average, compressed.
    spectrum : Tensor
        ``(n, 1, 128, 128)``: logarithm of the power over that of noise, zero frequency in the middle.
    """
    level = pictures - _bowl(pictures)
    flat = level.flatten(1)
    step = max(1, flat.shape[1] // 20_000)
    centre = flat[:, ::step].median(1).values[:, None, None]
    level = level - centre
    spread = 1.4826 * level.flatten(1)[:, ::step].abs().median(1).values.clamp(min=1e-6)[:, None, None]
    power = mean_power(level)
    axis = torch.linspace(-1, 1, TILE_PX, device=pictures.device)
    radius = torch.hypot(axis[:, None], axis[None, :])
    outer = (radius >= FLOOR_BAND[0]) & (radius <= FLOOR_BAND[1])
    floor = power[:, outer].median(1).values.clamp(min=1e-12)[:, None, None]
    means = nn.functional.avg_pool2d(level[:, None], COARSE_PX)
    coarse = torch.asinh(means * (COARSE_PX / 2) / floor.sqrt()[:, None])
    picture = (level / spread).clamp(-CLIP_SIGMA, CLIP_SIGMA)[:, None]
    return picture, coarse, (power / floor).clamp(min=1e-3).log()[:, None] / 2


def mean_power(level: Tensor) -> Tensor:
    """Mean power of tiles that cover the pictures, ``(n, 128, 128)``."""
    height, width = level.shape[-2:]
    sides = (min(height, TILE_PX), min(width, TILE_PX))
    window = torch.hann_window(sides[0], device=level.device)[:, None] * torch.hann_window(
        sides[1], device=level.device
    )
    window = window / window.square().sum().sqrt()
    total = torch.zeros(len(level), TILE_PX, TILE_PX, device=level.device)
    places = [(y, x) for y in _starts(height, sides[0]) for x in _starts(width, sides[1])]
    for y, x in places:
        tile = level[:, y : y + sides[0], x : x + sides[1]]
        tile = (tile - tile.mean((1, 2), keepdim=True)) * window
        half = torch.fft.rfft2(tile, s=(TILE_PX, TILE_PX)).abs().square()
        total += _whole(half)
    return torch.fft.fftshift(total, dim=(1, 2)) / len(places)


def _whole(half: Tensor) -> Tensor:
    """Fill up a half plane by the opposite frequencies."""
    mirrored = half[:, :, 1:-1].flip(2)
    mirrored = torch.cat([mirrored[:, :1], mirrored[:, 1:].flip(1)], 1)
    return torch.cat([half, mirrored], 2)


def _starts(length: int, side: int) -> list[int]:
    count = -(-length // side)
    return [round(index * (length - side) / max(1, count - 1)) for index in range(count)]


def _bowl(pictures: Tensor) -> Tensor:
    """Fit a plane and a paraboloid to the averaged pictures."""
    height, width = pictures.shape[-2:]
    means = nn.functional.avg_pool2d(pictures[:, None], COARSE_PX)[:, 0]
    rows, columns = means.shape[-2:]

    def terms(y: Tensor, x: Tensor) -> Tensor:
        y, x = torch.broadcast_tensors(y[:, None], x[None, :])
        return torch.stack([torch.ones_like(y), y, x, y * x, y**2, x**2], -1)

    # Middles of the averaged squares in units of the picture's half side.
    centres = [
        (torch.arange(count, device=pictures.device) + 0.5) * COARSE_PX * 2 / side - 1
        for count, side in ((rows, height), (columns, width))
    ]
    coarse = terms(*centres).reshape(-1, 6)
    solved = torch.linalg.lstsq(coarse, means.flatten(1).T).solution
    fine = [(torch.arange(side, device=pictures.device) + 0.5) * 2 / side - 1 for side in (height, width)]
    return (terms(*fine) @ solved).permute(2, 0, 1)
