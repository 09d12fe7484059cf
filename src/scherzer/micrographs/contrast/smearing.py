"""Whether the signal has been smeared along one direction, as by drift."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from scherzer.micrographs.contrast.areas import near_edges
from scherzer.micrographs.contrast.whitening import WORKING_PIXEL_A, TileSpectrum, tile_spectrum

# The particles' own band: coarse enough that something outlasts a heavy drift, and that astigmatism changes little.
BAND_A = (100.0, 20.0)
SECTORS = 36
# Sectors averaged, over the half turn: 35 degrees, about the width of what a drift over twice the band's end leaves.
WINDOW = 7
# Pixels of the central cross left out, where the tiles' edges and the detector's rows and columns leave their marks.
CROSS_PX = 1.5
SIGNIFICANT = 2.0
# Noise at low frequency is known from that at high frequency only, and coincidences on the camera take up to a tenth of
# it away: less signal than this, in units of the noise, has no direction that could be told.
LEAST_SIGNAL = 0.15
# What is cut out fades over so many working pixels; where more than this is cut out, too little is left to judge by.
FADE_PX, MOST_CUT = 9, 0.6


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
    return 0.0 if most <= max(least, LEAST_SIGNAL) else 1 - least / most


def _windowed(values: Tensor, sector: Tensor) -> Tensor:
    """Sum values by sector and over a window of sectors, which closes on itself after the half turn."""
    summed = torch.zeros(SECTORS, device=values.device).index_add_(0, sector, values)
    return torch.stack([summed.roll(offset) for offset in range(-(WINDOW // 2), WINDOW // 2 + 1)]).sum(0)


def smearing_between_edges(whitened: Tensor, band: Tensor) -> float:
    """Return the same for an image without what is near strong edges and bodies.

    The rim of a hole, of carbon or of a contaminant scatters across itself, as a spectrum smeared along it does. Drift
    is everywhere.

    Parameters
    ----------
    whitened : Tensor
        ``(h, w)``, a whitened image.
    band : Tensor
        Its particle band.

    Returns
    -------
    float
        1 where too little is left to judge by.
    """
    keep = (~near_edges(band, both_signs=True)).float()
    if float(keep.mean()) < 1 - MOST_CUT:
        return 1.0
    faded = torch.nn.functional.avg_pool2d(keep[None, None], FADE_PX, 1, FADE_PX // 2, count_include_pad=False)[0, 0]
    spectrum = tile_spectrum(whitened * faded, WORKING_PIXEL_A)
    return smearing(replace(spectrum, power=spectrum.power / faded.square().mean()), 1.0)
