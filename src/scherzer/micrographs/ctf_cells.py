"""A power spectrum as cells small enough that the CTF's phase hardly changes within one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.spectrum import Band, Spectrum

# Change of the rings' phase across a cell, along and across the frequency, rad: it costs 2 % of their depth.
PHASE_PER_CELL = 0.7
# Astigmatism that a fit may find beyond that from which it starts, A.
MORE_ASTIGMATISM_A = 300.0
MIN_SECTORS, MAX_SECTORS = 36, 180
MAX_BINS = 1500


@dataclass(frozen=True)
class Cells:
    """Power averaged over cells of direction and frequency, with the mean place of their pixels; ``(sectors, m)``.

    Attributes
    ----------
    power : Tensor
        Mean power, in units of the band's mean; 1 where there are no pixels.
    k2 : Tensor
        Squared frequency, 1/A^2.
    angle_rad : Tensor
        Direction.
    count : Tensor
        Pixels; 0 where there are none.
    """

    power: Tensor
    k2: Tensor
    angle_rad: Tensor
    count: Tensor


@dataclass(frozen=True)
class Layout:
    """Which pixels of a spectrum belong to which cell; for any number of spectra of the same frequencies.

    Attributes
    ----------
    pixels, index : Tensor
        ``(n,)``: place of each pixel of the band in the flattened spectrum, and of its cell in the flattened cells.
    k2, angle_rad, count : Tensor
        As in :class:`Cells`.
    """

    pixels: Tensor
    index: Tensor
    k2: Tensor
    angle_rad: Tensor
    count: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over each cell of the values ``(n,)`` of the band's pixels; 0 where there are none."""
        total = torch.bincount(self.index, values.double(), minlength=self.count.numel())
        return total.reshape(self.count.shape) / self.count.clamp_min(1)

    def cells(self, power: Tensor) -> Cells:
        """Average a spectrum's power ``(h, w)``."""
        mean = self.mean(power.flatten()[self.pixels])
        scale = ((mean * self.count).sum() / self.count.sum()).clamp_min(1e-300)
        return Cells(torch.where(self.count > 0, mean / scale, 1.0), self.k2, self.angle_rad, self.count)


def layout(pixels: Band, lowest_per_A: float, highest_per_A: float, sectors: int, bins: int) -> Layout:
    """Divide a part of a band into cells, even in direction and in frequency."""
    used = pixels.between(lowest_per_A, highest_per_A)
    width = (highest_per_A - lowest_per_A) / bins
    at = ((used.frequency_per_A - lowest_per_A) / width).long().clamp(0, bins - 1)
    index = (used.angle_rad / torch.pi * sectors).long().clamp(max=sectors - 1) * bins + at
    count = torch.bincount(index, minlength=sectors * bins).double().reshape(sectors, bins)
    empty = Layout(used.pixels, index, count, count, count)
    return Layout(used.pixels, index, empty.mean(used.frequency_per_A.square()), empty.mean(used.angle_rad), count)


def cell_numbers(
    spectrum: Spectrum,
    lowest_per_A: float,
    highest_per_A: float,
    wavelength_A: float,
    defocus_A: float,
    astigmatism_A: float,
) -> tuple[int, int]:
    """Return how many sectors and bins keep the change of phase within a cell small at the end of the band."""
    turn = 2 * math.pi * wavelength_A * highest_per_A**2  # phase of the rings per angstrom of defocus
    sectors = math.ceil(math.pi * turn * (astigmatism_A + MORE_ASTIGMATISM_A) / PHASE_PER_CELL)
    per_frequency = 2 * turn * (defocus_A + astigmatism_A / 2) / highest_per_A
    wanted = (highest_per_A - lowest_per_A) * per_frequency / PHASE_PER_CELL
    there = (highest_per_A - lowest_per_A) * spectrum.length_A
    bins = round(min(max(wanted, 60.0), max(there, 12.0), MAX_BINS))
    return min(max(sectors, MIN_SECTORS), MAX_SECTORS), bins
