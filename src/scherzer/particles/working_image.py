"""The small, flat, phase-flipped picture in which particles are looked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from scherzer.physics.ctf import CtfParameters, ctf

# Exponent of the micrograph's own amplitude spectrum in the filter: -1 whitens fully. In a crowded micrograph the
# spectrum at low frequency is mostly particles, so full whitening divides their signal away and none leaves the ice.
WHITENING_POWER = -0.5
CLIP_SIGMA = 5.0
RADIAL_BINS = 128


@dataclass(frozen=True)
class WorkingImage:
    """A micrograph made ready for matching.

    Attributes
    ----------
    image : Tensor
        ``(h, w)``, white protein, zero where not valid; padded at the far sides so that a window never wraps.
    valid : Tensor
        ``(h, w)`` float, 1 on pixels that hold usable data, 0 on padding and contamination.
    transfer : Tensor
        ``(h, w // 2 + 1)``, what a projection of a particle is multiplied by on its way here: |CTF|, whitening, band.
    pixel_size_A : float
        Mean working pixel.
    scale_x, scale_y : float
        Original pixels per working pixel along columns and rows.
    inner_shape : tuple of int
        Rows and columns without the padding.
    """

    image: Tensor
    valid: Tensor
    transfer: Tensor
    pixel_size_A: float
    scale_x: float
    scale_y: float
    inner_shape: tuple[int, int]


def prepare_working_image(
    image: Tensor, pixel_size_A: float, parameters: CtfParameters | None, diameter_A: float, target_pixel_A: float
) -> WorkingImage:
    """Shrink, flatten, phase-flip and whiten a micrograph, and mask its contamination.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``, raw: dark protein.
    pixel_size_A : float
        Its pixel size.
    parameters : CtfParameters or None
        Of one image; None leaves the phases as they are, which is right up to the first zero.
    diameter_A : float
        Of the particle; sets the band, the background and the padding.
    target_pixel_A : float
        Working pixel wanted; never finer than the image's own.
    """
    small = shrink(minus_plane(image), min(1.0, pixel_size_A / target_pixel_A))
    scale_y, scale_x = image.shape[0] / small.shape[0], image.shape[1] / small.shape[1]
    pixel_A = pixel_size_A * math.sqrt(scale_x * scale_y)
    small = small - small.median()
    sigma = 1.4826 * small.abs().median()
    clean = ~contamination(small / sigma, diameter_A / pixel_A)
    small = torch.where(clean, small.clamp(-CLIP_SIGMA * sigma, CLIP_SIGMA * sigma), 0.0)

    k_small, flip = _ctf_on_grid(small.shape, pixel_A, parameters, image)
    spectrum = torch.fft.rfft2(small)
    k_max = float(k_small.max())
    filter_profile = _half_whitening(radial_mean(spectrum.abs() ** 2, k_small, k_max)) * _band(
        torch.linspace(0, k_max, RADIAL_BINS, device=image.device), diameter_A, pixel_A
    )
    filtered = torch.fft.irfft2(-spectrum * torch.sign(flip) * at_radius(filter_profile, k_small, k_max), s=small.shape)

    rows, columns = small.shape
    margin = math.ceil(0.7 * diameter_A / pixel_A)
    shape = (next_fast_len(rows + margin, real=True), next_fast_len(columns + margin, real=True))
    padded, valid = image.new_zeros(shape), image.new_zeros(shape)
    valid[:rows, :columns] = clean.to(image.dtype)
    padded[:rows, :columns] = filtered * clean
    k, contrast = _ctf_on_grid(shape, pixel_A, parameters, image)
    transfer = contrast.abs() * at_radius(filter_profile, k, k_max)
    return WorkingImage(padded, valid, transfer, pixel_A, scale_x, scale_y, (rows, columns))


def minus_plane(image: Tensor) -> Tensor:
    """Subtract the least-squares plane from an image ``(h, w)``."""
    y = torch.linspace(-1, 1, image.shape[0], dtype=image.dtype, device=image.device)[:, None]
    x = torch.linspace(-1, 1, image.shape[1], dtype=image.dtype, device=image.device)[None]
    slope_y, slope_x = (image.mean(1) @ y[:, 0]) / (y * y).sum(), (image.mean(0) @ x[0]) / (x * x).sum()
    return image - (image.mean() + slope_y * y + slope_x * x)


def shrink(image: Tensor, factor: float) -> Tensor:
    """Crop an image ``(h, w)`` in Fourier space to about ``factor`` times its size (even sides), keeping pixel 0."""
    rows, columns = (max(2, min(n, 2 * round(n * factor / 2))) for n in image.shape)
    if (rows, columns) == tuple(image.shape):
        return image
    full = torch.fft.rfft2(image)
    half = rows // 2
    cropped = torch.cat([full[:half], full[-half:]])[:, : columns // 2 + 1]
    small: Tensor = torch.fft.irfft2(cropped, s=(rows, columns)) * (rows * columns / image.numel())
    return small


def contamination(image: Tensor, diameter_px: float) -> Tensor:
    """Mark ice crystals and other thick dirt: regions wider than a third of a particle and far outside its grey range.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``, in robust standard deviations about the median.
    diameter_px : float
        Of the particle, in these pixels.

    Returns
    -------
    Tensor
        ``(h, w)`` bool, grown by a quarter of a particle.

    Notes
    -----
    Smoothed to a third of a particle, noise is gone and particles (which fill much of the picture, or little of it)
    set the spread; the limit therefore stands at six spreads, and no particle reaches it.
    """
    smooth = gaussian_blur(image, diameter_px / 6)
    smooth = smooth - smooth.median()
    spread = 1.4826 * smooth.abs().median()
    core = (smooth.abs() > 6 * spread).to(image.dtype)
    return gaussian_blur(core, diameter_px / 6) > 0.1


def gaussian_blur(image: Tensor, sigma_px: float) -> Tensor:
    """Convolve an image ``(h, w)`` with a Gaussian (periodic)."""
    ky = torch.fft.fftfreq(image.shape[0], device=image.device)[:, None]
    kx = torch.fft.rfftfreq(image.shape[1], device=image.device)[None]
    gain = torch.exp(-2 * (math.pi * sigma_px) ** 2 * (kx**2 + ky**2))
    blurred: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * gain, s=image.shape)
    return blurred


def radial_mean(values: Tensor, radius: Tensor, radius_max: float) -> Tensor:
    """Average values over rings of radius; ``(RADIAL_BINS,)`` from 0 to ``radius_max``."""
    ring = (radius / radius_max * (RADIAL_BINS - 1)).round().long().clamp(max=RADIAL_BINS - 1).flatten()
    total = values.new_zeros(RADIAL_BINS).index_add_(0, ring, values.flatten())
    count = torch.bincount(ring, minlength=RADIAL_BINS).clamp(min=1)
    return total / count


def at_radius(profile: Tensor, radius: Tensor, radius_max: float) -> Tensor:
    """Read a profile of equally spaced samples from 0 to ``radius_max`` at any radius, linearly; flat beyond."""
    position = (radius / radius_max * (len(profile) - 1)).clamp(0, len(profile) - 1)
    low = position.floor().long().clamp(max=len(profile) - 2)
    fraction = position - low
    return profile[low] * (1 - fraction) + profile[low + 1] * fraction


def _half_whitening(power: Tensor) -> Tensor:
    """Turn a radial power spectrum into the whitening filter; its first bin, often empty, follows the second."""
    power = torch.cat([power[1:2], power[1:]])
    return power.clamp(min=1e-4 * float(power.max())) ** (WHITENING_POWER / 2)


def _band(k: Tensor, diameter_A: float, pixel_size_A: float) -> Tensor:
    """Band of a blob: nothing broader than some particles, nothing finer than a seventh of one."""
    finest_A = max(diameter_A / 7, 2.5 * pixel_size_A)
    return (1 - torch.exp(-2 * (math.pi * diameter_A * k) ** 2)) / (1 + (k * finest_A) ** 8)


def _ctf_on_grid(
    shape: tuple[int, ...], pixel_size_A: float, parameters: CtfParameters | None, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Return |k| and the CTF (1 where unknown) on an rfft2 grid."""
    ky = torch.fft.fftfreq(shape[0], pixel_size_A, device=like.device)[:, None].expand(-1, shape[1] // 2 + 1)
    kx = torch.fft.rfftfreq(shape[1], pixel_size_A, device=like.device)[None].expand(shape[0], -1)
    k = torch.sqrt(kx**2 + ky**2)
    return k, torch.ones_like(k) if parameters is None else ctf(parameters.to(like.device), kx, ky)[0]
