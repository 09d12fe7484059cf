"""The power spectrum of a micrograph, and its averages by direction and frequency."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

# Pixels of the central cross left out: detector rows and columns and what the taper leaves of the image's edges.
CROSS_PX = 2


@dataclass(frozen=True)
class Spectrum:
    """An averaged power spectrum.

    Attributes
    ----------
    power : Tensor
        ``(s, s)``, s even, zero frequency at ``[s // 2, s // 2]``.
    pixel_size_A : float
        Pixel size at which the spectrum is as if sampled: its edge is at ``1 / (2 pixel_size_A)``.
    """

    power: Tensor
    pixel_size_A: float


@dataclass(frozen=True)
class PolarSpectrum:
    """Power averaged over the pixels of sectors of direction and bins of frequency.

    Attributes
    ----------
    power : Tensor
        ``(sectors, m)``; bins without pixels hold the mean over directions.
    angle_rad : Tensor
        ``(sectors,)``, centres of the sectors over the half turn.
    frequency_per_A : Tensor
        ``(m,)``, evenly spaced.
    count : Tensor
        ``(sectors, m)``, pixels of the half plane behind each value.
    """

    power: Tensor
    angle_rad: Tensor
    frequency_per_A: Tensor
    count: Tensor


def tile_starts(length: int, tile: int) -> list[int]:
    """Return the first pixels of tiles that cover a length, evenly and overlapping by at least half a tile."""
    tiles = max(1, -(-2 * (length - tile) // tile) + 1)
    return [round(index * (length - tile) / max(1, tiles - 1)) for index in range(tiles)]


def tile_size_px(short_side_px: int, pixel_size_A: float, smallest_A: float, largest_A: float) -> int:
    """Return the side of the tiles of an image: half its short side, within bounds, and an even fast FFT length.

    Small tiles cannot resolve the rings of a high defocus; the bound from above only saves time.
    """
    wanted_A = min(max(short_side_px * pixel_size_A / 2, smallest_A), largest_A)
    wanted = min(round(wanted_A / pixel_size_A), short_side_px)
    if wanted < short_side_px:
        wanted = min(next_fast_len(wanted, real=True), short_side_px)
    return wanted - wanted % 2


def power_spectrum(
    image: Tensor, pixel_size_A: float, smallest_tile_A: float, largest_tile_A: float, finest_pixel_A: float
) -> Spectrum:
    """Average the power spectra of overlapping tiles (Welch's method with a sine taper).

    The taper keeps the steps at the tiles' edges from leaking along the axes. Every tile counts alike, whatever its
    variance, so that one with a carbon edge or a contaminant, whose spectrum has fringes of its own, is outvoted.
    Frequencies beyond ``1 / (2 finest_pixel_A)`` are cut off, so that what follows costs the same at every pixel size.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``.
    """
    height, width = image.shape
    tile = tile_size_px(min(height, width), pixel_size_A, smallest_tile_A, largest_tile_A)
    position = torch.arange(tile, device=image.device, dtype=torch.float32) + 0.5
    taper = torch.sin(torch.pi * position / tile)
    window = taper[:, None] * taper
    image = clip_outliers(image.float())
    keep = min(tile, 2 * round(tile * pixel_size_A / (2 * max(finest_pixel_A, pixel_size_A))))
    half = keep // 2
    rows = torch.cat([torch.arange(0, half), torch.arange(tile - half, tile)]).to(image.device)
    total = torch.zeros(keep, half + 1, device=image.device)
    least = 1e-3 * float(image.std())
    for y in tile_starts(height, tile):
        for x in tile_starts(width, tile):
            patch = image[y : y + tile, x : x + tile]
            spread = float(patch.std())
            if spread > least:
                transform = torch.fft.rfft2((patch - patch.mean()) / spread * window, norm="ortho")
                total += transform[rows, : half + 1].abs().square()
    return Spectrum(_whole_plane(total), tile * pixel_size_A / keep)


def clip_outliers(image: Tensor) -> Tensor:
    """Clip values beyond six robust standard deviations: hot pixels, cosmic rays, gold."""
    sample = image.flatten()[:: max(1, image.numel() // 200_000)]
    centre = sample.median()
    spread = 1.48 * (sample - centre).abs().median()
    reach = 6 * torch.maximum(spread, 0.1 * image.std())
    return image.clamp(centre - reach, centre + reach)


def _whole_plane(half_plane: Tensor) -> Tensor:
    """Return the centred plane ``(s, s)`` from the half plane ``(s, s // 2 + 1)`` of a real image's power."""
    size = half_plane.shape[0]
    right = half_plane[:, : size // 2]
    rows = -torch.arange(size, device=half_plane.device) % size
    left = half_plane[rows][:, 1:].flip(1)
    plane: Tensor = torch.fft.fftshift(torch.cat([right, left], dim=1), dim=(0, 1))
    return plane


def frequency_grid(size: int, pixel_size_A: float, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Return the spatial frequencies kx, ky of a centred spectrum, 1/A; each ``(size, size)``."""
    axis = (torch.arange(size, device=device) - size // 2) / (size * pixel_size_A)
    ky, kx = torch.meshgrid(axis, axis, indexing="ij")
    return kx, ky


def polar_average(spectrum: Spectrum, lowest_per_A: float, highest_per_A: float, sectors: int) -> PolarSpectrum:
    """Average the power over directions and frequencies, one bin a pixel; each pixel shared by its two nearest bins."""
    size = spectrum.power.shape[-1]
    device = spectrum.power.device
    kx, ky = frequency_grid(size, spectrum.pixel_size_A, device)
    step = 1 / (size * spectrum.pixel_size_A)
    first = round(lowest_per_A / step)
    bins = max(8, round(highest_per_A / step) - first + 1)
    radius = torch.sqrt(kx**2 + ky**2) / step - first
    inside = (kx >= 0) & ((kx > 0) | (ky > 0)) & (radius > -1) & (radius < bins)
    inside &= (kx.abs() > CROSS_PX * step * 1.01) & (ky.abs() > CROSS_PX * step * 1.01)
    power, radius = spectrum.power[inside], radius[inside]
    angle = torch.remainder(torch.atan2(ky[inside], kx[inside]), torch.pi)
    sector = torch.clamp((angle / torch.pi * sectors).long(), max=sectors - 1)
    lower = torch.floor(radius).long()
    share = radius - lower
    summed = torch.zeros(sectors * (bins + 2), device=device)
    count = torch.zeros_like(summed)
    for offset, weight in ((1, 1 - share), (2, share)):
        index = sector * (bins + 2) + lower + offset
        summed.index_add_(0, index, weight * power)
        count.index_add_(0, index, weight)
    summed, count = (values.reshape(sectors, bins + 2)[:, 1:-1] for values in (summed, count))
    everywhere = summed.sum(0) / count.sum(0).clamp_min(1e-6)
    mean = torch.where(count > 0.2, summed / count.clamp_min(1e-6), everywhere)
    angles = (torch.arange(sectors, device=device) + 0.5) * torch.pi / sectors
    return PolarSpectrum(mean, angles, (first + torch.arange(bins, device=device)) * step, count)
