"""Optics groups and CTF columns."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from scherzer.physics.optics import Optics, ctf_parameters_of, optics_of_groups

OPTICS = pd.DataFrame(
    {
        "rlnOpticsGroup": [1, 2],
        "rlnVoltage": [300.0, 200.0],
        "rlnSphericalAberration": [2.7, 1.4],
        "rlnAmplitudeContrast": [0.07, 0.1],
        "rlnMicrographPixelSize": [1.5, 1.1],
    }
)
ROWS = pd.DataFrame(
    {
        "rlnOpticsGroup": [2, 1, 2],
        "rlnDefocusU": [10000.0, 20000.0, 30000.0],
        "rlnDefocusV": [9000.0, 19000.0, 29000.0],
        "rlnDefocusAngle": [0.0, 90.0, -45.0],
        "rlnPhaseShift": [0.0, 180.0, 90.0],
    }
)


def test_groups_are_read_with_their_units() -> None:
    assert optics_of_groups(OPTICS) == {1: Optics(1.5, 300, 2.7, 0.07), 2: Optics(1.1, 200, 1.4, 0.1)}


def test_rows_take_the_optics_of_their_group() -> None:
    parameters = ctf_parameters_of(ROWS, OPTICS)
    assert len(parameters) == 3
    torch.testing.assert_close(parameters.cs_A, torch.tensor([1.4e7, 2.7e7, 1.4e7]))
    torch.testing.assert_close(parameters.amplitude_contrast, torch.tensor([0.1, 0.07, 0.1]))
    assert float(parameters.wavelength_A[0]) == pytest.approx(0.025079, abs=1e-6)
    assert float(parameters.wavelength_A[1]) == pytest.approx(0.019687, abs=1e-6)
    torch.testing.assert_close(parameters.defocus_angle_rad, torch.tensor([0.0, math.pi / 2, -math.pi / 4]))
    torch.testing.assert_close(parameters.phase_shift_rad, torch.tensor([0.0, math.pi, math.pi / 2]))


def test_one_image_agrees_with_its_row() -> None:
    row = ROWS.iloc[[1]]
    single = optics_of_groups(OPTICS)[1].ctf_parameters(20000, 19000, math.pi / 2, math.pi)
    table = ctf_parameters_of(row, OPTICS)
    for name in ("defocus_u_A", "defocus_v_A", "defocus_angle_rad", "phase_shift_rad", "wavelength_A", "cs_A"):
        torch.testing.assert_close(getattr(single, name), getattr(table, name))


def test_phase_shift_may_be_absent_whatever_the_index() -> None:
    rows = ROWS.drop(columns="rlnPhaseShift").iloc[1:]
    torch.testing.assert_close(ctf_parameters_of(rows, OPTICS).phase_shift_rad, torch.zeros(2))
