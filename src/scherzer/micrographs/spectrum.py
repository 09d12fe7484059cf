"""The power spectrum of a micrograph, and its averages by direction and frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.fft import next_fast_len
from torch import Tensor

# Frequencies closer than one over this length, A, are averaged: finer than the rings of any defocus in use.
RESOLVED_LENGTH_A = 1434.0
# Pixels of the central cross left out: detector rows and columns and what the taper leaves of the image's edges.
CROSS_PX = 2
# Share of each side over which an image fades out at its edges.
TAPER = 0.05
# Side of the squares whose mean and scatter are evened out, A: larger than particles, smaller than carbon edges.
LEVEL_A = 360.0


@dataclass(frozen=True)
class Spectrum:
    """A power spectrum over the half plane of frequencies with ``kx >= 0``.

    Attributes
    ----------
    power : Tensor
        ``(h, w)``.
    kx : Tensor
        ``(w,)``, 1/A, from 0, evenly spaced.
    ky : Tensor
        ``(h,)``, 1/A, evenly spaced, ascending.
    edge_per_A : float
        Highest frequency sampled in every direction.
    """

    power: Tensor
    kx: Tensor
    ky: Tensor
    edge_per_A: float

    @property
    def length_A(self) -> float:
        """Side of the image, the shorter one: one over the coarser step of frequency."""
        return 1 / max(float(self.kx[1]), float(self.ky[1] - self.ky[0]))


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

    def between(self, lowest_per_A: float, highest_per_A: float) -> PolarSpectrum:
        """Return the bins of a band."""
        k = self.frequency_per_A
        half_step = (k[1] - k[0]) / 2
        band = (k > lowest_per_A - half_step) & (k <= highest_per_A + half_step)
        return PolarSpectrum(self.power[:, band], self.angle_rad, k[band], self.count[:, band])


def level(image: Tensor, pixel_size_A: float) -> Tensor:
    """Even out the grey levels of an image, without its outliers and a few pixels beyond a length that transforms fast.

    Dividing by the local scatter makes a carbon edge or a contaminant count by its area, not by its contrast.
    """
    height, width = (_fast_length(side) for side in image.shape)
    return evened(clip_outliers(image[:height, :width].float()), LEVEL_A / pixel_size_A)


def power_spectrum(levelled: Tensor, pixel_size_A: float, finest_pixel_A: float) -> Spectrum:
    """Return the power spectrum of a whole image, its edges faded.

    One transform of the whole uses more of the image than the average over tiles does, which fade out at the edges of
    each tile: on simulated micrographs the errors of defocus and astigmatism are 12 % smaller. Frequencies beyond
    ``1 / (2 finest_pixel_A)`` are cut off.

    Parameters
    ----------
    levelled : Tensor
        ``(h, w)``, from :func:`level`.
    """
    height, width = levelled.shape
    faded = (levelled * _taper(height, levelled.device)[:, None]).mul_(_taper(width, levelled.device))
    edge = 1 / (2 * max(finest_pixel_A, pixel_size_A))
    transform = torch.fft.rfft2(faded, norm="ortho")
    up, right = (min(int(edge * side * pixel_size_A), (side - 1) // 2) for side in (height, width))
    transform = torch.cat([transform[height - up :, : right + 1], transform[: up + 1, : right + 1]])
    ky = torch.arange(-up, up + 1, device=faded.device) / (height * pixel_size_A)
    kx = torch.arange(right + 1, device=faded.device) / (width * pixel_size_A)
    return Spectrum(torch.view_as_real(transform).square().sum(-1), kx, ky, edge)


def mean_spectrum(spectra: Sequence[Spectrum]) -> Spectrum:
    """Average the spectra of images of one size: the frame groups of a movie."""
    return replace(spectra[0], power=torch.stack([one.power for one in spectra]).mean(0))


def given_spectrum(power: Tensor, pixel_size_A: float) -> Spectrum:
    """Return a square centred spectrum ``(s, s)``, zero frequency at ``[s // 2, s // 2]``, as its half plane."""
    size = power.shape[-1]
    ky = (torch.arange(size, device=power.device) - size // 2) / (size * pixel_size_A)
    return Spectrum(power[:, size // 2 :].float(), ky[size // 2 :], ky, 1 / (2 * pixel_size_A))


def clip_outliers(image: Tensor) -> Tensor:
    """Clip values beyond six robust standard deviations: hot pixels, cosmic rays, gold."""
    sample = image.flatten()[:: max(1, image.numel() // 200_000)]
    centre = sample.median()
    spread = 1.48 * (sample - centre).abs().median()
    reach = 6 * torch.maximum(spread, 0.1 * sample.std())
    return image.clamp(centre - reach, centre + reach)


def evened(image: Tensor, block_px: float) -> Tensor:
    """Subtract the mean around every pixel and divide by the standard deviation there; ``(h, w)``.

    Both are measured in squares, from every second row, and interpolated. Where hardly anything varies, nothing is
    blown up.
    """
    blocks = (max(1, round(image.shape[0] / block_px)), max(1, round(image.shape[1] / block_px)))
    pool = torch.nn.functional.adaptive_avg_pool2d
    sample = image[::2]
    mean = pool(sample[None], blocks)[0]
    scatter = torch.sqrt((pool(sample.square()[None], blocks)[0] - mean.square()).clamp_min(0))
    scale = 1 / scatter.clamp_min(0.1 * float(scatter.mean()) + 1e-20)
    down, across = (_between_blocks(*sizes, image.device) for sizes in zip(image.shape, blocks, strict=True))
    return (image - (down @ mean) @ across.T).mul_((down @ scale) @ across.T)


def _between_blocks(side: int, blocks: int, device: torch.device) -> Tensor:
    """Return the weights ``(side, blocks)`` that interpolate linearly between the middles of blocks."""
    place = ((torch.arange(side, device=device) + 0.5) * blocks / side - 0.5).clamp(0, blocks - 1)
    return (1 - (place[:, None] - torch.arange(blocks, device=device)).abs()).clamp_min(0)


def _fast_length(side: int) -> int:
    """Return the largest length up to ``side`` that transforms fast, at most a few pixels less."""
    return next(length for length in range(side, 0, -1) if next_fast_len(length, real=True) == length)


def _taper(side: int, device: torch.device) -> Tensor:
    position = (torch.arange(side, device=device) + 0.5) / (TAPER * side)
    return torch.sin(torch.pi / 2 * torch.minimum(position, position.flip(0)).clamp(max=1))


@dataclass(frozen=True)
class Band:
    """The pixels of a spectrum's band, without the central cross; tensors of shape ``(n,)``.

    Attributes
    ----------
    pixels : Tensor
        Places in the flattened spectrum.
    frequency_per_A, angle_rad : Tensor
        Frequency and its direction over the half turn.
    """

    pixels: Tensor
    frequency_per_A: Tensor
    angle_rad: Tensor

    def between(self, lowest_per_A: float, highest_per_A: float) -> Band:
        """Return a narrower band."""
        inside = (self.frequency_per_A >= lowest_per_A) & (self.frequency_per_A < highest_per_A)
        return Band(self.pixels[inside], self.frequency_per_A[inside], self.angle_rad[inside])


def band(spectrum: Spectrum, lowest_per_A: float, highest_per_A: float) -> Band:
    """Find the pixels of a band of frequencies."""
    step_y = spectrum.ky[1] - spectrum.ky[0]
    k2 = spectrum.kx.square() + spectrum.ky[:, None].square()
    inside = (k2 >= lowest_per_A**2) & (k2 < highest_per_A**2)
    inside &= spectrum.kx > CROSS_PX * 1.01 * spectrum.kx[1]
    inside &= (spectrum.ky.abs() > CROSS_PX * 1.01 * step_y)[:, None]
    row, column = torch.nonzero(inside, as_tuple=True)
    angle = torch.atan2(spectrum.ky[row], spectrum.kx[column])
    angle = torch.where(angle < 0, angle + torch.pi, angle)
    pixels = row * len(spectrum.kx) + column
    return Band(pixels, torch.sqrt(k2.flatten()[pixels]), angle)


def polar_average(
    spectrum: Spectrum, pixels: Band, lowest_per_A: float, highest_per_A: float, sectors: int
) -> PolarSpectrum:
    """Average the power over directions and frequencies.

    Parameters
    ----------
    pixels : Band
        Of the spectrum, from the lowest to the highest frequency at least.
    """
    step = 1 / min(spectrum.length_A, RESOLVED_LENGTH_A)
    first = round(lowest_per_A / step)
    bins = max(8, round(highest_per_A / step) - first + 1)
    used = pixels.between((first - 0.5) * step, (first + bins - 0.5) * step)
    at = (used.frequency_per_A / step - first + 0.5).long().clamp(0, bins - 1)
    index = (used.angle_rad / torch.pi * sectors).long().clamp(max=sectors - 1) * bins + at
    count = torch.bincount(index, minlength=sectors * bins).float().reshape(sectors, bins)
    power = spectrum.power.flatten()[used.pixels].double()
    summed = torch.bincount(index, power, minlength=sectors * bins).float().reshape(sectors, bins)
    everywhere = summed.sum(0) / count.sum(0).clamp_min(1e-6)
    mean = torch.where(count > 0.5, summed / count.clamp_min(1), everywhere)
    angles = (torch.arange(sectors, device=index.device) + 0.5) * torch.pi / sectors
    return PolarSpectrum(mean, angles, (first + torch.arange(bins, device=index.device)) * step, count)
