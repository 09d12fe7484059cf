"""The small, flat, phase-flipped picture in which particles are looked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from scherzer.physics.ctf import CtfParameters, ctf

CLIP_SIGMA = 8.0
# Finest detail, in parts of a diameter: what is finer differs between orientations and only moves the centre.
FINEST = 1 / 5


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
        ``(h, w // 2 + 1)``, what a projection of a particle is multiplied by on its way here: |CTF| and band.
    """

    image: Tensor
    valid: Tensor
    transfer: Tensor


def prepare_working_image(
    small: Tensor, pixel_size_A: float, parameters: CtfParameters | None, diameter_A: float, dirt: Tensor
) -> WorkingImage:
    """Phase-flip a flat, small micrograph, keep the band of its particles, and blank its dirt.

    Parameters
    ----------
    small : Tensor
        ``(h, w)``, dark protein, in robust standard deviations about the median (see :func:`standardise`).
    pixel_size_A : float
        Its pixel size.
    parameters : CtfParameters or None
        Of one image; None leaves the phases as they are, which is right up to the first zero.
    diameter_A : float
        Of the particle; sets the band and the padding.
    dirt : Tensor
        ``(h, w)`` bool, pixels not to be used.
    """
    small = torch.where(dirt, 0.0, small.clamp(-CLIP_SIGMA, CLIP_SIGMA))
    k_small, flip = ctf_on_grid(small.shape, pixel_size_A, parameters, small)
    band = _band(k_small, diameter_A, pixel_size_A)
    filtered = torch.fft.irfft2(-torch.fft.rfft2(small) * torch.sign(flip) * band, s=small.shape)

    rows, columns = small.shape
    margin = math.ceil(0.85 * diameter_A / pixel_size_A)
    shape = (next_fast_len(rows + margin, real=True), next_fast_len(columns + margin, real=True))
    image, valid = small.new_zeros(shape), small.new_zeros(shape)
    valid[:rows, :columns] = (~dirt).to(small.dtype)
    image[:rows, :columns] = torch.where(dirt, 0.0, filtered)
    k, contrast = ctf_on_grid(shape, pixel_size_A, parameters, small)
    return WorkingImage(image, valid, contrast.abs() * _band(k, diameter_A, pixel_size_A))


def _band(k: Tensor, diameter_A: float, pixel_size_A: float) -> Tensor:
    """Band of a blob: nothing broader than some particles, nothing finer than a fifth of one."""
    finest_A = max(diameter_A * FINEST, 2.5 * pixel_size_A)
    return (1 - torch.exp(-2 * (math.pi * diameter_A * k) ** 2)) / (1 + (k * finest_A) ** 8)


def ctf_on_grid(
    shape: tuple[int, ...], pixel_size_A: float, parameters: CtfParameters | None, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Return |k| and the CTF (1 where unknown) on an rfft2 grid."""
    ky = torch.fft.fftfreq(shape[0], pixel_size_A, device=like.device)[:, None].expand(-1, shape[1] // 2 + 1)
    kx = torch.fft.rfftfreq(shape[1], pixel_size_A, device=like.device)[None].expand(shape[0], -1)
    k = torch.sqrt(kx**2 + ky**2)
    return k, torch.ones_like(k) if parameters is None else ctf(parameters.to(like.device), kx, ky)[0]
