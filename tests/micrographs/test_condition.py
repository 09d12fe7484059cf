"""Curation: what is rejected, for which reason, and what is not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
from matplotlib.image import imread

from scherzer.micrographs.condition import judge
from scherzer.micrographs.contrast.areas import Areas
from scherzer.micrographs.contrast.measurements import CtfNumbers, Measurements, measure
from scherzer.micrographs.ctf_estimation import estimate_ctf
from scherzer.micrographs.ice import Ice
from scherzer.physics.optics import Optics
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.plan import ExposurePlan, Fault
from scherzer.simulate.settings import MicroscopeSettings, ParticleSettings, SimulationSettings
from scherzer.simulate.specimen import Specimen, load_specimen

REAL = Path(__file__).parents[2] / "../shared/real"
SESSION, EXAMPLES = REAL / "apoferritin-10146/micrographs", REAL / "quality-examples"
SETTINGS = SimulationSettings(
    microscope=MicroscopeSettings(height_px=640, width_px=640, pixel_size_A=1.5),
    particles=ParticleSettings(per_micrograph=25),
)
SOUND_CTF = CtfNumbers(15000.0, 0.0, 4.5, 0.3, 0.0)
SOUND = Measurements(
    particle_band_power=3.0,
    band_ratio=3.5,
    thon_amplitude=0.8,
    fit_resolution_A=4.5,
    skewness=-0.8,
    clear_skewness=-0.8,
    skewness_error=0.03,
    power_spread=0.3,
    empty_fraction=0.0,
    directional_loss=0.0,
    gradient=0.1,
    mean_level=6.0,
    noise_per_level=1.0,
    ice=Ice(1.0, 13.0, 3.7, 0.0),
    areas=Areas(0.0, 0.0, 0.0, 0.01, 0.02, 36.0),
)


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return load_specimen(SETTINGS.specimen)


@pytest.mark.parametrize(
    ("faults", "defocus_A", "kind"),
    [
        ((), 16000.0, "sound"),
        ((), 4000.0, "sound"),
        (("empty",), 10000.0, "empty"),
        (("empty",), 20000.0, "empty"),
        (("crystalline",), 15000.0, "crystalline ice"),
        (("drift",), 15000.0, "drifted"),
        (("vacuum",), 15000.0, "no ice"),
        (("carbon_edge",), 22000.0, "sound"),
        (("ice_balls",), 7000.0, "sound"),
        (("ice_balls",), 22000.0, "sound"),
        (("aggregation",), 25000.0, "sound"),
    ],
)
def test_simulated_artefacts_are_named(
    specimen: Specimen, faults: tuple[Fault, ...], defocus_A: float, kind: str
) -> None:
    # Of the film of exposure 16 nothing is left, of that of 12 a part.
    index = 16 if "vacuum" in faults else 12
    plan = ExposurePlan(index, "x", faults, defocus_A + 100, defocus_A - 100, 0.4, 300.0)
    # The rings of ice lie at 3.6 A, which an image at 1.5 A/px reaches but not with room to see what lies beside.
    finer = replace(SETTINGS, microscope=replace(SETTINGS.microscope, pixel_size_A=1.3))
    settings = finer if "crystalline" in faults else SETTINGS
    image = torch.from_numpy(next(simulate_exposure(plan, specimen, settings).frames).astype(np.float32))
    numbers = CtfNumbers.of(estimate_ctf(image, settings.microscope.optics))
    found = judge(measure(image, settings.microscope.optics, numbers), numbers)
    assert found.kind == kind
    assert (found.state == "accepted") == (kind == "sound")
    assert bool(found.reason) == (kind != "sound")


def test_strong_astigmatism_is_not_drift(specimen: Specimen) -> None:
    plan = ExposurePlan(12, "x", (), 17000.0, 15500.0, 0.8, 300.0)
    image = torch.from_numpy(next(simulate_exposure(plan, specimen, SETTINGS).frames).astype(np.float32))
    assert judge(measure(image, SETTINGS.microscope.optics), None).kind == "sound"


@pytest.mark.parametrize(
    ("change", "ctf_change", "motion_A", "kind"),
    [
        ({}, {}, 30.0, "sound"),
        ({"particle_band_power": 0.3, "clear_skewness": -0.2}, {"fit_resolution_A": 8.0}, None, "sound"),
        ({"particle_band_power": 0.3, "clear_skewness": -0.06}, {}, None, "empty"),
        ({"particle_band_power": 1.5, "clear_skewness": -0.06}, {}, None, "empty"),
        ({"particle_band_power": 1.5, "clear_skewness": float("nan")}, {}, None, "sound"),
        ({"directional_loss": 0.9}, {"fit_resolution_A": 30.0}, None, "drifted"),
        ({"directional_loss": 0.9}, {}, None, "sound"),
        ({"directional_loss": 0.6}, {"problem": "none", "fit_resolution_A": 30.0}, None, "drifted"),
        ({"directional_loss": 0.6}, {"fit_resolution_A": 30.0}, None, "sound"),
        ({}, {}, 400.0, "drifted"),
        ({"directional_loss": 0.9, "particle_band_power": 0.01}, {}, None, "empty"),
        ({"ice": Ice(1.2, 300.0, 3.67, 0.6)}, {}, None, "crystalline ice"),
        ({"ice": Ice(1.2, 300.0, 3.67, 0.3)}, {}, None, "sound"),
        ({"areas": Areas(0.5, 0.0, 0.0, 0.5, 0.9, 36.0)}, {}, None, "spoilt"),
        ({"areas": Areas(0.4, 0.0, 0.0, 0.4, 0.6, 36.0)}, {}, None, "sound"),
        ({"areas": Areas(0.0, 0.0, 0.8, 0.1, 0.1, 36.0)}, {}, None, "sound"),
        ({}, {"problem": "none"}, None, "no rings"),
        ({"particle_band_power": 0.02}, {"problem": "none"}, None, "no ice"),
        ({"mean_level": 0.2}, {}, None, "dark"),
        ({"mean_level": float("nan"), "ice": Ice(*[float("nan")] * 4)}, {}, None, "sound"),
    ],
)
def test_the_number_that_decides(
    change: dict[str, Any], ctf_change: dict[str, Any], motion_A: float | None, kind: str
) -> None:
    found = judge(replace(SOUND, **change), replace(SOUND_CTF, **ctf_change), motion_A)
    assert found.kind == kind


@pytest.mark.parametrize(
    ("ice", "areas", "words"),
    [
        (Ice(1.0, 140.0, 3.67, 0.1), Areas(0.0, 0.0, 0.0, 0.0, 0.0, 36.0), "crystalline ice in 10%"),
        (Ice(1.0, 13.0, 3.7, 0.0), Areas(0.0, 0.0, 0.3, 0.2, 0.2, 36.0), "carbon in 30%"),
        (Ice(1.0, 13.0, 3.7, 0.0), Areas(0.0, 0.0, 0.76, 0.2, 0.2, 36.0), "crowded on one side, in 76%"),
        (Ice(1.0, 13.0, 3.7, 0.0), Areas(0.0, 0.2, 0.0, 0.2, 0.2, 36.0), "thinner ice or none in 20%"),
        (Ice(1.0, 13.0, 3.7, 0.0), Areas(0.2, 0.0, float("nan"), 0.2, 0.2, 36.0), "thicker ice in 20%"),
        (Ice(1.0, 13.0, 3.7, 0.0), Areas(0.0, 0.0, 0.0, 0.2, 0.2, 36.0), "edges of contamination"),
    ],
)
def test_what_lies_beside_good_ice_is_noted_and_rejects_nothing(ice: Ice, areas: Areas, words: str) -> None:
    found = judge(replace(SOUND, ice=ice, areas=areas), SOUND_CTF)
    assert (found.state, found.reason) == ("accepted", "")
    assert len(found.notes) == 1
    assert words in found.notes[0]
    assert judge(SOUND, SOUND_CTF).notes == ()


def test_nothing_is_rejected_for_numbers_that_are_missing() -> None:
    assert judge(SOUND, None).state == "accepted"


@pytest.mark.parametrize("name", ["May08_06.09.02", "May08_03.05.02", "May08_07.30.46"])
def test_the_real_drifted_micrograph_is_rejected_for_drift(name: str) -> None:
    path = SESSION / f"{name}.mrc"
    if not path.exists():
        pytest.skip("the real apo-ferritin session is not here")
    image = torch.from_numpy(mrcfile.read(path).astype(np.float32))
    optics = Optics(1.5, 300.0, 0.001, 0.07)
    numbers = CtfNumbers.of(estimate_ctf(image, optics))
    found = judge(measure(image, optics, numbers), numbers)
    assert found.kind == ("drifted" if name == "May08_06.09.02" else "sound")
    assert ("drift" in found.reason) == (name == "May08_06.09.02")


@pytest.mark.parametrize(
    ("label", "kinds", "noted"),
    [
        ("0Great", ["sound"] * 3, 0),
        ("1Decent", ["sound"] * 3, 1),
        # One is cracked and smeared; ice lies beside the contamination of the others.
        ("2Contamination_Aggregate_Crack_Breaking_Drifting", ["drifted", "sound", "sound"], 3),
        # In one there is more carbon than vacuum to see.
        ("3Empty_no_ice", ["drifted", "empty", "empty"], 1),
        # The third has enough of a shade, or particles too faint to see, to be kept.
        ("5Empty_ice_no_particles_but_vitreous_ice", ["empty", "empty", "sound"], 1),
    ],
)
def test_labelled_real_micrographs(label: str, kinds: list[str], noted: int) -> None:
    if not EXAMPLES.is_dir():
        pytest.skip("the labelled real micrographs are not here")
    images = [torch.from_numpy(255 * imread(path)).float() for path in sorted((EXAMPLES / label).glob("*.png"))]
    found = [measure(image, Optics(8.0, 300.0, 2.7, 0.1)) for image in images]
    verdicts = [judge(one, None) for one in found]
    assert sorted(one.kind for one in verdicts) == kinds
    assert sum(bool(one.notes) for one in verdicts) == noted
    # At 8 A a pixel no reflection of ice can be seen, so nothing is said of crystals.
    assert all(math.isnan(one.ice.crystalline_fraction) for one in found)
