"""A picture of a spectrum beside its fit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.ctf_search import Astigmatic
from scherzer.micrographs.fit_resolution import CtfProfile, frequency_of_equal_phase
from scherzer.micrographs.ring_model import Aberration, FlatSpectrum
from scherzer.micrographs.spectrum import Spectrum

# Largest side of a picture; finer spectra are averaged.
PICTURE_PX = 512


@dataclass(frozen=True)
class RingPicture:
    """Values ``(s, s)`` in 0 to 1 and the pixel size that puts the edge at ``1 / (2 pixel_size_A)``."""

    values: Tensor
    pixel_size_A: float


def centred_power(spectrum: Spectrum) -> tuple[Tensor, Tensor, Tensor]:
    """Return the whole plane of a spectrum on a square grid, with its frequencies; each ``(s, s)``, 0 at ``s // 2``."""
    size = min(PICTURE_PX, 2 * int(spectrum.edge_per_A * spectrum.length_A + 1e-3))
    step = 2 * spectrum.edge_per_A / size
    half = size // 2
    row = torch.round(spectrum.ky / step).long() + half
    column = torch.round(spectrum.kx / step).long()
    rows, columns = (row >= 0) & (row < size), column < half
    # Rows first, then columns: sums of whole rows are quick.
    by_row = torch.zeros(size, len(column), device=row.device).index_add_(0, row[rows], spectrum.power[rows])
    right = torch.zeros(half, size, device=row.device).index_add_(0, column[columns], by_row.T[columns]).T
    of_row, of_column = torch.bincount(row[rows], minlength=size), torch.bincount(column[columns], minlength=half)
    right = right / (of_row[:, None] * of_column).clamp_min(1)
    # The other half is this one turned by half a turn; the outermost row and column have no partner.
    turned = torch.cat([right[:1], right[1:].flip(0)])
    left = torch.cat([turned[:, -1:], turned[:, 1:].flip(1)], dim=1)
    axis = (torch.arange(size, device=right.device) - half) * step
    ky, kx = torch.meshgrid(axis, axis, indexing="ij")
    return torch.cat([left, right], dim=1), kx, ky


def interpolate(at_per_A: Tensor, frequency_per_A: Tensor, values: Tensor) -> Tensor:
    """Interpolate ``(m,)`` values linearly at frequencies of any shape, constant beyond both ends."""
    step = frequency_per_A[1] - frequency_per_A[0]
    position = ((at_per_A - frequency_per_A[0]) / step).clamp(0, len(values) - 1.001)
    lower = position.long()
    share = position - lower
    return values[lower] * (1 - share) + values[lower + 1] * share


def local_amplitude(values: Tensor) -> Tensor:
    """Return the amplitude of an oscillation, from its mean square over a tenth of its ``(m,)`` samples."""
    width = 2 * (len(values) // 20) + 1
    square = torch.nn.functional.avg_pool1d(values.square()[None, None], width, 1, width // 2, count_include_pad=False)
    return torch.sqrt(2 * square[0, 0]).clamp_min(1e-6)


def ring_picture(
    spectrum: Spectrum,
    flat: FlatSpectrum,
    profile: CtfProfile,
    optics: Aberration,
    defocus: Astigmatic,
    cs_wavelength2_A: float,
    fit_resolution_A: float,
) -> RingPicture:
    """Draw the data in the left half, their equal-phase average in the upper right quarter, the fit in the lower right.

    Data have their background removed, are smoothed over 3 px and scaled at each frequency to the depth of rings and
    noise together, so that rings show at all frequencies. The model ends at the fit resolution.
    """
    power, kx, ky = centred_power(spectrum)
    radius = torch.hypot(kx, ky)
    k = flat.frequency_per_A
    inside = (radius >= k[0]) & (radius <= k[-1])

    relative = power / torch.exp(interpolate(radius, k, flat.background.mean(0))).clamp_min(1e-30) - 1
    smooth = torch.nn.functional.avg_pool2d(relative[None, None], 3, 1, 1)[0, 0]
    spread = torch.sqrt(profile.model.square() * 2 + smooth[radius > 0.8 * k[-1]].var())
    data = smooth / (2 * interpolate(radius, k, spread)).clamp_min(1e-6)

    directions = defocus.towards(torch.atan2(ky, kx))
    at = frequency_of_equal_phase(radius, directions, torch.full_like(radius, defocus.mean_A), cs_wavelength2_A)
    average = interpolate(at, k, profile.data / local_amplitude(profile.data))
    phase = interpolate(at, k, optics.per_defocus * defocus.mean_A + optics.rest_rad)
    model = -torch.cos(2 * phase) * (radius <= 1 / fit_resolution_A)

    values = torch.where(kx < 0, data, torch.where(ky < 0, average, model) * 0.8)
    values = (0.5 + 0.5 * torch.where(inside, values, torch.zeros_like(values))).clamp(0, 1)
    return RingPicture(values, 1 / (2 * spectrum.edge_per_A))
