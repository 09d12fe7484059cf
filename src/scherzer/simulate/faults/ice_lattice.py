"""The lattice of hexagonal ice."""

from __future__ import annotations

from functools import cache

import gemmi
import numpy as np
from numpy.typing import NDArray

from scherzer.physics.scattering import V_A2_PER_A

Array = NDArray[np.float64]

# Cell, sites and B-factors of ice Ih; hydrogens fill half of their sites. Goto, Hondoh and Mae 1990, J. Chem. Phys.
# 93, 1412.
CELL_A, SPACE_GROUP = (4.511, 4.511, 7.346), "P 63/m m c"
SITES = (
    ("O", 1.0, (1 / 3, 2 / 3, 0.06226), 3.7),
    ("H", 0.5, (1 / 3, 2 / 3, 0.178), 2.5),
    ("H", 0.5, (0.439, 0.878, 0.020), 2.9),
)
FINEST_A = 1.9


@cache
def reflections() -> tuple[Array, Array]:
    """Return the reflections of ice Ih, one of each pair of opposite ones.

    Returns
    -------
    ndarray
        ``(n, 3)`` spatial frequencies with the c axis along z, 1/A.
    ndarray
        ``(n,)`` amplitudes of their waves in the potential, V: a wave is twice that, times a cosine.
    """
    crystal = gemmi.SmallStructure()
    crystal.cell = gemmi.UnitCell(*CELL_A, 90, 90, 120)
    crystal.spacegroup = gemmi.SpaceGroup(SPACE_GROUP)
    for number, (element, occupancy, place, b_factor_A2) in enumerate(SITES):
        site = gemmi.SmallStructure.Site()
        site.label, site.element, site.occ = f"{element}{number}", gemmi.Element(element), occupancy
        site.fract = gemmi.Fractional(*place)
        site.u_iso = b_factor_A2 / (8 * np.pi**2)
        crystal.add_site(site)
    crystal.setup_cell_images()
    crystal.change_occupancies_to_crystallographic()
    calculator = gemmi.StructureFactorCalculatorE(crystal.cell)
    reach = range(-5, 6)
    half = [(h, k, m) for h in reach for k in reach for m in reach if (m, k, h) > (0, 0, 0)]
    near = [index for index in half if crystal.cell.calculate_d(index) >= FINEST_A]
    volts = np.array([abs(calculator.calculate_sf_from_small_structure(crystal, index)) for index in near])
    volts *= V_A2_PER_A / crystal.cell.volume
    # Columns of the fractionalisation matrix's transpose are the reciprocal axes.
    frequencies = np.array(near) @ np.array(crystal.cell.frac.mat.tolist())
    seen = volts > 0.02 * volts.max()
    return frequencies[seen], volts[seen]
