"""Electron scattering by atoms: form factors, and a model's atoms sorted by them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import gemmi
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# h^2 / (2 pi m e): an atom's potential is this times the transform of its scattering factor (Kirkland 2010, eq. 5.9).
V_A2_PER_A = 47.878
# Hydrogens are seldom in a model; a protein has about so many on each heavier atom (1.55 a carbon in all).
HYDROGENS = {"C": 1.2, "N": 1.2, "O": 0.2, "S": 0.3}
# Protein takes 1.23 A^3 a dalton, or 17.3 A^3 for each heavy atom with its hydrogens.
DISPLACED_A3 = 17.3
# Vitreous ice at 0.93 g/cm^3.
WATERS_PER_A3 = 0.0311
# Atoms whose B-factors round to the same multiple of this share one form factor: 0.5 % of the amplitude at 2 A.
B_STEP_A2 = 0.5


class AtomTable(Protocol):
    """Atoms as :class:`scherzer.formats.models.Atoms` holds them."""

    @property
    def positions_A(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def elements(self) -> NDArray[Any]: ...  # noqa: D102
    @property
    def b_factors_A2(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def occupancies(self) -> NDArray[np.float64]: ...  # noqa: D102


@dataclass(frozen=True)
class AtomKind:
    """What atoms of one form factor have in common.

    Attributes
    ----------
    element : str
        Chemical symbol.
    b_factor_A2 : float
        B-factor.
    hydrogens : float
        Hydrogens carried by each atom.
    """

    element: str
    b_factor_A2: float
    hydrogens: float

    def form_factor_V_A3(self, k2: Tensor, b_extra_A2: float = 0.0, in_ice: bool = True) -> Tensor:
        """Transform of one atom's potential.

        Parameters
        ----------
        k2 : Tensor
            Squared spatial frequency, 1/A^2.
        b_extra_A2 : float
            Added to the atoms' own B-factor.
        in_ice : bool
            Subtract the ice whose place the atom takes, as a Gaussian of its volume (Fraser et al. 1978).

        Returns
        -------
        Tensor
            V A^3, shaped like ``k2``.
        """
        at_rest = resting_form_factor_V_A3(self.element, self.hydrogens, k2, in_ice)
        return at_rest * torch.exp(-(self.b_factor_A2 + b_extra_A2) / 4 * k2)


@dataclass(frozen=True, eq=False)
class Scatterers:
    """Atoms ready to scatter; equal only to itself.

    Attributes
    ----------
    kinds : tuple of AtomKind
        The form factors that occur.
    kind_of : Tensor
        ``(n,)`` int64, the number of each atom's kind.
    positions_A : Tensor
        ``(n, 3)`` float32, from the centre of mass.
    occupancies : Tensor
        ``(n,)``.
    """

    kinds: tuple[AtomKind, ...]
    kind_of: Tensor
    positions_A: Tensor
    occupancies: Tensor

    def __len__(self) -> int:
        return len(self.positions_A)

    def only(self, chosen: Tensor) -> Scatterers:
        """Return some of the atoms, where they were."""
        return replace(
            self,
            kind_of=self.kind_of[chosen],
            positions_A=self.positions_A[chosen],
            occupancies=self.occupancies[chosen],
        )


def electron_scattering_factor_A(element: str, k2: Tensor) -> Tensor:
    """Elastic scattering factor of a neutral atom for electrons at rest, A.

    Parameters
    ----------
    element : str
        Chemical symbol; deuterium counts as hydrogen.
    k2 : Tensor
        Squared spatial frequency, 1/A^2.

    References
    ----------
    Peng et al. 1996, Acta Cryst. A52, 257 (International Tables C, 4.3.2.2), as tabulated by gemmi.
    """
    coefficients = gemmi.Element("H" if element == "D" else element).c4322
    terms = zip(coefficients.a, coefficients.b, strict=True)
    total = torch.zeros_like(k2)
    for amplitude, width in terms:
        total = total + amplitude * torch.exp(-width / 4 * k2)
    return total


def resting_form_factor_V_A3(element: str, hydrogens: float, k2: Tensor, in_ice: bool = True) -> Tensor:
    """Transform of the potential of an atom at rest with the hydrogens it carries; see :class:`AtomKind`."""
    factor = electron_scattering_factor_A(element, k2)
    if hydrogens:
        factor = factor + hydrogens * electron_scattering_factor_A("H", k2)
    transform = V_A2_PER_A * factor
    if in_ice and element not in ("H", "D"):
        transform = transform - ice_potential_V() * DISPLACED_A3 * torch.exp(-math.pi * DISPLACED_A3 ** (2 / 3) * k2)
    return transform


def ice_potential_V() -> float:
    """Mean inner potential of vitreous ice, V, in the same approximation of neutral, unbound atoms."""
    zero = torch.zeros(1)
    water = electron_scattering_factor_A("O", zero) + 2 * electron_scattering_factor_A("H", zero)
    return float(V_A2_PER_A * WATERS_PER_A3 * water)


def scatterers(atoms: AtomTable) -> Scatterers:
    """Sort atoms by form factor and move their centre of mass to the origin.

    Raises
    ------
    ValueError
        If there are no atoms, or none with an occupancy.
    """
    if len(atoms.elements) == 0 or not atoms.occupancies.sum() > 0:
        raise ValueError("a potential needs atoms")
    elements, element_of = np.unique(atoms.elements, return_inverse=True)
    masses = np.array([gemmi.Element(str(element)).weight for element in elements])[element_of] * atoms.occupancies
    centre = masses @ atoms.positions_A / masses.sum()
    explicit = bool(np.isin(elements, ["H", "D"]).any())
    steps = np.round(atoms.b_factors_A2 / B_STEP_A2).astype(int)
    found, kind_of = np.unique(np.stack((element_of, steps)), axis=1, return_inverse=True)
    kinds = [
        AtomKind(name, float(step * B_STEP_A2), 0.0 if explicit else HYDROGENS.get(name, 0.0))
        for name, step in ((str(elements[number]), step) for number, step in found.T)
    ]
    return Scatterers(
        tuple(kinds),
        torch.from_numpy(kind_of.reshape(-1)),
        torch.from_numpy(atoms.positions_A - centre).float(),
        torch.from_numpy(np.asarray(atoms.occupancies)).float(),
    )
