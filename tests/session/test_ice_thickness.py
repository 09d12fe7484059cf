"""The columns of the ice's thickness, and that they make no other stage start again."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scherzer.formats.star import StarTable
from scherzer.micrographs.ice_thickness import BRIGHTEST, RESCALED, VACUUM, ThicknessSettings
from scherzer.physics.optics import optics_of_groups
from scherzer.physics.thickness import lost_mean_free_path_A
from scherzer.session.folder import Session
from scherzer.session.stages.ice_thickness import with_thickness
from scherzer.session.stages.micrograph_stage import COMPARISON_COLUMNS, jobs_of

OPTICS = pd.DataFrame(
    {
        "rlnOpticsGroup": [1, 2],
        "rlnOpticsGroupName": ["one", "other"],
        "rlnVoltage": 300.0,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnMicrographPixelSize": 1.5,
    }
)
PATH_A = lost_mean_free_path_A(300.0, energy_filter=True)
FILTERED = ThicknessSettings(energy_filter=True)


def table(noise_per_level: float = 1.0) -> StarTable:
    """Three exposures with ice, one without, and one that could not be read."""
    levels = [60 * math.exp(-t_A / PATH_A) for t_A in (200.0, 400.0, 800.0)]
    rows = pd.DataFrame(
        {
            "rlnMicrographName": ["a.mrc", "b.mrc", "c.mrc", "d.mrc", "e.mrc"],
            "rlnOpticsGroup": [1, 1, 2, 1, 1],
            "sczName": list("abcde"),
            "sczFrameCount": [10, 10, 10, 10, 10],
            "sczIceLevel": [*levels, 60.0, np.nan],
            "sczNoisePerLevel": [noise_per_level] * 4 + [np.nan],
            "sczCondition": ["sound", "sound", "drifted", "no_ice", ""],
            "sczState": ["accepted", "accepted", "rejected", "rejected", "failed"],
            "sczReason": ["", "", "drift", "nothing in the beam", "is truncated"],
        }
    )
    return StarTable("micrographs", OPTICS, rows)


def filled(settings: ThicknessSettings, noise_per_level: float = 1.0) -> pd.DataFrame:
    return with_thickness(table(noise_per_level), optics_of_groups(OPTICS), None, settings).rows


def test_absolute_thickness_stands_under_relions_label() -> None:
    rows = filled(FILTERED)
    assert rows["rlnMicrographIceThickness"][:3].tolist() == pytest.approx([200.0, 400.0, 800.0])
    assert rows["rlnMicrographIceThickness"][3:].isna().all()
    assert rows["sczIceThicknessMethod"][:3].tolist() == [VACUUM] * 3
    assert rows["sczIceThicknessMethod"][4] == ""
    assert list(rows.columns[-2:]) == ["sczState", "sczReason"]


def test_relative_thickness_never_stands_under_relions_label() -> None:
    rows = filled(ThicknessSettings())
    assert "rlnMicrographIceThickness" not in rows
    assert rows["sczIceThicknessRelative"][:3].tolist() == pytest.approx([0.0, 200 / PATH_A, 600 / PATH_A])
    assert rows["sczIceThicknessMethod"][0] == BRIGHTEST


def test_rescaled_grey_levels_give_a_method_that_says_so_and_no_number() -> None:
    rows = filled(FILTERED, noise_per_level=40.0)
    assert rows["sczIceThicknessMethod"][:4].tolist() == [RESCALED] * 4
    assert rows["sczIceThicknessRelative"].isna().all()


def test_no_other_stage_depends_on_a_comparison_between_micrographs(tmp_path: Path) -> None:
    plain = jobs_of(Session(tmp_path), table())
    compared = with_thickness(table(), optics_of_groups(OPTICS), None, FILTERED)
    assert set(COMPARISON_COLUMNS) <= set(compared.rows)
    assert [job.row for job in jobs_of(Session(tmp_path), compared)] == [job.row for job in plain]
