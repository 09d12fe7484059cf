"""The extraction stage over two micrographs: its box, its edges, half floats, and images multiplied by their CTF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from scherzer.formats.mrc import read_mrc, write_mrc
from scherzer.formats.star import StarTable
from scherzer.likelihood.band import make_band
from scherzer.likelihood.score import band_ctf
from scherzer.particles.extraction import ExtractSettings
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import ctf_parameters_of
from scherzer.session.acquisition import Acquisition
from scherzer.session.complete import complete
from scherzer.session.folder import Session, create_session
from scherzer.session.settings import SessionSettings
from scherzer.session.stages import extract
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.particle_sets import load_particles
from scherzer.session.workers import Workers

SIDE, PIXEL_A, DIAMETER_A, DEFOCUS_A = 384, 2.0, 100.0, 25_000.0
PLACES = [(100.0, 100.0), (250.5, 120.25), (130.0, 280.0), (5.0, 200.0)]  # the last one is cut by the edge
FACTS = Acquisition(pixel_size_A=PIXEL_A, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1, diameter_A=DIAMETER_A)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Grainy particles seen at high defocus, with little noise."""
    made = create_session(tmp_path / "s")
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["one"],
            "rlnVoltage": [300.0],
            "rlnSphericalAberration": [2.7],
            "rlnAmplitudeContrast": [0.1],
            "rlnMicrographPixelSize": [PIXEL_A],
        }
    )
    names = ["a.mrc", "b.mrc"]
    rows = pd.DataFrame(
        {
            "sczName": ["a", "b"],
            "rlnMicrographName": names,
            "rlnOpticsGroup": 1,
            "rlnDefocusU": DEFOCUS_A,
            "rlnDefocusV": DEFOCUS_A,
            "rlnDefocusAngle": 0.0,
            "sczState": "accepted",
        }
    )
    transfer = ctf(ctf_parameters_of(rows, optics)[:1], *frequencies(SIDE))[0]
    generator = torch.Generator().manual_seed(0)
    for name in names:
        noise = 0.02 * torch.randn(SIDE, SIDE, generator=generator)
        seen = torch.fft.irfft2(torch.fft.rfft2(projections()) * transfer, s=(SIDE, SIDE)) + noise
        write_mrc(made.root / name, (100 - seen).numpy(), PIXEL_A)
    picks = [{"rlnMicrographName": name, "rlnCoordinateX": x, "rlnCoordinateY": y} for name in names for x, y in PLACES]
    made.stage("pick").mkdir()
    made.write("pick", StarTable("micrographs", optics, rows))
    table = pd.DataFrame(picks).assign(rlnAutopickFigureOfMerit=1.0, rlnOpticsGroup=1)
    made.write("pick", StarTable("particles", optics, table))
    complete(made, "pick", "picked")
    return made


def frequencies(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.fft.rfftfreq(side, PIXEL_A), torch.fft.fftfreq(side, PIXEL_A)[:, None]


def projections() -> torch.Tensor:
    """Return the first particle alone in the field: a disc of grains."""
    grains = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    index = torch.arange(SIDE)
    x, y = PLACES[0]
    return grains * (torch.hypot(index - x, index[:, None] - y) < DIAMETER_A / 2 / PIXEL_A)


def extracted(session: Session, **changes: object) -> StageOutcome:
    settings = SessionSettings(acquisition=FACTS, extract=ExtractSettings(**changes))  # type: ignore[arg-type]
    with Workers(1) as workers:
        return extract.run(session, settings, Context(workers))


def agreement(session: Session) -> float:
    """Correlate the first particle with what is expected of it between 12 and 5 A."""
    particles = load_particles(session, session.read("extract", "particles"))[torch.tensor([0])]
    box = particles.box
    x, y = (int(value) for value in PLACES[0])
    inside = slice(y - box // 2, y + box // 2), slice(x - box // 2, x + box // 2)
    own = torch.fft.rfft2(torch.fft.ifftshift(projections()[inside]))
    extent_A = particles.extent_A
    band = make_band(box, extent_A / 5.0, extent_A / 12.0)
    expected = band.take(own[None]) * band_ctf(particles, band)
    found = band.take(particles.spectra())
    return float((found * expected.conj()).real.sum() / (found.norm() * expected.norm()))


def test_the_summary_names_the_box_and_the_picks_that_an_edge_cuts(session: Session) -> None:
    outcome = extracted(session)
    assert "6 particles (2 picks are cut by an edge), box 90 px of 2 A, 1.80 diameters" in outcome.summary
    assert "at 2.5 um it holds all detail up to 12.3 A" in outcome.summary  # 2 x 0.0197 x 25000 / 80
    assert extracted(session).computed == 0


def test_half_floats_are_mode_12_and_read_back_as_they_were(session: Session) -> None:
    extracted(session)
    stack = session.stage("extract") / "a.mrcs"
    whole = read_mrc(stack).data
    extracted(session, stack_type="float16")
    with stack.open("rb") as handle:
        handle.seek(12)
        assert int.from_bytes(handle.read(4), "little") == 12
    assert np.allclose(read_mrc(stack).data, whole, atol=2e-3 * np.abs(whole).max())


def test_multiplied_in_a_wide_field_the_box_holds_what_defocus_carried_out(session: Session) -> None:
    extracted(session)
    cut = agreement(session)
    outcome = extracted(session, premultiply_ctf=True)
    assert "multiplied by the CTF in" in outcome.summary
    assert session.read("extract", "particles").optics["rlnCtfDataAreCtfPremultiplied"].tolist() == [1]
    multiplied = agreement(session)
    assert multiplied > 0.9
    assert multiplied > cut + 0.1
