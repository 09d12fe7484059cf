"""Atomic models (PDB and mmCIF)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from scherzer.formats.errors import BadInput

WATERS = ("HOH", "DOD", "WAT")


@dataclass(frozen=True)
class Atoms:
    """Atoms of a model.

    Attributes
    ----------
    positions_A : ndarray of float64
        ``(n, 3)``, x y z.
    elements : ndarray of str
        ``(n,)``, chemical symbols such as ``C`` or ``ZN``.
    b_factors_A2 : ndarray of float64
        ``(n,)``, isotropic.
    occupancies : ndarray of float64
        ``(n,)``, 0 to 1.
    """

    positions_A: NDArray[np.float64]
    elements: NDArray[np.str_]
    b_factors_A2: NDArray[np.float64]
    occupancies: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.positions_A)


def read_atoms(path: Path, assembly: bool = True) -> Atoms:
    """Read the atoms of the first model of a PDB or mmCIF file, without waters.

    Parameters
    ----------
    path : Path
        PDB or mmCIF, plain or gzipped.
    assembly : bool
        Build the first biological assembly that the file describes, where it describes one.

    Raises
    ------
    BadInput
        If the file is missing, is not a model, or holds no atoms.
    """
    if not path.exists():
        raise BadInput(path, "no such file", "check the name")
    try:
        structure = gemmi.read_structure(str(path))
    except Exception as error:
        raise BadInput(path, f"is not a readable model ({error})", "give a PDB or mmCIF file") from error
    if len(structure) == 0:
        raise BadInput(path, "holds no atoms", "give a PDB or mmCIF file")
    model = structure[0]
    if assembly and structure.assemblies:
        model = gemmi.make_assembly(structure.assemblies[0], model, gemmi.HowToNameCopiedChain.Dup)
    atoms = [cra.atom for cra in model.all() if cra.residue.name not in WATERS]
    if not atoms:
        raise BadInput(path, "holds no atoms", "give a PDB or mmCIF file")
    return Atoms(
        positions_A=np.array([atom.pos.tolist() for atom in atoms], dtype=np.float64),
        elements=np.array([atom.element.name.upper() for atom in atoms]),
        b_factors_A2=np.array([atom.b_iso for atom in atoms], dtype=np.float64),
        occupancies=np.array([atom.occ for atom in atoms], dtype=np.float64),
    )
