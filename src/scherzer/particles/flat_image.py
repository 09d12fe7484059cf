"""Shrink and flatten a micrograph, and find the dirt on it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

# A spot this many times as strong as the typical particle, or this many robust spreads of the picture if that is more,
# is thicker than any particle.
STRONGER_THAN_PARTICLE = 2.5
STRONGER_THAN_SPREAD = 6.0


def minus_plane(image: Tensor) -> Tensor:
    """Subtract the least-squares plane from an image ``(h, w)``."""
    y = torch.linspace(-1, 1, image.shape[0], dtype=image.dtype, device=image.device)[:, None]
    x = torch.linspace(-1, 1, image.shape[1], dtype=image.dtype, device=image.device)[None]
    slope_y, slope_x = (image.mean(1) @ y[:, 0]) / (y * y).sum(), (image.mean(0) @ x[0]) / (x * x).sum()
    return (image - slope_y * y).sub_(image.mean() + slope_x * x)


def shrink(image: Tensor, factor: float) -> Tensor:
    """Crop an image ``(h, w)`` in Fourier space to about ``factor`` times its size (even sides), keeping pixel 0."""
    rows, columns = (max(2, min(n, 2 * round(n * factor / 2))) for n in image.shape)
    if (rows, columns) == tuple(image.shape):
        return image
    # Along the rows first, and then only what stays of them.
    full = torch.fft.fft(torch.fft.rfft(image)[:, : columns // 2 + 1], dim=0)
    half = rows // 2
    cropped = torch.cat([full[:half], full[-half:]])
    small: Tensor = torch.fft.irfft2(cropped, s=(rows, columns)) * (rows * columns / image.numel())
    return small


def standardise(image: Tensor) -> Tensor:
    """Subtract the median and divide by the robust standard deviation (1.4826 times the median deviation)."""
    image = image - image.median()
    return image / (1.4826 * image.abs().median()).clamp(min=1e-12)


def density(small: Tensor, diameter_px: float) -> Tensor:
    """Blur a flat image ``(h, w)`` to a third of a particle and take the amount: how much of it there is."""
    smooth = gaussian_blur(small, diameter_px / 6)
    return (smooth - smooth.median()).abs()


def dirt_mask(amount: Tensor, diameter_px: float, particle_amount: float) -> Tensor:
    """Mark ice crystals and other thick dirt, grown by a third of a particle.

    Parameters
    ----------
    amount : Tensor
        ``(h, w)`` from :func:`density`.
    diameter_px : float
        Of the particle.
    particle_amount : float
        The largest amount within a typical particle. Without it, strong particles far apart would pass for dirt.
    """
    spread = 1.4826 * float(amount.median())
    core = amount > max(STRONGER_THAN_SPREAD * spread, STRONGER_THAN_PARTICLE * particle_amount)
    if not bool(core.any()):
        return core
    return gaussian_blur(core.to(amount.dtype), diameter_px / 6) > 0.1


def resized_mask(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Bring a mask ``(h', w')`` to another grid over the same field by its nearest pixels."""
    nearest: Tensor = interpolate(mask[None, None].float(), size=shape, mode="nearest-exact")[0, 0]
    return nearest > 0.5


def gaussian_blur(image: Tensor, sigma_px: float) -> Tensor:
    """Convolve an image ``(h, w)`` with a Gaussian (periodic)."""
    ky = torch.fft.fftfreq(image.shape[0], device=image.device)[:, None]
    kx = torch.fft.rfftfreq(image.shape[1], device=image.device)[None]
    gain = torch.exp(-2 * (math.pi * sigma_px) ** 2 * (kx**2 + ky**2))
    blurred: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * gain, s=image.shape)
    return blurred
