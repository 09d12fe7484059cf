"""The small, flat, phase-flipped picture in which particles are looked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from scherzer.particles.radial import at_radius, radial_mean
from scherzer.physics.ctf import CtfParameters, ctf

# Exponent of the micrograph's own amplitude spectrum in the filter: -1 whitens fully. In a crowded micrograph the
# spectrum at low frequency is mostly particles, so full whitening divides their signal away and none leaves the ice.
WHITENING_POWER = -0.5
CLIP_SIGMA = 8.0


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
    """

    image: Tensor
    valid: Tensor
    transfer: Tensor


def prepare_working_image(
    small: Tensor, pixel_size_A: float, parameters: CtfParameters | None, diameter_A: float, dirt: Tensor
) -> WorkingImage:
    """Phase-flip and whiten a flat, small micrograph, and blank its dirt.

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
    k_small, flip = _ctf_on_grid(small.shape, pixel_size_A, parameters, small)
    k_max = float(k_small.max())
    spectrum = torch.fft.rfft2(small)
    whitening = _whitening(radial_mean(spectrum.abs() ** 2, k_small, k_max))
    profile = whitening * _band(torch.linspace(0, k_max, len(whitening)), diameter_A, pixel_size_A).to(small.device)
    filtered = torch.fft.irfft2(-spectrum * torch.sign(flip) * at_radius(profile, k_small, k_max), s=small.shape)

    rows, columns = small.shape
    margin = math.ceil(0.85 * diameter_A / pixel_size_A)
    shape = (next_fast_len(rows + margin, real=True), next_fast_len(columns + margin, real=True))
    image, valid = small.new_zeros(shape), small.new_zeros(shape)
    valid[:rows, :columns] = (~dirt).to(small.dtype)
    image[:rows, :columns] = torch.where(dirt, 0.0, filtered)
    k, contrast = _ctf_on_grid(shape, pixel_size_A, parameters, small)
    return WorkingImage(image, valid, contrast.abs() * at_radius(profile, k, k_max))


def _whitening(power: Tensor) -> Tensor:
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
