"""A micrograph on the scale of its own shot noise, at one pixel size for all microscopes.

Grey levels of files are arbitrary. What tells visibility is the signal in units of the noise, and the noise can be read
from any image: beyond about 7 A the signal of protein is a few per cent of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

WORKING_PIXEL_A = 8.0
# The band that is taken for noise; where the image does not reach it, the outer fifth of what there is.
FLOOR_BAND_A = (7.0, 5.0)
FLOOR_OUTER = (0.75, 0.95)
# Gradients of thickness and illumination are cut away between these.
HIGHPASS_A = (1000.0, 500.0)
# Contaminants, gold and hot pixels are held at this many robust standard deviations.
CLIP_SIGMA = 6.0
TILE_A = 700.0
TILES_ACROSS = 6


@dataclass(frozen=True)
class TileSpectrum:
    """Power of a micrograph averaged over tiles.

    Attributes
    ----------
    power : Tensor
        ``(s, s // 2 + 1)``, for white noise its variance.
    frequency_per_A : Tensor
        ``(s, s // 2 + 1)``, 1/A.
    nyquist_per_A : float
        Of the micrograph.
    tiles : int
        How many were averaged.
    """

    power: Tensor
    frequency_per_A: Tensor
    nyquist_per_A: float
    tiles: int

    def mean_between(self, coarse_A: float, fine_A: float) -> float:
        """Mean power between two resolutions; NaN where the image does not reach the finer one."""
        if 1 / fine_A > 0.98 * self.nyquist_per_A:
            return float("nan")
        k = self.frequency_per_A
        band = self.power[(k >= 1 / coarse_A) & (k <= 1 / fine_A)]
        return float(band.mean()) if band.numel() else float("nan")

    def noise_floor(self) -> float:
        """Power of the noise: variance of one pixel if it were white."""
        floor = self.mean_between(*FLOOR_BAND_A)
        if floor == floor:
            return floor
        relative = self.frequency_per_A / self.nyquist_per_A
        return float(self.power[(relative >= FLOOR_OUTER[0]) & (relative <= FLOOR_OUTER[1])].mean())


@dataclass(frozen=True)
class WhitenedImage:
    """A micrograph in units of its noise.

    Attributes
    ----------
    values : Tensor
        ``(h, w)`` at :data:`WORKING_PIXEL_A`; where there is nothing but shot noise the variance of a pixel is 1.
        Protein is dark.
    noise_floor : float
        Variance of a pixel of the original, in its own grey levels squared, that the noise accounts for.
    """

    values: Tensor
    noise_floor: float


def tile_spectrum(image: Tensor, pixel_size_A: float) -> TileSpectrum:
    """Average the power of at most 36 tiles spread evenly over a micrograph.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``.
    pixel_size_A : float
        Pixel size.
    """
    height, width = image.shape
    side = min(next_fast_len(round(TILE_A / pixel_size_A), real=True), height, width)
    side -= side % 2
    window = torch.hann_window(side, device=image.device)
    window = window[:, None] * window
    window = window / window.square().mean().sqrt()
    total = torch.zeros(side, side // 2 + 1, device=image.device)
    rows, columns = _starts(height, side), _starts(width, side)
    for y in rows:
        for x in columns:
            tile = image[y : y + side, x : x + side]
            transform = torch.fft.rfft2((tile - tile.mean()) * window, norm="ortho")
            total += transform.real.square() + transform.imag.square()
    ky = torch.fft.fftfreq(side, pixel_size_A, device=image.device)
    kx = torch.arange(side // 2 + 1, device=image.device) / (side * pixel_size_A)
    tiles = len(rows) * len(columns)
    return TileSpectrum(total / tiles, torch.hypot(ky[:, None], kx[None, :]), 0.5 / pixel_size_A, tiles)


def _starts(length: int, side: int) -> list[int]:
    count = max(1, min(TILES_ACROSS, -(-length // side)))
    return [round(index * (length - side) / max(1, count - 1)) for index in range(count)]


def whiten(image: Tensor, pixel_size_A: float, spectrum: TileSpectrum) -> WhitenedImage:
    """Resample a micrograph to the working pixel and scale it by its noise.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``, protein dark.
    pixel_size_A : float
        Pixel size.
    spectrum : TileSpectrum
        Of the same image.

    Raises
    ------
    ValueError
        When the image has no noise to scale by.
    """
    floor = spectrum.noise_floor()
    if not floor > 0:
        raise ValueError("an image without noise cannot be brought to the scale of its noise")
    # Binning by averages first makes the transform small; white noise stays white under it. Half the working pixel
    # keeps the loss at its Nyquist frequency within a tenth.
    factor = max(1, int(WORKING_PIXEL_A / 2 / pixel_size_A))
    binned = torch.nn.functional.avg_pool2d(image[None, None], factor)[0, 0] if factor > 1 else image
    pixel_A = pixel_size_A * factor
    noise = (floor / factor**2) ** 0.5
    flat = _clip(_level(binned) / noise)
    small = _resample(flat, pixel_A)
    # A pixel averages (8 A / pixel)^2 of the binned ones: bring its noise back to variance 1.
    return WhitenedImage(small * (WORKING_PIXEL_A / pixel_A), floor)


def _level(values: Tensor) -> Tensor:
    """Subtract the plane that fits best: a transform sees a slope as a step at the edges, which has all frequencies."""
    y, x = (torch.linspace(-1, 1, side, device=values.device) for side in values.shape)
    level = values - values.mean()
    down, across = ((level.mean(1) @ y) / y.square().sum(), (level.mean(0) @ x) / x.square().sum())
    return level - down * y[:, None] - across * x


def _clip(values: Tensor) -> Tensor:
    sample = values.flatten()[:: max(1, values.numel() // 100_000)]
    centre = sample.median()
    spread = 1.48 * (sample - centre).abs().median().clamp(min=1e-3)
    return values.clamp(float(centre - CLIP_SIGMA * spread), float(centre + CLIP_SIGMA * spread))


def _resample(values: Tensor, pixel_A: float) -> Tensor:
    """Crop or pad the transform to the working pixel, without the lowest frequencies."""
    height, width = (int(side - side % 2) for side in values.shape)
    transform = torch.fft.rfft2(values[:height, :width])
    new_height, new_width = (max(2, 2 * round(side * pixel_A / WORKING_PIXEL_A / 2)) for side in (height, width))
    keep_y, keep_x = min(height, new_height) // 2, min(width, new_width) // 2
    cropped = torch.zeros(new_height, new_width // 2 + 1, dtype=transform.dtype, device=values.device)
    cropped[:keep_y, :keep_x] = transform[:keep_y, :keep_x]
    cropped[-keep_y + 1 :, :keep_x] = transform[-keep_y + 1 :, :keep_x]
    ky = torch.fft.fftfreq(new_height, WORKING_PIXEL_A, device=values.device)
    kx = torch.arange(new_width // 2 + 1, device=values.device) / (new_width * WORKING_PIXEL_A)
    k = torch.hypot(ky[:, None], kx[None, :])
    low, high = 1 / HIGHPASS_A[0], 1 / HIGHPASS_A[1]
    rise = 0.5 - 0.5 * torch.cos(torch.pi * ((k - low) / (high - low)).clamp(0, 1))
    scale = new_height * new_width / (height * width)
    return torch.fft.irfft2(cropped * rise * scale, s=(new_height, new_width))
