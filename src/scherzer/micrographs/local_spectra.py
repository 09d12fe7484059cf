"""Power spectra of small tiles: what the ice is like from place to place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

# Side of the tiles: about a grain of ice, whose reflections are then as sharp and as strong as they get. Tiles overlap
# by half.
TILE_A = 300.0
# Bands, A: the rings of the CTF; noise; the strongest rings of ice (hexagonal ice has reflections at 3.91, 3.67 and
# 3.45 A, cubic ice at 3.67 A, vitreous ice a ring near 3.7 A) and what lies beside them.
DETAIL_BAND_A = (20.0, 8.0)
NOISE_BAND_A = (7.0, 5.0)
ICE_BAND_A = (3.90, 3.60)
BESIDE_ICE_BANDS_A = ((4.6, 4.1), (3.4, 3.2))
REFLECTIONS_A = (3.98, 3.38)
# Sampling folds a reflection beyond the Nyquist frequency back into the image, dimmed. Looked for so far beyond it, in
# units of it, and not where the particles' own signal may be sharp, A.
FOLDED_FROM, COARSEST_FOLDED_A = 1.5, 6.0
# Frequencies next to the axes hold the camera's rows and columns; the last ones what resampling leaves of the edge.
CROSS_CELLS, USABLE_EDGE = 2, 0.97
# Noise is measured in rings of so many cells' width, of which each must hold enough for its median.
RING_CELLS, FEWEST_CELLS = 2, 150


@dataclass(frozen=True)
class LocalSpectra:
    """Numbers of each tile's spectrum, ``(rows, columns)``; NaN in bands that the image does not reach.

    Attributes
    ----------
    detail, noise, ice, beside_coarse, beside_fine : Tensor
        Mean power of the bands.
    reflection : Tensor
        Highest power among the frequencies of ice's reflections, over the local mean of the noise.
    reflection_A : Tensor
        Its spacing.
    searched : int
        Frequencies of one tile among which it was found; 0 where none of them is in the image.
    """

    detail: Tensor
    noise: Tensor
    ice: Tensor
    beside_coarse: Tensor
    beside_fine: Tensor
    reflection: Tensor
    reflection_A: Tensor
    searched: int


def local_spectra(image: Tensor, pixel_size_A: float) -> LocalSpectra:
    """Measure the spectra of all tiles of a micrograph.

    Parameters
    ----------
    image : Tensor
        ``(h, w)`` in any grey levels.
    pixel_size_A : float
        Pixel size.
    """
    height, width = image.shape
    side = min(next_fast_len(max(16, round(TILE_A / pixel_size_A)), real=True), height, width)
    side -= side % 2
    plane = _plane(side, pixel_size_A, image.device)
    position = torch.arange(side, device=image.device, dtype=torch.float32) + 0.5
    taper = torch.sin(torch.pi * position / side)
    window = taper[:, None] * taper
    rows: list[tuple[Tensor, ...]] = []
    for y in _starts(height, side):
        tiles = torch.stack([image[y : y + side, x : x + side] for x in _starts(width, side)])
        tiles = (tiles - tiles.mean((1, 2), keepdim=True)) * window
        transforms = torch.fft.rfft2(tiles, norm="ortho")
        rows.append(plane.measure((transforms.real.square() + transforms.imag.square()).flatten(1)))
    detail, noise, ice, beside_coarse, beside_fine, reflection, reflection_A = (
        torch.stack(values) for values in zip(*rows, strict=True)
    )
    return LocalSpectra(
        detail, noise, ice, beside_coarse, beside_fine, reflection, reflection_A, len(plane.reflections)
    )


def _starts(length: int, side: int) -> list[int]:
    tiles = max(1, math.ceil((length - side) / (side / 2)) + 1)
    return [round(index * (length - side) / max(1, tiles - 1)) for index in range(tiles)]


@dataclass(frozen=True)
class _Plane:
    """Frequencies of one tile's half plane, flattened.

    Attributes
    ----------
    bands : list of Tensor
        Indices of the frequencies of each band; empty where the image does not reach all of it.
    reflections, spacing_A, ring_of : Tensor
        Indices of the frequencies searched, the spacing that each stands for, and its ring.
    rings : list of Tensor
        Indices of the frequencies in each ring.
    """

    bands: list[Tensor]
    reflections: Tensor
    spacing_A: Tensor
    ring_of: Tensor
    rings: list[Tensor]

    def measure(self, power: Tensor) -> tuple[Tensor, ...]:
        """Return the numbers of `LocalSpectra` for ``(n, cells)``, each ``(n,)``."""
        nothing = torch.full((len(power),), math.nan, device=power.device)
        means = [power[:, band].mean(1) if len(band) else nothing for band in self.bands]
        if not len(self.reflections):
            return *means, nothing, nothing
        # Noise power is distributed exponentially: a median, which spots do not reach, is ln 2 of the mean.
        noise = torch.stack([power[:, ring].median(1).values for ring in self.rings], 1) / math.log(2)
        heights = power[:, self.reflections] / noise[:, self.ring_of].clamp_min(torch.finfo(power.dtype).tiny)
        highest, which = heights.max(1)
        return *means, highest, self.spacing_A[which]


def _plane(side: int, pixel_size_A: float, device: torch.device) -> _Plane:
    rows = torch.fft.fftfreq(side, 1 / side, device=device)[:, None]
    columns = torch.arange(side // 2 + 1, device=device, dtype=torch.float32)[None, :]
    rows, columns = (axis.flatten() for axis in torch.broadcast_tensors(rows, columns))
    clean = (rows.abs() > CROSS_CELLS) & (columns > CROSS_CELLS)
    clean &= torch.maximum(rows.abs(), columns) < USABLE_EDGE * side / 2
    cells = torch.hypot(rows, columns)
    k = cells / (side * pixel_size_A)
    nyquist = 0.5 / pixel_size_A
    bands = []
    for coarse_A, fine_A in (DETAIL_BAND_A, NOISE_BAND_A, ICE_BAND_A, *BESIDE_ICE_BANDS_A):
        inside = clean & (k >= 1 / coarse_A) & (k <= 1 / fine_A) & (1 / fine_A <= 0.98 * nyquist)
        bands.append(inside.nonzero()[:, 0])
    true_k = _true_frequency(rows / (side * pixel_size_A), columns / (side * pixel_size_A), k, pixel_size_A)
    ring = (cells / RING_CELLS).round().long()
    held = torch.bincount(ring[clean], minlength=int(ring.max()) + 1)
    searched = (clean & torch.isfinite(true_k) & (held[ring] >= FEWEST_CELLS)).nonzero()[:, 0]
    numbers, ring_of = torch.unique(ring[searched], return_inverse=True)
    return _Plane(
        bands=bands,
        reflections=searched,
        spacing_A=1 / true_k[searched],
        ring_of=ring_of,
        rings=[(clean & (ring == number)).nonzero()[:, 0] for number in numbers],
    )


def _true_frequency(ky: Tensor, kx: Tensor, k: Tensor, pixel_size_A: float) -> Tensor:
    """Return the frequency of the reflection of ice that would be seen at each frequency; NaN where none would."""
    found = torch.full_like(k, math.nan)
    for fold_y in (-1, 1, 0):
        for fold_x in (-1, 1, 0):
            y, x = ky + fold_y / pixel_size_A, kx + fold_x / pixel_size_A
            true = torch.hypot(y, x)
            here = (true >= 1 / REFLECTIONS_A[0]) & (true <= 1 / REFLECTIONS_A[1])
            if fold_y or fold_x:
                here &= torch.maximum(y.abs(), x.abs()) <= FOLDED_FROM * 0.5 / pixel_size_A
                here &= k >= 1 / COARSEST_FOLDED_A
            found = torch.where(here, true, found)
    return found
