"""Thickness from intensity: exact where I0 is known, relative where it is not, and nothing from rescaled levels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from scherzer.micrographs.contrast.measurements import measure
from scherzer.micrographs.ice_thickness import (
    ALONE,
    BRIGHTEST,
    DOSE,
    RESCALED,
    VACUUM,
    Brightness,
    ThicknessSettings,
    ice_thicknesses,
)
from scherzer.physics.thickness import lost_mean_free_path_A
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.plan import ExposurePlan, Fault
from scherzer.simulate.settings import MicroscopeSettings, ParticleSettings, SimulationSettings
from scherzer.simulate.specimen import load_specimen

FILTERED = ThicknessSettings(energy_filter=True)
PATH_A = lost_mean_free_path_A(300.0, energy_filter=True)
TRUE_A = (150.0, 300.0, 600.0)


def exposures(sent: float = 60.0, dose_e_per_px: float | None = None) -> list[Brightness]:
    return [Brightness(sent * math.exp(-t_A / PATH_A), 1.0, dose_e_per_px=dose_e_per_px) for t_A in TRUE_A]


def test_an_exposure_without_ice_gives_absolute_thickness() -> None:
    found = ice_thicknesses([*exposures(), Brightness(60.0, 1.0, has_ice=False)], 300.0, FILTERED)
    assert [one.thickness_A for one in found[:3]] == pytest.approx(TRUE_A)
    assert {one.method for one in found[:3]} == {VACUUM}
    assert all(0 < one.error_A < 50 for one in found[:3])
    assert math.isnan(found[3].thickness_A)
    assert math.isnan(found[3].relative)


def test_a_stated_dose_counts_only_with_its_counts_per_electron() -> None:
    settings = replace(FILTERED, counts_per_electron=0.8)
    found = ice_thicknesses(exposures(dose_e_per_px=75.0), 300.0, settings)
    assert [one.thickness_A for one in found] == pytest.approx(TRUE_A)
    assert {one.method for one in found} == {DOSE}
    assert {one.method for one in ice_thicknesses(exposures(dose_e_per_px=75.0), 300.0, FILTERED)} == {BRIGHTEST}
    # A dose that cannot be that of these counts: less than arrived, or ten times as much.
    for dose in (40.0, 750.0):
        assert {one.method for one in ice_thicknesses(exposures(dose_e_per_px=dose), 300.0, settings)} == {BRIGHTEST}


def test_thickness_beyond_the_lightest_is_known_without_any_of_that() -> None:
    found = ice_thicknesses(exposures(), 300.0, ThicknessSettings())
    assert [one.relative for one in found] == pytest.approx([(t_A - TRUE_A[0]) / PATH_A for t_A in TRUE_A])
    assert all(math.isnan(one.thickness_A) and one.method == BRIGHTEST for one in found)
    alone = ice_thicknesses(exposures()[:1], 300.0, ThicknessSettings())[0]
    assert alone.method == ALONE
    assert math.isnan(alone.relative)


def test_what_looks_empty_but_is_not_the_lightest_is_no_vacuum() -> None:
    suspect = Brightness(exposures()[0].level * 0.99, 1.0, has_ice=False)
    assert {one.method for one in ice_thicknesses([*exposures(), suspect], 300.0, FILTERED)[:3]} == {BRIGHTEST}


def test_without_a_filter_a_dose_says_too_little() -> None:
    settings = ThicknessSettings(energy_filter=False, counts_per_electron=0.8)
    assert {one.method for one in ice_thicknesses(exposures(dose_e_per_px=75.0), 300.0, settings)} == {BRIGHTEST}


@pytest.mark.parametrize("scatters", [(9.0, 9.1, 9.0), (0.05, 0.05, 0.05), (0.6, 1.0, 1.5), (1.0, math.nan, 1.0)])
def test_grey_levels_that_are_not_counts_give_nothing(scatters: tuple[float, ...]) -> None:
    levels = [replace(one, noise_per_level=scatter) for one, scatter in zip(exposures(), scatters, strict=True)]
    found = ice_thicknesses(levels, 300.0, FILTERED)
    assert {one.method for one in found} == {RESCALED}
    assert all(math.isnan(one.relative) and math.isnan(one.thickness_A) for one in found)


@pytest.mark.parametrize(
    "settings", [{"mean_free_path_A": -3000.0}, {"mean_free_path_A": 300.0}, {"counts_per_electron": 0.0}]
)
def test_settings_that_no_microscope_has_are_refused_by_name(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        ThicknessSettings(**settings)  # type: ignore[arg-type]


def test_the_thickness_of_simulated_ice_comes_back() -> None:
    microscope = MicroscopeSettings(height_px=640, width_px=640, pixel_size_A=1.3, energy_filter=True)
    settings = SimulationSettings(microscope=microscope, particles=ParticleSettings(per_micrograph=10))
    specimen = load_specimen(settings.specimen)
    cases: list[tuple[float, tuple[Fault, ...]]] = [(200.0, ()), (350.0, ()), (600.0, ()), (300.0, ("vacuum",))]
    found = []
    for thickness_A, faults in cases:
        plan = ExposurePlan(3, "x", faults, 15100.0, 14900.0, 0.4, thickness_A)
        exposure = simulate_exposure(plan, specimen, settings)
        measured = measure(torch.from_numpy(next(exposure.frames).astype(np.float32)), microscope.optics)
        assert not faults or exposure.masks["vacuum"].all()
        found.append(Brightness(measured.areas.ice_level, measured.noise_per_level, has_ice=not faults))
    ice = ice_thicknesses(found, 300.0, FILTERED)[:3]
    # The beam lights every exposure a little differently, and particles lie in the ice.
    assert [one.thickness_A for one in ice] == pytest.approx([200.0, 350.0, 600.0], abs=40.0)
