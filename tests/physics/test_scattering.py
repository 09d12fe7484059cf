"""Form factors and the atoms sorted by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scherzer.formats.models import Atoms
from scherzer.physics.scattering import (
    B_STEP_A2,
    DISPLACED_A3,
    V_A2_PER_A,
    electron_scattering_factor_A,
    ice_potential_V,
    resting_form_factor_V_A3,
    scatterers,
)

ZERO = torch.zeros(1)


def test_scattering_factors_as_tabulated() -> None:
    # Peng et al. 1996: f(0) of H, C, N, O in A.
    for element, expected in {"H": 0.529, "C": 2.509, "N": 2.211, "O": 1.983, "D": 0.529}.items():
        assert float(electron_scattering_factor_A(element, ZERO)) == pytest.approx(expected, abs=4e-3)
    k2 = torch.tensor([0.0, 0.04, 0.16])
    assert torch.all(electron_scattering_factor_A("C", k2).diff() < 0)


def test_ice_has_the_potential_of_independent_atoms() -> None:
    # Vulovic et al. 2013 give 4.53 V for isolated atoms at 0.93 g/cm^3.
    assert ice_potential_V() == pytest.approx(4.53, abs=0.01)


def test_protein_has_seven_to_nine_volts_and_stands_out_of_ice_by_about_three() -> None:
    # Carbon, nitrogen, oxygen and sulphur as they occur in beta-galactosidase.
    composition = {"C": 0.632, "N": 0.176, "O": 0.186, "S": 0.005}
    atoms = Atoms(np.zeros((4, 3)), np.array(list(composition)), np.zeros(4), np.ones(4))
    kinds = {kind.element: kind for kind in scatterers(atoms).kinds}
    for in_ice, low, high in ((False, 7.0, 9.0), (True, 2.5, 4.0)):
        mean = sum(composition[e] * float(kinds[e].form_factor_V_A3(ZERO, in_ice=in_ice)) for e in composition)
        assert low < mean / DISPLACED_A3 < high


def test_an_atom_carries_its_hydrogens_and_displaces_ice() -> None:
    [kind] = scatterers(Atoms(np.zeros((1, 3)), np.array(["C"]), np.zeros(1), np.ones(1))).kinds
    carbon = V_A2_PER_A * (2.509 + 1.2 * 0.529)
    assert float(kind.form_factor_V_A3(ZERO, in_ice=False)) == pytest.approx(carbon, rel=2e-3)
    assert float(kind.form_factor_V_A3(ZERO)) == pytest.approx(carbon - 4.528 * 17.3, rel=2e-3)
    k2 = torch.tensor([0.09])
    cooled = resting_form_factor_V_A3("C", 1.2, k2)
    assert float(kind.form_factor_V_A3(k2, b_extra_A2=40.0) / cooled) == pytest.approx(np.exp(-40 / 4 * 0.09), rel=1e-5)


def test_hydrogens_in_the_model_are_not_added_again() -> None:
    elements, points = np.array(["C", "H"]), np.array([[0, 0, 0], [1.1, 0, 0]])
    assert [kind.hydrogens for kind in scatterers(Atoms(points, elements, np.zeros(2), np.ones(2))).kinds] == [0, 0]


def test_atoms_keep_their_order_kind_and_centre_of_mass() -> None:
    rng = np.random.default_rng(3)
    atoms = Atoms(
        rng.normal(0, 6, (40, 3)) + [50, -20, 7],
        rng.choice(["C", "N", "O", "ZN"], 40),
        rng.uniform(10, 60, 40),
        rng.uniform(0.2, 1, 40),
    )
    found = scatterers(atoms)
    for number, kind in enumerate(found.kind_of.tolist()):
        assert found.kinds[kind].element == atoms.elements[number]
        assert abs(found.kinds[kind].b_factor_A2 - atoms.b_factors_A2[number]) <= B_STEP_A2 / 2
    assert len(set(found.kinds)) == len(found.kinds)
    moved = found.positions_A.double().numpy() - atoms.positions_A
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-4)
    masses = np.array([{"C": 12.011, "N": 14.007, "O": 15.999, "ZN": 65.38}[str(e)] for e in atoms.elements])
    np.testing.assert_allclose((masses * atoms.occupancies) @ found.positions_A.numpy(), 0, atol=2e-2)


def test_a_part_of_the_atoms_stays_where_it_was() -> None:
    atoms = Atoms(np.arange(9.0).reshape(3, 3), np.array(["C", "O", "C"]), np.full(3, 20.0), np.array([1, 0.5, 0.2]))
    whole = scatterers(atoms)
    part = whole.only(torch.tensor([False, True, True]))
    torch.testing.assert_close(part.positions_A, whole.positions_A[1:])
    torch.testing.assert_close(part.occupancies, torch.tensor([0.5, 0.2]))
    assert [part.kinds[kind].element for kind in part.kind_of] == ["O", "C"]


def test_nothing_cannot_scatter() -> None:
    for count, occupancy in ((0, 1.0), (2, 0.0)):
        atoms = Atoms(np.zeros((count, 3)), np.full(count, "C"), np.zeros(count), np.full(count, occupancy))
        with pytest.raises(ValueError, match="needs atoms"):
            scatterers(atoms)
