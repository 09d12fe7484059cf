"""The log likelihood of images given references, as two matrix products.

An image is ``X = c S(t) P + N`` on the pixels of a band: CTF times shifted reference plus Gaussian noise of variance
``sigma^2(shell)`` per complex pixel. Up to what depends on the image alone, its log likelihood is

    2 Re sum_m conj(P_m) conj(S_m) c_m X_m / sigma_m^2  -  sum_m |P_m|^2 c_m^2 / sigma_m^2,

linear in ``P`` and in ``|P|^2``. Scores are therefore the gain over "there is no particle", and 0 for an empty
reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from scherzer.fourier.shifts import phase_ramp
from scherzer.likelihood.band import Band
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.physics.ctf import ctf
from scherzer.physics.premultiplied import whitened_ctf


@dataclass(frozen=True)
class ScoredImages:
    """What the score needs of n images on a band of m pixels.

    Attributes
    ----------
    band : Band
        The pixels.
    data : Tensor
        ``(n, m)`` complex64, ``c X / sigma^2``, moved back by ``offset``.
    power : Tensor
        ``(n, m)`` float32, ``c^2 / sigma^2``.
    """

    band: Band
    data: Tensor
    power: Tensor

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Tensor | slice) -> ScoredImages:
        return ScoredImages(self.band, self.data[index], self.power[index])

    def within(self, radius: float) -> ScoredImages:
        """Return the same images on the part of the band up to a radius, px."""
        part = self.band.within(radius)
        return ScoredImages(part, self.data[:, : len(part)], self.power[:, : len(part)])

    def shifted_back(self, shift_px: Tensor) -> ScoredImages:
        """Return the images moved by minus ``(n, 2)`` px, so that particles found at ``shift_px`` are centred."""
        back = phase_ramp(-shift_px / self.band.box, self.band.kx, self.band.ky)
        return ScoredImages(self.band, self.data * back, self.power)


def band_ctf(particles: ParticleSet, band: Band) -> Tensor:
    """Evaluate the CTF of particles on a band, times their grey scale: ``(n, m)``."""
    kx, ky = band.kx / particles.extent_A, band.ky / particles.extent_A
    if particles.premultiplied:
        transfer = whitened_ctf(particles.ctf, kx, ky, particles.extent_A)
    else:
        transfer = ctf(particles.ctf, kx, ky)
    return transfer * particles.scale[:, None]


def prepare(particles: ParticleSet, band: Band, noise: Tensor) -> ScoredImages:
    """Weight images by CTF and noise.

    Parameters
    ----------
    particles : ParticleSet
        n particles.
    band : Band
        m pixels.
    noise : Tensor
        ``(shells,)`` noise variance of a Fourier pixel per shell, or ``(g, shells)`` of each optics group.
    """
    transfer = band_ctf(particles, band)
    spectrum = noise[..., band.shell]
    weight = transfer / (spectrum[particles.optics_group] if noise.ndim == 2 else spectrum)
    return ScoredImages(band, band.take(particles.spectra()) * weight, transfer * weight)


def cross_term(images: ScoredImages, references: Tensor, shifts_px: Tensor) -> Tensor:
    """Score images against their own few references at all shifts, in float32.

    Parameters
    ----------
    images : ScoredImages
        n images.
    references : Tensor
        ``(n, k, m)`` complex64.
    shifts_px : Tensor
        ``(t, 2)`` px.

    Returns
    -------
    Tensor
        ``(n, k, t)``.
    """
    ramps = phase_ramp(-shifts_px / images.band.box, images.band.kx, images.band.ky)
    return moved_term(images.data[:, None, :] * ramps, images.power, references)


def moved_term(moved: Tensor, power: Tensor, references: Tensor) -> Tensor:
    """:func:`cross_term` of ``(n, t, m)`` data that were moved back by every shift."""
    real = torch.view_as_real(references).flatten(2)
    cross = torch.view_as_real(moved).flatten(2) @ real.mT
    weight = power.sqrt().repeat_interleave(2, dim=1)[:, None]
    return 2 * cross.mT - (real * weight).square_().sum(2)[..., None]


@lru_cache(maxsize=8)
def gemm_dtype(device: str) -> torch.dtype:
    """Return bfloat16 where the processor multiplies it natively (three to four times faster), else float32.

    Rounding to bfloat16 moves a score by 0.3 % of the noise of its cross term, which is safe for choosing candidates
    that are then scored again in float32. The choice follows from the processor, not from a timing, so that a rerun
    takes the same path.
    """
    if device.startswith("cuda"):
        return torch.bfloat16
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return torch.bfloat16 if native is not None and native() else torch.float32
