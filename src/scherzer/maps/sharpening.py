"""Guinier plot, B-factor and sharpening."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.filters import apply_radial
from scherzer.fourier.grids import centred_rfftn
from scherzer.fourier.shells import shell_mean

FIT_FROM_A = 10.0  # coarser than this the spectrum is shape and solvent, not atoms (Rosenthal and Henderson 2003)
COARSEST_FOR_FIT_A = 7.5  # a window from 10 A to less than this is too short for a slope
FEWEST_SHELLS = 5


@dataclass(frozen=True)
class Guinier:
    """Logarithm of a map's mean amplitude against the square of frequency.

    Attributes
    ----------
    inverse_square_per_A2, log_amplitude : Tensor
        ``(s,)``; the amplitude is weighted by the FSC.
    bfactor_A2 : float or None
        Four times the slope, negative for a falling spectrum; None where the window is too short.
    window_A : tuple of float or None
        Resolutions between which the line was fitted.
    reason : str
        Why there is no B-factor, else empty.
    """

    inverse_square_per_A2: Tensor
    log_amplitude: Tensor
    bfactor_A2: float | None
    window_A: tuple[float, float] | None
    reason: str


def figure_of_merit(fsc: Tensor) -> Tensor:
    """Expected correlation of the full map with the truth, from the halves' FSC (Rosenthal and Henderson 2003)."""
    clean = fsc.clamp(0, 1)
    return torch.sqrt(2 * clean / (1 + clean))


def guinier(volume: Tensor, pixel_size_A: float, fsc: Tensor, resolution_A: float | None) -> Guinier:
    """Fit the fall-off of a map.

    Parameters
    ----------
    volume : Tensor
        ``(b, b, b)`` mean of the half-maps, masked.
    fsc : Tensor
        ``(b // 2 + 1,)`` corrected FSC of the halves.
    resolution_A : float or None
        At FSC = 0.143.
    """
    box = volume.shape[-1]
    frequency = torch.arange(box // 2 + 1, device=volume.device, dtype=torch.float64) / (box * pixel_size_A)
    amplitude = shell_mean(centred_rfftn(volume).abs(), 3) * figure_of_merit(fsc.double())
    square, logarithm = frequency**2, torch.log(amplitude.clamp(min=1e-30))
    if resolution_A is None or resolution_A > COARSEST_FOR_FIT_A:
        limit = "not known" if resolution_A is None else f"{resolution_A:.1f} A"
        reason = f"the resolution ({limit}) leaves no window beyond {FIT_FROM_A:.0f} A to fit"
        return Guinier(square, logarithm, None, None, reason)
    inside = (frequency >= 1 / FIT_FROM_A) & (frequency <= 1 / resolution_A) & (amplitude > 0)
    if int(inside.sum()) < FEWEST_SHELLS:
        return Guinier(
            square, logarithm, None, None, f"only {int(inside.sum())} shells between 10 A and the resolution"
        )
    x, y = square[inside], logarithm[inside]
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return Guinier(square, logarithm, float(4 * slope), (FIT_FROM_A, resolution_A), "")


def sharpen(
    volume: Tensor, pixel_size_A: float, bfactor_A2: float | None, fsc: Tensor, resolution_A: float | None
) -> Tensor:
    """Undo the fall-off, weight by the FSC and cut at the resolution.

    Without a B-factor the map is only weighted and cut.
    """
    box = volume.shape[-1]
    frequency = torch.arange(box // 2 + 1, device=volume.device, dtype=torch.float64) / (box * pixel_size_A)
    curve = figure_of_merit(fsc.double())
    if bfactor_A2 is not None:
        curve = curve * torch.exp(-bfactor_A2 * frequency**2 / 4)
    if resolution_A is not None:
        curve = curve * (frequency <= 1 / resolution_A)
    return apply_radial(volume, curve)
