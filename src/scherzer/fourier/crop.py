"""Change of sampling by cropping or padding in Fourier space."""

from __future__ import annotations

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from scherzer.fourier.grids import centred_irfft2, centred_irfftn, centred_rfft2, centred_rfftn


def even_fast_length(least: float) -> int:
    """Return the smallest even length of factors 2, 3 and 5 that is not below ``least``."""
    return 2 * int(next_fast_len(math.ceil(least / 2 - 1e-6), real=True))


def resize_rfft(transforms: Tensor, box: int, ndim: int) -> Tensor:
    """Crop or zero-pad centred rffts of even boxes to another even box, values unscaled.

    Parameters
    ----------
    transforms : Tensor
        ``(..., b, b // 2 + 1)`` for ``ndim`` 2, ``(..., b, b, b // 2 + 1)`` for ``ndim`` 3.
    box : int
        New box, px; even.

    Returns
    -------
    Tensor
        The same frequencies in the new box. The plane at the smaller box's Nyquist frequency is dropped, since its
        sign cannot be told.
    """
    old = transforms.shape[-2]
    if box == old:
        return transforms
    keep = min(box, old) // 2  # frequencies below the smaller Nyquist
    shape = transforms.shape[:-ndim] + (box,) * (ndim - 1) + (box // 2 + 1,)
    result = transforms.new_zeros(shape)
    frequencies = torch.arange(-keep + 1, keep, device=transforms.device)
    source, target = frequencies % old, frequencies % box
    if ndim == 2:
        result[..., target, :keep] = transforms[..., source, :keep]
    else:
        block = transforms[..., source[:, None], source[None, :], :keep]
        result[..., target[:, None], target[None, :], :keep] = block
    return result


def resize_images(images: Tensor, box: int) -> Tensor:
    """Resample ``(..., b, b)`` images to ``(..., box, box)`` of the same field of view; grey levels are kept."""
    scale = (box / images.shape[-1]) ** 2
    return centred_irfft2(resize_rfft(centred_rfft2(images), box, 2)) * scale


def resize_volume(volume: Tensor, box: int) -> Tensor:
    """Resample a ``(..., b, b, b)`` volume to ``(..., box, box, box)`` of the same extent; densities are kept."""
    scale = (box / volume.shape[-1]) ** 3
    return centred_irfftn(resize_rfft(centred_rfftn(volume), box, 3)) * scale


def pad_or_cut(volume: Tensor, box: int) -> Tensor:
    """Zero-pad or cut a cubic ``(b, b, b)`` volume about its centre pixel to ``(box, box, box)``, both even."""
    old = volume.shape[-1]
    if box == old:
        return volume
    small = min(box, old)
    result = volume.new_zeros((box,) * 3)
    inside, outside = (slice(n // 2 - small // 2, n // 2 + small // 2) for n in (box, old))
    result[inside, inside, inside] = volume[outside, outside, outside]
    return result
