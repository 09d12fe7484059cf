"""Transforms of images and volumes whose origin is the centre pixel, ``box // 2``."""

from __future__ import annotations

import torch
from torch import Tensor


def centred_rfft2(images: Tensor) -> Tensor:
    """Transform ``(..., b, b)`` images with their origin at the centre pixel; returns ``(..., b, b // 2 + 1)``."""
    return torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1)))


def centred_irfft2(transforms: Tensor) -> Tensor:
    """Invert :func:`centred_rfft2` for even boxes."""
    box = transforms.shape[-2]
    return torch.fft.fftshift(torch.fft.irfft2(transforms, s=(box, box)), dim=(-2, -1))


def centred_rfftn(volumes: Tensor) -> Tensor:
    """Transform ``(..., b, b, b)`` volumes with their origin at the centre; returns ``(..., b, b, b // 2 + 1)``."""
    return torch.fft.rfftn(torch.fft.ifftshift(volumes, dim=(-3, -2, -1)), dim=(-3, -2, -1))


def centred_irfftn(transforms: Tensor) -> Tensor:
    """Invert :func:`centred_rfftn` for even boxes."""
    box = transforms.shape[-2]
    volumes = torch.fft.irfftn(transforms, s=(box, box, box), dim=(-3, -2, -1))
    return torch.fft.fftshift(volumes, dim=(-3, -2, -1))


def square_modulus(values: Tensor) -> Tensor:
    """Square modulus of complex values without the root that ``abs`` takes, which costs more than all else."""
    return values.real.square() + values.imag.square()


def rfft_radius(box: int, ndim: int, device: torch.device | str = "cpu") -> Tensor:
    """Distance from the origin, in Fourier pixels (cycles per box), of every entry of an rfft of ``ndim`` axes."""
    full = torch.fft.fftfreq(box, 1 / box, device=device)
    half = torch.arange(box // 2 + 1, device=device, dtype=full.dtype)
    squares = half**2
    for axis in range(1, ndim):
        squares = squares + (full**2).reshape((-1,) + (1,) * axis)
    return torch.sqrt(squares)


def real_radius(box: int, ndim: int, device: torch.device | str = "cpu") -> Tensor:
    """Distance, in pixels, of every pixel of a box of ``ndim`` axes from its centre pixel ``box // 2``."""
    squares = (torch.arange(box, device=device, dtype=torch.float32) - box // 2) ** 2
    total = squares
    for axis in range(1, ndim):
        total = total + squares.reshape((-1,) + (1,) * axis)
    return torch.sqrt(total)
