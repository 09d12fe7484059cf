"""Normalised cross-correlation over the usable pixels, and its peaks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.particles.blob_templates import radius_grid
from scherzer.particles.duplicates import drop_duplicates

# A window with fewer usable pixels than this part of it says too little about shape.
MIN_USABLE = 0.6


@dataclass(frozen=True)
class LocalSums:
    """Sums over a round window at every pixel, all ``(h, w)``, kept because every template shares them.

    Attributes
    ----------
    window : Tensor
        The soft round window, centred on pixel (0, 0).
    image, valid : Tensor
        Fourier transforms (rfft2) of the image and of the map of usable pixels.
    count, mean, energy : Tensor
        Usable pixels, their mean, and the sum of squares about that mean.
    usable : Tensor
        bool, pixels at which a score is to be trusted.
    """

    window: Tensor
    image: Tensor
    valid: Tensor
    count: Tensor
    mean: Tensor
    energy: Tensor
    usable: Tensor


def local_sums(image: Tensor, valid: Tensor, window_radius_px: float) -> LocalSums:
    """Prepare matching of an image ``(h, w)``, zero where not ``valid``, within a radius."""
    window = torch.sigmoid(2 * (window_radius_px - radius_grid(tuple(image.shape), image)))
    window = torch.where(window > 1e-3, window, 0.0)
    window_hat, image_hat, valid_hat = (torch.fft.rfft2(a) for a in (window, image, valid))
    count = _correlate(window_hat, valid_hat, image.shape).clamp(min=1e-3)
    mean = _correlate(window_hat, image_hat, image.shape) / count
    energy = _correlate(window_hat, torch.fft.rfft2(image**2), image.shape) - count * mean**2
    usable = (valid > 0) & (count > MIN_USABLE * window.sum())
    floor = 1e-3 * float(energy[usable].median()) if bool(usable.any()) else 1.0
    return LocalSums(window, image_hat, valid_hat, count, mean, energy.clamp(min=max(floor, 1e-12)), usable)


def match(sums: LocalSums, template: Tensor) -> Tensor:
    """Correlate a template ``(h, w)`` with the windows about every pixel, each less its mean and of norm 1.

    Both sums run over usable pixels only, so the border and contamination neither help nor harm a particle beside
    them (Padfield 2012, IEEE Trans. Image Process. 21, 2706).

    Returns
    -------
    Tensor
        ``(h, w)``, -1 to 1; -1 where too little of the window is usable.
    """
    shape = template.shape
    shaped = sums.window * (template - (sums.window * template).sum() / sums.window.sum())
    first = _correlate(torch.fft.rfft2(shaped), sums.valid, shape)
    second = _correlate(torch.fft.rfft2(torch.where(sums.window > 0, shaped**2 / sums.window, 0.0)), sums.valid, shape)
    cross = _correlate(torch.fft.rfft2(shaped), sums.image, shape) - first * sums.mean
    norm = (second - first**2 / sums.count).clamp(min=1e-12)
    return torch.where(sums.usable, cross / torch.sqrt(norm * sums.energy), -1.0).clamp(-1, 1)


@dataclass(frozen=True)
class Peaks:
    """Local maxima of a score map, best first: pixel ``row``, ``column`` ``(n,)`` long and ``score`` ``(n,)``."""

    row: Tensor
    column: Tensor
    score: Tensor

    def __getitem__(self, index: Tensor | slice) -> Peaks:
        return Peaks(self.row[index], self.column[index], self.score[index])

    def __len__(self) -> int:
        return len(self.row)


def find_peaks(score: Tensor, distance_px: float, floor: float) -> Peaks:
    """Return the maxima of a map ``(h, w)`` above a floor, each the best within a distance."""
    highest = torch.nn.functional.max_pool2d(score[None, None], 3, stride=1, padding=1)[0, 0]
    where = torch.nonzero((score == highest) & (score > floor))
    value = score[where[:, 0], where[:, 1]]
    keep = drop_duplicates(where[:, 1], where[:, 0], value, distance_px)
    where, value = where[keep], value[keep]
    order = torch.argsort(value, descending=True, stable=True)
    return Peaks(where[order, 0], where[order, 1], value[order])


def subpixel(score: Tensor, peaks: Peaks) -> tuple[Tensor, Tensor]:
    """Fit a parabola along each axis through a peak and its neighbours; returns rows and columns ``(n,)``."""

    def vertex(before: Tensor, at: Tensor, after: Tensor) -> Tensor:
        bend = before - 2 * at + after
        step = 0.5 * (before - after) / torch.where(bend < -1e-9, bend, -1.0)
        return torch.where(bend < -1e-9, step, 0.0).clamp(-0.5, 0.5)

    h, w = score.shape
    row, column = peaks.row, peaks.column
    at = score[row, column]
    move_row = vertex(score[(row - 1) % h, column], at, score[(row + 1) % h, column])
    move_column = vertex(score[row, (column - 1) % w], at, score[row, (column + 1) % w])
    return row + move_row, column + move_column


def _correlate(kernel_hat: Tensor, image_hat: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Sum of kernel times image about every pixel, from their transforms."""
    sums: Tensor = torch.fft.irfft2(kernel_hat.conj() * image_hat, s=tuple(shape))
    return sums
