"""Whether the signal has been smeared along one direction, as by drift."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.micrographs.contrast.whitening import TileSpectrum

# The particles' own band: coarse enough that something outlasts a heavy drift, and that astigmatism changes little.
BAND_A = (100.0, 20.0)
SECTORS = 36
# Sectors averaged, over the half turn: 35 degrees, about the width of what a drift over twice the band's end leaves.
WINDOW = 7
# Pixels of the central cross left out, where the tiles' edges and the detector's rows and columns leave their marks.
CROSS_PX = 1.5
SIGNIFICANT = 2.0


def smearing(spectrum: TileSpectrum, noise_floor: float) -> float:
    """Return which share of the signal is missing where least is left, compared with where most is.

    0 for an even spectrum and for one without signal, towards 1 where a direction has lost everything. Drift over a
    length L multiplies the spectrum by ``sinc^2(k L)`` along its direction. Unlike the two-fold harmonic of the power
    (:func:`scherzer.micrographs.fit_resolution.directional_loss`) it is not misled by a drift so long that only a thin
    wedge across it is left. Two standard deviations of the powers are granted to an even spectrum.
    """
    side = spectrum.power.shape[0]
    step = 2 * spectrum.nyquist_per_A / side
    ky = torch.fft.fftfreq(side, 1 / side, device=spectrum.power.device)[:, None].expand_as(spectrum.power)
    kx = torch.arange(side // 2 + 1, device=spectrum.power.device)[None, :].expand_as(spectrum.power)
    k = torch.hypot(ky, kx) * step
    inside = (k >= 1 / BAND_A[0]) & (k <= min(1 / BAND_A[1], 0.7 * spectrum.nyquist_per_A))
    inside &= (kx > CROSS_PX) & (ky.abs() > CROSS_PX)
    sector = (torch.remainder(torch.atan2(ky, kx.float()), torch.pi) / torch.pi * SECTORS).long().clamp(max=SECTORS - 1)
    power = spectrum.power[inside] / noise_floor
    count = _windowed(torch.ones_like(power), sector[inside]).clamp(min=1)
    excess = _windowed(power - 1, sector[inside]) / count
    # A spectrum's pixel scatters as much as it measures; the taper and overlaps leave about half of them independent.
    error = _windowed(power.square(), sector[inside]).sqrt() / count / (0.5 * spectrum.tiles) ** 0.5
    top, bottom = int(excess.argmax()), int(excess.argmin())
    most = float(excess[top] - SIGNIFICANT * error[top])
    least = max(0.0, float(excess[bottom] + SIGNIFICANT * error[bottom]))
    return 0.0 if most <= least else 1 - least / most


def _windowed(values: Tensor, sector: Tensor) -> Tensor:
    """Sum values by sector and over a window of sectors, which closes on itself after the half turn."""
    summed = torch.zeros(SECTORS, device=values.device).index_add_(0, sector, values)
    return torch.stack([summed.roll(offset) for offset in range(-(WINDOW // 2), WINDOW // 2 + 1)]).sum(0)
