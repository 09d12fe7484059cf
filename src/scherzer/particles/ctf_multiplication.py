"""Multiply particle images by their CTF in a field wide enough for what defocus has carried away, then crop them."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.fourier.crop import even_fast_length
from scherzer.physics.ctf import CtfParameters, ctf


def field_size_px(
    raw_box_px: int, pixel_size_A: float, diameter_A: float, max_defocus_A: float, wavelength_A: float, finest_A: float
) -> int:
    """Return the even side of the field out of which defocus carries nothing of a resolution, px.

    It is the diameter and ``2 wavelength defocus / finest_A``, and never less than the box; see
    :func:`scherzer.particles.box_size.box_size_px`.
    """
    side_A = diameter_A + 2 * wavelength_A * max_defocus_A / finest_A
    return max(raw_box_px, even_fast_length(side_A / pixel_size_A))


def multiplied_and_cropped(images: Tensor, parameters: CtfParameters, pixel_size_A: float, box_px: int) -> Tensor:
    """Multiply images ``(n, f, f)`` of one micrograph by its CTF and crop them to their middle ``(n, box_px, box_px)``.

    Parameters
    ----------
    images : Tensor
        With a mean of 0 outside the particle.
    parameters : CtfParameters
        ``(1,)``.
    pixel_size_A : float
        Of the images.
    box_px : int
        Even, at most f.
    """
    field = images.shape[-1]
    ky = torch.fft.fftfreq(field, pixel_size_A, device=images.device)[:, None]
    kx = torch.fft.rfftfreq(field, pixel_size_A, device=images.device)
    transfer = ctf(parameters.to(images.device), kx, ky)
    multiplied: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=(field, field))
    start = field // 2 - box_px // 2
    return multiplied[:, start : start + box_px, start : start + box_px]
