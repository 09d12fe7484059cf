"""Atomic models (PDB and mmCIF)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from scherzer.formats.errors import BadInput

WATERS = ("HOH", "DOD", "WAT")
GIVE_A_MODEL = "give a PDB or mmCIF file with atomic coordinates"


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


def read_atoms(path: Path, chains: Sequence[str] = (), assembly: bool = True) -> Atoms:
    """Read the atoms of the first model of a PDB or mmCIF file, without waters.

    Alternate locations are all there, each with its occupancy. Atoms without occupancy are left out.

    Parameters
    ----------
    path : Path
        PDB or mmCIF, plain or gzipped.
    chains : sequence of str
        Chains to take, by their author's names; all when empty.
    assembly : bool
        Build the first biological assembly that the file describes, where it describes one; of the chains that are
        taken.

    Raises
    ------
    BadInput
        If the file is missing, is not a model, lacks a chain, or holds atoms that cannot be used.
    """
    if path.is_dir() or not path.exists():
        raise BadInput(path, "is a folder" if path.is_dir() else "no such file", "check the name")
    try:
        structure = gemmi.read_structure(str(path))
    except Exception as error:
        raise BadInput(path, f"is not a readable model ({_line(error)})", GIVE_A_MODEL) from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise BadInput(path, "holds no atoms", GIVE_A_MODEL)
    model = structure[0]
    names = list(dict.fromkeys(chain.name for chain in model))
    absent = [name for name in chains if name not in names]
    if absent:
        raise BadInput(path, f"no chain {', '.join(absent)}", f"its chains are {', '.join(names)}")
    if assembly and structure.assemblies:
        try:
            # The copies of a chain keep its name.
            model = gemmi.make_assembly(structure.assemblies[0], model, gemmi.HowToNameCopiedChain.Dup)
        except RuntimeError as error:
            problem = f"its biological assembly cannot be built ({_line(error)})"
            raise BadInput(path, problem, "mend the file, or take the model without assembly") from error
    kept = [cra for cra in model.all() if not chains or cra.chain.name in chains]
    if not kept:
        raise BadInput(path, "its biological assembly lacks these chains", "take others, or no assembly")
    atoms = [cra.atom for cra in kept if cra.residue.name not in WATERS]
    if not atoms:
        raise BadInput(path, "holds nothing but water", GIVE_A_MODEL)
    return _checked(path, atoms)


def _checked(path: Path, atoms: Sequence[Any]) -> Atoms:
    """Turn atoms into arrays and see that each can be used."""
    found = Atoms(
        positions_A=np.array([atom.pos.tolist() for atom in atoms], dtype=np.float64),
        elements=np.array([atom.element.name.upper() for atom in atoms]),
        b_factors_A2=np.array([atom.b_iso for atom in atoms], dtype=np.float64),
        occupancies=np.array([atom.occ for atom in atoms], dtype=np.float64),
    )
    # gemmi calls what it does not know X, and gives even that a scattering factor.
    known = np.array([atom.element.name != "X" and atom.element.c4322 is not None for atom in atoms])
    faults = {
        "of unknown element": (~known, "name their elements in the file, or remove them"),
        "without coordinates": (~np.isfinite(found.positions_A).all(1), "remove them from the file"),
        "without a B-factor": (~np.isfinite(found.b_factors_A2), "set it in the file, in A^2"),
        "with a negative occupancy or one above 1": (
            ~((found.occupancies >= 0) & (found.occupancies <= 1)),
            "give occupancies from 0 to 1",
        ),
    }
    for fault, (where, remedy) in faults.items():
        if where.any():
            first = atoms[int(np.argmax(where))]
            raise BadInput(path, f"holds {where.sum()} atoms {fault}, the first {first.name} ({first.serial})", remedy)
    kept = found.occupancies > 0
    if not kept.any():
        raise BadInput(path, "all occupancies are zero", "give occupancies from 0 to 1")
    return Atoms(found.positions_A[kept], found.elements[kept], found.b_factors_A2[kept], found.occupancies[kept])


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
