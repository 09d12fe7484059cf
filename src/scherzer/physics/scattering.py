"""Electron scattering by atoms: from a model to the potential that the microscope images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import gemmi
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.physics.splatting import fine_box, splat, to_coarse_rfft

# h^2 / (2 pi m e): an atom's potential is this times the transform of its scattering factor (Kirkland 2010, eq. 5.9).
V_A2_PER_A = 47.878
# Hydrogens are seldom in a model; a protein has about so many on each heavier atom (1.55 a carbon in all).
HYDROGENS = {"C": 1.2, "N": 1.2, "O": 0.2, "S": 0.3}
# Protein takes 1.23 A^3 a dalton, or 17.3 A^3 for each heavy atom with its hydrogens.
DISPLACED_A3 = 17.3
# Vitreous ice at 0.93 g/cm^3.
WATERS_PER_A3 = 0.0311
# Atoms whose B-factors differ by less than this share one form factor.
B_BIN_A2 = 15.0


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
class ScatteringGroup:
    """Atoms that share one form factor.

    Attributes
    ----------
    element : str
        Chemical symbol.
    b_factor_A2 : float
        Mean of the group.
    positions_A : Tensor
        ``(n, 3)`` float32, from the centre of mass of all groups.
    occupancies : Tensor
        ``(n,)``.
    hydrogens : float
        Hydrogens carried by each atom.
    """

    element: str
    b_factor_A2: float
    positions_A: Tensor
    occupancies: Tensor
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
        factor = electron_scattering_factor_A(self.element, k2)
        if self.hydrogens:
            factor = factor + self.hydrogens * electron_scattering_factor_A("H", k2)
        transform = V_A2_PER_A * factor
        if in_ice and self.element != "H":
            transform = transform - ice_potential_V() * DISPLACED_A3 * torch.exp(
                -math.pi * DISPLACED_A3 ** (2 / 3) * k2
            )
        return transform * torch.exp(-(self.b_factor_A2 + b_extra_A2) / 4 * k2)


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


def ice_potential_V() -> float:
    """Mean inner potential of vitreous ice, V, in the same approximation of neutral, unbound atoms."""
    zero = torch.zeros(1)
    water = electron_scattering_factor_A("O", zero) + 2 * electron_scattering_factor_A("H", zero)
    return float(V_A2_PER_A * WATERS_PER_A3 * water)


def scattering_groups(atoms: AtomTable) -> list[ScatteringGroup]:
    """Group atoms by element and B-factor and move their centre of mass to the origin.

    Raises
    ------
    ValueError
        If there are no atoms.
    """
    if len(atoms.elements) == 0:
        raise ValueError("a potential needs atoms")
    masses = np.array([gemmi.Element(str(element)).weight for element in atoms.elements])
    centre = (masses * atoms.occupancies) @ atoms.positions_A / (masses * atoms.occupancies).sum()
    explicit = bool(np.isin(atoms.elements, ["H", "D"]).any())
    bins = np.round(atoms.b_factors_A2 / B_BIN_A2).astype(int)
    groups = []
    for element, number in sorted({(str(e), int(b)) for e, b in zip(atoms.elements, bins, strict=True)}):
        chosen = (atoms.elements == element) & (bins == number)
        groups.append(
            ScatteringGroup(
                element=element,
                b_factor_A2=float(atoms.b_factors_A2[chosen].mean()),
                positions_A=torch.from_numpy(atoms.positions_A[chosen] - centre).float(),
                occupancies=torch.from_numpy(atoms.occupancies[chosen]).float(),
                hydrogens=0.0 if explicit else HYDROGENS.get(element, 0.0),
            )
        )
    return groups


def potential_volume(
    atoms: AtomTable, box: int, pixel_size_A: float, b_extra_A2: float = 0.0, in_ice: bool = True
) -> Tensor:
    """Electrostatic potential of a model, sharp up to the Nyquist frequency.

    Parameters
    ----------
    atoms : AtomTable
        The model; its centre of mass is put on the voxel ``box // 2``, its axes are kept.
    box : int
        Side, voxels; even.
    pixel_size_A : float
        Voxel size.
    b_extra_A2 : float
        B-factor added to those of the atoms.
    in_ice : bool
        Give the potential above that of the ice the molecule displaces, which is what an image shows, and not the
        potential in vacuum.

    Returns
    -------
    Tensor
        ``(box, box, box)`` float32 as (z, y, x), V; protein is positive.

    Raises
    ------
    ValueError
        If the box is odd or an atom lies outside it.
    """
    groups = scattering_groups(atoms)
    if box % 2:
        raise ValueError(f"box must be even, not {box}")
    reach = max(float(group.positions_A.abs().max()) for group in groups)
    if reach > (box / 2 - 1) * pixel_size_A:
        raise ValueError(
            f"the model reaches {reach:.0f} A from its centre: take at least {math.ceil(2 * reach)} A of box"
        )
    fine = fine_box(box)
    k = torch.fft.fftfreq(box, pixel_size_A)
    half = torch.arange(box // 2 + 1) / (box * pixel_size_A)
    k2 = k[:, None, None] ** 2 + k[None, :, None] ** 2 + half**2
    transform = torch.zeros((box, box, box // 2 + 1), dtype=torch.complex64)
    for group in groups:
        points = group.positions_A[None] * (fine / (box * pixel_size_A))
        grid = splat(points, group.occupancies, fine)
        transform += to_coarse_rfft(grid, box, 3)[0] * group.form_factor_V_A3(k2, b_extra_A2, in_ice)
    volume = torch.fft.irfftn(transform, s=(box, box, box)) / pixel_size_A**3
    return torch.fft.fftshift(volume)
