"""Atomic models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scherzer.formats.errors import BadInput
from scherzer.formats.models import read_atoms

PDB = """\
REMARK 350 BIOMOLECULE: 1
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000       10.00000
REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000
ATOM      1  CA  ALA A   1       1.000   2.000   3.000  1.00 12.50           C
ATOM      2  O   ALA A   1       4.000   5.000   6.000  0.50 20.00           O
HETATM    3 ZN    ZN A   2       0.000   0.000   9.000  1.00 30.00          ZN
HETATM    4  O   HOH A   3       8.000   8.000   8.000  1.00 40.00           O
END
"""


def test_atoms_of_the_assembly_without_waters(tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text(PDB)
    single = read_atoms(tmp_path / "a.pdb", assembly=False)
    np.testing.assert_allclose(single.positions_A, [[1, 2, 3], [4, 5, 6], [0, 0, 9]])
    assert single.elements.tolist() == ["C", "O", "ZN"]
    np.testing.assert_allclose(single.b_factors_A2, [12.5, 20, 30])
    np.testing.assert_allclose(single.occupancies, [1, 0.5, 1])
    both = read_atoms(tmp_path / "a.pdb")
    assert len(both) == 6
    np.testing.assert_allclose(both.positions_A[3], [9, -2, 3])


def test_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text("nothing here\n")
    (tmp_path / "b.cif").write_text("loop_ broken")
    for name in ("a.pdb", "b.cif", "missing.pdb"):
        with pytest.raises(BadInput, match=name):
            read_atoms(tmp_path / name)


@pytest.mark.parametrize(("name", "count"), [("2w0o.pdb", 24 * 1393), ("5a1a.cif", 32920)])
def test_real_assemblies(name: str, count: int) -> None:
    path = Path(__file__).parents[3] / "shared/models" / name
    if not path.exists():
        pytest.skip(f"model absent: {name}")
    assert len(read_atoms(path)) == count
