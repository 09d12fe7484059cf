"""Parts of a micrograph that are not even ice."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from scherzer.micrographs.contrast.areas import Areas
from scherzer.micrographs.contrast.measurements import measure
from scherzer.physics.optics import Optics
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.plan import ExposurePlan, Fault
from scherzer.simulate.settings import MicroscopeSettings, ParticleSettings, SimulationSettings
from scherzer.simulate.specimen import load_specimen

OPTICS = Optics(1.3, 300.0, 2.7, 0.07)
SIDE = 1024
SETTINGS = SimulationSettings(
    microscope=MicroscopeSettings(height_px=SIDE, width_px=SIDE, pixel_size_A=1.3),
    particles=ParticleSettings(per_micrograph=30),
)


def counts(expected: Tensor | float = 50.0, ice: Tensor | float = 1.0, seed: int = 0) -> Tensor:
    """Electrons behind ice, whose structure gives power between 20 and 8 A, 0.3 of the noise's where ``ice`` is 1."""
    rng = np.random.default_rng(seed)
    mean = torch.as_tensor(expected).expand(SIDE, SIDE).numpy()
    k = torch.hypot(torch.fft.fftfreq(SIDE, 1.3)[:, None], torch.fft.rfftfreq(SIDE, 1.3)[None, :])
    white = torch.from_numpy(rng.normal(0, (0.3 * 50) ** 0.5, (SIDE, SIDE)).astype(np.float32))
    structure = torch.fft.irfft2(torch.fft.rfft2(white) * ((k > 1 / 20) & (k < 1 / 8)), s=(SIDE, SIDE))
    return torch.from_numpy(rng.poisson(mean).astype(np.float32)) + structure * ice


def plane(slope: float) -> Tensor:
    x = torch.linspace(-0.5, 0.5, SIDE)
    return 50 * (1 + slope * x[:, None] - 0.5 * slope * x[None, :])


def disc(radius_px: float) -> Tensor:
    x = torch.arange(SIDE) - SIDE / 2
    return torch.hypot(x[:, None], x[None, :]) < radius_px


def areas(image: Tensor) -> Areas:
    return measure(image, OPTICS).areas


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_even_ice_under_a_sloping_beam_is_one_area(slope: float) -> None:
    found = areas(counts(plane(slope)))
    assert found.thicker_fraction == found.thinner_fraction == found.carbon_fraction == 0
    assert found.left_out is None
    assert found.spoilt_fraction < 0.05
    assert found.ice_level == pytest.approx(50, rel=2e-3)


def test_a_darker_body_is_measured_whatever_the_slope() -> None:
    body = disc(300)
    found = areas(counts(plane(0.06) * (1 - 0.02 * body)))
    assert found.thicker_fraction == pytest.approx(float(body.float().mean()), abs=0.05)
    assert found.thinner_fraction == 0
    assert found.ice_level == pytest.approx(50, rel=2e-3)


def test_what_is_darker_without_doubt_is_left_out_and_nothing_else() -> None:
    body = disc(300)
    found = areas(counts(plane(0.06) * (1 - 0.04 * body)))
    assert found.left_out is not None
    here = torch.nn.functional.adaptive_avg_pool2d(body[None].float(), found.left_out.shape)[0].numpy()
    assert found.left_out[here == 1].all()
    assert found.left_out.mean() < 1.5 * float(body.float().mean())


def test_a_hole_is_thinner_whether_small_or_large() -> None:
    for radius_px in (250, 480):
        hole = disc(radius_px)
        found = areas(counts(plane(0.03) * (1 + 0.03 * hole), ice=~hole))
        assert found.thinner_fraction == pytest.approx(float(hole.float().mean()), abs=0.07)
        assert found.thicker_fraction == 0
        assert found.ice_level == pytest.approx(50, rel=3e-3)


def test_grey_levels_may_be_shifted_and_scaled() -> None:
    image = counts(50 * (1 - 0.03 * disc(300)))
    assert areas(130 * image - 6500).thicker_fraction == pytest.approx(areas(image).thicker_fraction, abs=1e-3)


def test_strong_rings_in_most_of_the_field_leave_nothing_out() -> None:
    part = (torch.arange(SIDE) < 0.75 * SIDE)[:, None]
    found = areas(counts(torch.full((SIDE, SIDE), 50.0), ice=0.7 + part))
    assert found.carbon_fraction == pytest.approx(0.75, abs=0.06)
    assert found.left_out is None


def test_strong_rings_in_one_part_are_carbon() -> None:
    part = (torch.arange(SIDE) < 0.4 * SIDE)[:, None]
    found = areas(counts(50 * (1 - 0.02 * part), ice=0.7 + part))
    assert found.carbon_fraction == pytest.approx(0.4, abs=0.06)
    assert found.thicker_fraction == 0
    assert found.left_out is not None
    rows = len(found.left_out)
    assert found.left_out[: round(0.35 * rows)].all()
    assert not found.left_out[round(0.5 * rows) :].any()
    assert found.ice_level == pytest.approx(50, rel=3e-3)
    assert areas(counts(ice=1.7)).carbon_fraction == 0
    assert math.isnan(measure(counts(), Optics(3.0, 300.0, 2.7, 0.07)).areas.carbon_fraction)


@pytest.mark.parametrize(
    ("fault", "mask", "share", "index"),
    [
        ("carbon_edge", "carbon", "carbon_fraction", 1),
        ("carbon_edge", "carbon", "carbon_fraction", 5),
        ("vacuum", "vacuum", "thinner_fraction", 4),
        ("vacuum", "vacuum", "thinner_fraction", 5),
        ("vacuum", "vacuum", "thinner_fraction", 8),
        ("aggregation", "aggregation", "thicker_fraction", 1),
        ("aggregation", "aggregation", "thicker_fraction", 3),
    ],
)
def test_simulated_bodies_are_measured(fault: Fault, mask: str, share: str, index: int) -> None:
    plan = ExposurePlan(index, "x", (fault,), 15100.0, 14900.0, 0.4, 400.0)
    exposure = simulate_exposure(plan, load_specimen(SETTINGS.specimen), SETTINGS)
    found = areas(torch.from_numpy(next(exposure.frames).astype(np.float32)))
    truth = float(exposure.masks[mask].mean())
    # Aggregates are lumpy: what is thin in them is not much darker.
    assert getattr(found, share) == pytest.approx(truth, abs=0.15 if fault == "aggregation" else 0.1)
    assert 0.1 < truth < 0.9
