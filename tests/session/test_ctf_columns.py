"""What the tables say of a CTF fit, and of none."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
from torch import Tensor

from scherzer.formats.star import StarTable
from scherzer.micrographs.condition import judge
from scherzer.micrographs.contrast.measurements import measure
from scherzer.micrographs.ctf_estimation import estimate_ctf
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import Optics
from scherzer.session.results import micrograph_entry
from scherzer.session.stages.contrast import ctf_numbers
from scherzer.session.stages.ctf import columns_of
from scherzer.session.stages.micrograph_stage import rows_of

OPTICS = Optics(pixel_size_A=1.5, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1)
GEOMETRY = (
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnCtfAstigmatism",
    "rlnPhaseShift",
    "sczDefocusError",
    "sczAstigmatismError",
)


def image(signal: float, u_A: float = 15200.0, v_A: float = 14800.0) -> Tensor:
    """White specimen through a CTF, its axis at 30 degrees, in white noise."""
    generator = torch.Generator().manual_seed(1)
    ky = torch.fft.fftfreq(1024, OPTICS.pixel_size_A)[:, None].expand(1024, 513)
    kx = torch.fft.rfftfreq(1024, OPTICS.pixel_size_A).expand(1024, 513)
    transfer = ctf(OPTICS.ctf_parameters(u_A, v_A, math.radians(30)), kx, ky)[0]
    transfer = transfer * torch.exp(-15 * (kx.square() + ky.square()))
    specimen = torch.fft.rfft2(torch.randn(1024, 1024, generator=generator))
    noise = torch.randn(1024, 1024, generator=generator)
    return 100 + noise + signal * torch.fft.irfft2(specimen * transfer, s=(1024, 1024))


def test_a_fit_stands_in_degrees_and_angstrom_with_its_errors() -> None:
    columns = columns_of(estimate_ctf(image(1.0), OPTICS))
    assert columns["rlnDefocusU"] == pytest.approx(15200, abs=60)
    assert columns["rlnCtfAstigmatism"] == pytest.approx(400, abs=80)
    assert columns["rlnDefocusAngle"] == pytest.approx(30, abs=6)
    assert columns["rlnPhaseShift"] == 0
    assert 0 < columns["sczDefocusError"] < 30
    assert columns["sczCtfProblem"] == ""
    assert columns["sczFilmTilt"] < 4 * columns["sczFilmTiltError"] < 90


def test_no_reliable_fit_is_no_number_and_rejects_the_micrograph() -> None:
    noise = image(0.0)
    columns = columns_of(estimate_ctf(noise, OPTICS))
    assert all(math.isnan(columns[name]) for name in GEOMETRY)
    assert "no rings stand out" in columns["sczCtfProblem"]
    known = {"rlnMicrographName": "a.mrc", "sczState": "rejected", "sczReason": ""}
    (row,) = rows_of(StarTable("micrographs", pd.DataFrame(), pd.DataFrame([{**known, **columns}])))
    numbers = ctf_numbers(row)
    verdict = judge(measure(noise, OPTICS, numbers), numbers)
    assert verdict.state == "rejected"
    assert columns["sczCtfProblem"] in verdict.reason
    entry = micrograph_entry({**known, **columns}, {}, {})
    assert (entry["defocus_u_A"], entry["defocus_u_A_reason"]) == (None, "no reliable CTF fit")
    assert entry["ctf_confidence"] < 0.95
