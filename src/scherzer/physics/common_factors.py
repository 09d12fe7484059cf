"""A few functions of frequency that all atoms of a particle share.

The form factors of hundreds of kinds of atom (element and B-factor) resemble each other, so each is close to a sum of
three or four common functions. Atoms are then added to that many grids, and not to one grid a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.physics.scattering import AtomKind, Scatterers, resting_form_factor_V_A3

# Error of a structure factor, root mean square over the band, that the sum may have.
TOLERANCE = 0.003
FITTED, TABULATED = 64, 1024
# The common functions are tabulated so many times further than the band: to the corners of a cube.
REACH = 1.75


@dataclass(frozen=True)
class CommonFactors:
    """Form factors as sums of common functions: ``f_j(k) = sum_c shares[j, c] * curves[c](k)``.

    Attributes
    ----------
    shares : Tensor
        ``(kinds, c)``.
    curves : Tensor
        ``(c, samples)``, V A^3, at even steps of frequency from 0.
    table_end : float
        Frequency of the last sample, 1/A.
    """

    shares: Tensor
    curves: Tensor
    table_end: float

    def weights(self, particle: Scatterers) -> Tensor:
        """Return how much of each common function each atom has, ``(n, c)``."""
        return self.shares[particle.kind_of] * particle.occupancies[:, None]

    def at(self, k: Tensor, number: int) -> Tensor:
        """Return one common function at frequencies k (1/A)."""
        position = k * ((self.curves.shape[1] - 1) / self.table_end)
        low = position.floor().clamp(max=self.curves.shape[1] - 2).long()
        curve = self.curves[number]
        return torch.lerp(curve[low], curve[low + 1], position - low)


def common_factors(particle: Scatterers, band_end: float, in_ice: bool = True) -> CommonFactors:
    """Find as few common functions as describe the structure factors of a particle within :data:`TOLERANCE`.

    Parameters
    ----------
    particle : Scatterers
        Atoms.
    band_end : float
        The error is that of frequencies up to here, 1/A.
    in_ice : bool
        See :meth:`scherzer.physics.scattering.AtomKind.form_factor_V_A3`.

    Notes
    -----
    Atoms scatter independently at high frequency, so the squared error of a structure factor is the sum of the squared
    errors of all atoms' form factors. The singular vectors of the form factors, each weighted by its number of atoms
    and relative to the power of all atoms at that frequency, make it smallest.
    """
    power = torch.bincount(particle.kind_of, particle.occupancies**2, minlength=len(particle.kinds)).double().numpy()
    number = np.sqrt(power)[:, None]
    fitted = number * _form_factors(particle.kinds, np.linspace(0, band_end, FITTED), in_ice)
    left, size, _ = np.linalg.svd(fitted / np.linalg.norm(fitted, axis=0), full_matrices=False)
    missing = np.sqrt((size[::-1] ** 2).cumsum()[::-1] / FITTED)
    count = max(1, int((missing > TOLERANCE).sum()))
    left, size = left[:, :count], size[:count]
    shares = left * size / np.maximum(number, np.finfo(float).tiny)
    table_end = REACH * band_end
    table = _form_factors(particle.kinds, np.linspace(0, table_end, TABULATED), in_ice)
    curves = (left * number / size).T @ table
    return CommonFactors(torch.from_numpy(shares).float(), torch.from_numpy(curves).float(), table_end)


def _form_factors(kinds: Sequence[AtomKind], k: NDArray[np.float64], in_ice: bool) -> NDArray[np.float64]:
    """Form factor of every kind, ``(kinds, samples)``."""
    k2 = torch.from_numpy(k) ** 2
    names = sorted({(kind.element, kind.hydrogens) for kind in kinds})
    resting = torch.stack([resting_form_factor_V_A3(*name, k2, in_ice) for name in names])
    rows = torch.tensor([names.index((kind.element, kind.hydrogens)) for kind in kinds])
    b_factors_A2 = torch.tensor([kind.b_factor_A2 for kind in kinds], dtype=k2.dtype)
    found = resting[rows] * torch.exp(-b_factors_A2[:, None] / 4 * k2)
    return np.asarray(found.numpy())
