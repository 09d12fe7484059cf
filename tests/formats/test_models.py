"""Atomic models."""

from __future__ import annotations

import gzip
from pathlib import Path

import gemmi
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


ATOM = "ATOM      1  CA  ALA A   1       1.000   2.000   3.000  1.00 12.50           C"
TWO_CHAINS = """\
MODEL        1
ATOM      1  CA AALA A   1       1.000   2.000   3.000  0.60 12.50           C
ATOM      2  CA BALA A   1       1.500   2.000   3.000  0.40 12.50           C
ATOM      3  O   ALA Bx  1       4.000   5.000   6.000  1.00 20.00           O
ATOM      4  N   ALA B   1       4.000   5.000   7.000  0.00 20.00           N
ENDMDL
MODEL        2
ATOM      1  CA  ALA A   1       9.000   9.000   9.000  1.00 12.50           C
ENDMDL
END
""".replace("Bx", "B ")


def test_alternate_locations_count_as_given_and_the_first_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text(TWO_CHAINS)
    atoms = read_atoms(tmp_path / "a.pdb")
    np.testing.assert_allclose(atoms.occupancies, [0.6, 0.4, 1.0])  # and what is not there is left out
    np.testing.assert_allclose(atoms.positions_A[:, 0], [1.0, 1.5, 4.0])


def test_chains_are_chosen_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text(TWO_CHAINS)
    assert read_atoms(tmp_path / "a.pdb", ["B"]).elements.tolist() == ["O"]
    assert len(read_atoms(tmp_path / "a.pdb", ["B", "A"])) == 3
    with pytest.raises(BadInput, match=r"a\.pdb: no chain C, D; its chains are A, B"):
        read_atoms(tmp_path / "a.pdb", ["A", "C", "D"])


def test_the_assembly_is_built_of_the_chosen_chains(tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text(PDB)
    assert len(read_atoms(tmp_path / "a.pdb", ["A"])) == 6
    other = PDB.replace(
        "END\n", "ATOM      5  CA  ALA B   1       1.000   2.000   3.000  1.00 12.50           C\nEND\n"
    )
    (tmp_path / "b.pdb").write_text(other)
    assert len(read_atoms(tmp_path / "b.pdb", ["B"], assembly=False)) == 1
    with pytest.raises(BadInput, match="assembly lacks these chains"):
        read_atoms(tmp_path / "b.pdb", ["B"])


def test_an_assembly_of_a_chain_that_is_absent(tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text(PDB.replace("CHAINS: A", "CHAINS: A, B"))
    with pytest.raises(BadInput, match="assembly cannot be built"):
        read_atoms(tmp_path / "a.pdb")
    assert len(read_atoms(tmp_path / "a.pdb", assembly=False)) == 3


def test_mmcif_and_gzip_hold_the_same_atoms(tmp_path: Path) -> None:
    structure = gemmi.read_pdb_string(PDB)
    structure.setup_entities()
    document = structure.make_mmcif_document()
    document.write_file(str(tmp_path / "a.cif"))
    (tmp_path / "a.pdb").write_text(PDB)
    (tmp_path / "a.pdb.gz").write_bytes(gzip.compress(PDB.encode()))
    (tmp_path / "a.cif.gz").write_bytes(gzip.compress((tmp_path / "a.cif").read_bytes()))
    expected = read_atoms(tmp_path / "a.pdb")
    for name in ("a.cif", "a.pdb.gz", "a.cif.gz"):
        found = read_atoms(tmp_path / name)
        np.testing.assert_allclose(found.positions_A, expected.positions_A, atol=1e-3)
        assert found.elements.tolist() == expected.elements.tolist()


def test_author_names_choose_chains_of_mmcif(tmp_path: Path) -> None:
    text = TWO_CHAINS.replace("ALA A", "ALA Z")
    structure = gemmi.read_pdb_string(text)
    structure.setup_entities()
    structure.assign_subchains(force=True)
    structure.make_mmcif_document().write_file(str(tmp_path / "a.cif"))
    assert read_atoms(tmp_path / "a.cif", ["Z"]).elements.tolist() == ["C", "C"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (ATOM[:-1] + "X", "1 atoms of unknown element, the first CA"),
        (ATOM.replace("2.000", "  nan"), "without coordinates"),
        (ATOM.replace("1.00 12.50", "0.00 12.50"), "all occupancies are zero"),
        (ATOM.replace("1.00 12.50", "-0.5 12.50"), "negative occupancy"),
        (ATOM.replace("1.00 12.50", "7.00 12.50"), "above 1"),
        (ATOM.replace("ALA", "HOH"), "nothing but water"),
        ("REMARK nothing", "holds no atoms"),
    ],
)
def test_atoms_that_cannot_be_used(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "a.pdb").write_text(line + "\nEND\n")
    with pytest.raises(BadInput, match=problem) as caught:
        read_atoms(tmp_path / "a.pdb")
    assert "\n" not in str(caught.value)


def test_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text("nothing here\n")
    (tmp_path / "b.cif").write_text("loop_ broken")
    (tmp_path / "c.cif").write_text("data_map\n_cell.length_a 3\n")
    (tmp_path / "d.mrc").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "e.gz").write_bytes(b"not gzip")
    for name in ("a.pdb", "b.cif", "c.cif", "d.mrc", "e.gz", "missing.pdb", "."):
        with pytest.raises(BadInput, match=name) as caught:
            read_atoms(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "count"), [("2w0o.pdb", 24 * 1393), ("5a1a.cif", 32920)])
def test_real_assemblies(name: str, count: int) -> None:
    path = Path(__file__).parents[3] / "shared/models" / name
    if not path.exists():
        pytest.skip(f"model absent: {name}")
    assert len(read_atoms(path)) == count
