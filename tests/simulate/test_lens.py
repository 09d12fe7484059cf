"""Optics of an exposure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from scherzer.physics.ctf import ctf
from scherzer.physics.envelopes import interaction_rad_per_V_A
from scherzer.simulate.field import FieldGrid
from scherzer.simulate.lens import SURVIVES, Lens
from scherzer.simulate.settings import MicroscopeSettings

MICROSCOPE = MicroscopeSettings(pixel_size_A=1.0, cs_mm=2.7)
GRID = FieldGrid(128, 96, 8, 1.0)


def lens(defocus_A: float = 15000.0, astigmatism_A: float = 0.0, **changes: object) -> Lens:
    microscope = replace(MICROSCOPE, **changes)
    half = astigmatism_A / 2
    phase_rad = np.deg2rad(microscope.phase_shift_deg)
    return Lens(microscope, microscope.optics.ctf_parameters(defocus_A + half, defocus_A - half, 0.4, phase_rad))


@pytest.mark.parametrize("phase_shift_deg", [0.0, 90.0])
def test_the_sine_is_the_ctf_and_the_cosine_a_quarter_wave_on(phase_shift_deg: float) -> None:
    optics = lens(astigmatism_A=800.0, phase_shift_deg=phase_shift_deg)
    rows = slice(64, 128)
    sine, cosine = optics.sine_cosine(GRID, rows)
    kx, ky = np.broadcast_arrays(GRID.kx, GRID.ky[rows, None])
    expected = ctf(optics.parameters, torch.from_numpy(kx.copy()), torch.from_numpy(ky.copy()))[0]
    np.testing.assert_allclose(sine, expected, atol=1e-4)
    np.testing.assert_allclose(sine**2 + cosine**2, 1, atol=1e-5)
    assert sine[0, 0] != pytest.approx(cosine[0, 0], abs=0.1)


def test_envelopes_multiply_and_contrast_has_the_size_of_a_weak_phase() -> None:
    k = torch.tensor([0.0, 0.1, 0.2, 0.3])
    blurs = {"b_factor_A2": 0.0, "beam_semiangle_mrad": 0.0, "focal_spread_A": 0.0}
    parts = [lens(**{**blurs, name: getattr(MICROSCOPE, name)}).envelope(k) for name in blurs]
    torch.testing.assert_close(lens().envelope(k), parts[0] * parts[1] * parts[2])
    torch.testing.assert_close(lens(**blurs).envelope(k), torch.ones(4))
    assert float(lens().contrast_per_V_A(k)[0]) == pytest.approx(-2 * interaction_rad_per_V_A(300.0))


def test_signal_reaches_as_far_as_its_finest_frequency_is_moved() -> None:
    # Without Cs the reach is lambda k defocus at the end of what survives.
    plain = lens(20000.0, cs_mm=0.0, b_factor_A2=80.0, beam_semiangle_mrad=0.0, focal_spread_A=0.0)
    last = (np.log(1 / SURVIVES) * 4 / 80) ** 0.5
    assert plain.reach_A() == pytest.approx(0.019687 * last * 20000, rel=0.01)
    assert lens(20000.0, b_factor_A2=400.0).reach_A() < lens(20000.0).reach_A() < lens(40000.0).reach_A()


def test_a_tilted_beam_is_coma_and_a_straight_one_nothing() -> None:
    assert lens().coma(GRID, slice(0, 64)) is None
    found = lens(beam_tilt_mrad=(0.5, -0.3)).coma(GRID, slice(0, 64))
    ky, kx = 7, 20
    k2 = GRID.kx[kx] ** 2 + GRID.ky[ky] ** 2
    along = GRID.kx[kx] * 0.5e-3 - GRID.ky[ky] * 0.3e-3
    phase = 2 * np.pi * 2.7e7 * 0.0196875**2 * k2 * along
    assert np.angle(found[ky, kx]) == pytest.approx(-phase, rel=1e-3)
    assert abs(phase) > 0.1
    np.testing.assert_allclose(np.abs(found), 1, atol=1e-5)
    # Odd: the image stays real.
    np.testing.assert_allclose(
        found[7, 0] * lens(beam_tilt_mrad=(0.5, -0.3)).coma(GRID, slice(64, 128))[57, 0], 1, atol=1e-5
    )
