"""Resolution: masked FSC corrected by phase randomisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.grids import centred_irfftn, centred_rfftn, rfft_radius
from scherzer.fourier.shells import fourier_shell_correlation

RANDOMISE_BELOW = 0.8  # phases are randomised from where the unmasked FSC first falls below this (Chen et al. 2013)
RANDOMISATIONS = 5  # averaged: one draw is noisy in small boxes
CUT_SHELLS = 2  # shells beyond that point before the correction applies


@dataclass(frozen=True)
class FscCurves:
    """FSC curves of two half-maps over the shells 0 ... b / 2.

    Attributes
    ----------
    frequency_per_A : Tensor
        ``(s,)``, 1/A.
    corrected, unmasked, masked, randomised : Tensor
        ``(s,)``: masked and corrected for the mask's own correlation; raw; masked; masked with randomised phases.
    """

    frequency_per_A: Tensor
    corrected: Tensor
    unmasked: Tensor
    masked: Tensor
    randomised: Tensor

    def resolution_A(self, threshold: float) -> float | None:
        """Resolution where the corrected curve first falls below a threshold; None where it never rose above."""
        return crossing_A(self.frequency_per_A, self.corrected, threshold)


def crossing_A(frequency_per_A: Tensor, curve: Tensor, threshold: float) -> float | None:
    """Resolution of the first crossing, linear between shells.

    Returns
    -------
    float or None
        A; the Nyquist resolution for a curve that never falls below; None for one below from the first shell on.
    """
    below = torch.nonzero(curve[1:] < threshold)
    if len(below) == 0:
        return float(1 / frequency_per_A[-1])
    at = int(below[0]) + 1
    if at == 1:
        return None
    high, low = float(curve[at - 1]), float(curve[at])
    part = (high - threshold) / (high - low)
    frequency = float(frequency_per_A[at - 1]) * (1 - part) + float(frequency_per_A[at]) * part
    return 1 / frequency


def randomise_phases(volume: Tensor, from_shell: int, generator: torch.Generator) -> Tensor:
    """Replace the phases of a ``(b, b, b)`` map by random ones from a shell on."""
    return next(randomised_maps(volume, from_shell, generator, 1))


def randomised_maps(volume: Tensor, from_shell: int, generator: torch.Generator, count: int) -> Iterator[Tensor]:
    """Yield copies of a ``(b, b, b)`` map, each with other random phases from a shell on."""
    transform = centred_rfftn(volume)
    beyond = rfft_radius(volume.shape[-1], 3, volume.device) >= from_shell
    amplitude = transform.abs()
    for _ in range(count):
        direction = centred_rfftn(torch.randn(volume.shape, generator=generator).to(volume.device))
        direction = direction * (amplitude / direction.abs().clamp(min=1e-12))
        yield centred_irfftn(torch.where(beyond, direction, transform))


def fsc_curves(
    first: Tensor, second: Tensor, mask: Tensor, pixel_size_A: float, seed: int = 0, draws: int = RANDOMISATIONS
) -> FscCurves:
    """Compare two half-maps.

    Parameters
    ----------
    first, second, mask : Tensor
        ``(b, b, b)``; the half-maps unmasked and unfiltered.
    pixel_size_A : float
        Of the maps.
    seed : int
        Of the random phases.
    draws : int
        So many random phases are averaged over.

    References
    ----------
    Chen et al. 2013, Ultramicroscopy 135, 24, eq. 4.
    """
    box = first.shape[-1]
    unmasked = fourier_shell_correlation(first, second)
    masked = fourier_shell_correlation(first * mask, second * mask)
    falls = torch.nonzero(unmasked[1:] < RANDOMISE_BELOW)
    start = int(falls[0]) + 1 if len(falls) else box // 2
    generator = torch.Generator().manual_seed(seed)
    randomised = torch.zeros_like(masked)
    for pair in zip(*(randomised_maps(volume, start, generator, draws) for volume in (first, second)), strict=True):
        randomised += fourier_shell_correlation(pair[0] * mask, pair[1] * mask) / draws
    shells = torch.arange(len(masked), device=masked.device)
    correction = (masked - randomised) / (1 - randomised).clamp(min=1e-6)
    corrected = torch.where(shells >= start + CUT_SHELLS, correction, masked)
    frequency = shells.double() / (box * pixel_size_A)
    return FscCurves(frequency, corrected, unmasked, masked, randomised)
