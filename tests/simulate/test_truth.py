"""The tables' truth explains the pictures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from scherzer.formats.movies import open_exposure
from scherzer.formats.mrc import read_mrc
from scherzer.fourier.grids import centred_irfft2, rfft_radius
from scherzer.fourier.slices import slice_table
from scherzer.geometry.rotations import from_euler
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import ctf_parameters_of
from scherzer.simulate.presets import read_preset
from scherzer.simulate.session import SimulatedSession, simulate_session

BOX = 96


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSession:
    settings = read_preset(
        "small",
        {
            "micrographs": 2,
            "specimen.symmetry": "D2",
            "specimen.contrast": 1.0,
            "microscope.height_px": 512,
            "microscope.width_px": 512,
            "microscope.pixel_size_A": 2.0,
            "microscope.defocus_um": (1.0, 2.2),
            "ice.thickness_A": (200, 250),
            "particles.per_micrograph": 25,
            "particles.broken": 0.0,
            "exposure.output": "sums",
            "exposure.frames": 1,
            "faults.drift": 0.0,
            "faults.empty": 0.0,
        },
    )
    return simulate_session(tmp_path_factory.mktemp("s"), settings)


def mean_agreement(session: SimulatedSession, rows: pd.DataFrame) -> float:
    """Mean correlation of windows of the images with what the rows predict from the map, 60 to 12 A."""
    pixel_size_A = float(session.acquisition["pixel_size_A"])
    small = torch.from_numpy(read_mrc(session.map_file).data)
    before = BOX // 2 - small.shape[0] // 2
    volume = torch.nn.functional.pad(small, (before, BOX - small.shape[0] - before) * 3)
    ky, kx = torch.meshgrid(torch.fft.fftfreq(BOX, 1 / BOX), torch.arange(BOX // 2 + 1.0), indexing="ij")
    radius = rfft_radius(BOX, 2) / (BOX * pixel_size_A)
    band = (radius > 1 / 60) & (radius < 1 / 12)
    angles = (
        torch.from_numpy(np.deg2rad(rows[f"rlnAngle{a}"].to_numpy(float))).float() for a in ("Rot", "Tilt", "Psi")
    )
    slices = slice_table(volume, 18).slices(from_euler(*angles), kx[band], ky[band])
    scale = BOX * pixel_size_A
    slices = slices * -ctf(ctf_parameters_of(rows, session.particles.optics), kx[band] / scale, ky[band] / scale)
    scores = []
    images = {name: open_exposure(session.folder / name).read()[0] for name in set(rows["rlnMicrographName"])}
    for row, values in zip(rows.to_dict("records"), slices, strict=True):
        x, y = round(row["rlnCoordinateX"]), round(row["rlnCoordinateY"])
        half = BOX // 2
        window = torch.from_numpy(images[row["rlnMicrographName"]][y - half : y + half, x - half : x + half])
        transform = torch.zeros((BOX, BOX // 2 + 1), dtype=torch.complex64)
        transform[band] = values
        expected = centred_irfft2(transform)
        seen = torch.fft.irfft2(torch.fft.rfft2(window - window.mean()) * band, s=(BOX, BOX))
        scores.append(float((expected * seen).sum() / (expected.norm() * seen.norm())))
    return float(np.mean(scores))


def test_positions_angles_and_defocus_are_right(session: SimulatedSession) -> None:
    rows = session.particles.rows
    room = BOX // 2 + 7  # one of the checks moves them by 6 px
    rows = rows[rows["rlnCoordinateX"].between(room, 511 - room) & rows["rlnCoordinateY"].between(room, 511 - room)]
    rows = rows.reset_index(drop=True)
    assert len(rows) > 15
    truth = mean_agreement(session, rows)
    assert truth > 0.4
    assert mean_agreement(session, rows.assign(rlnAnglePsi=rows["rlnAnglePsi"] + 40)) < 0.75 * truth
    assert mean_agreement(session, rows.assign(rlnAngleRot=rows["rlnAngleRot"] + 40)) < 0.85 * truth
    swapped = rows.assign(rlnAngleRot=180 - rows["rlnAnglePsi"], rlnAnglePsi=180 - rows["rlnAngleRot"])
    assert mean_agreement(session, swapped) < 0.85 * truth  # the inverse rotation
    assert mean_agreement(session, rows.assign(rlnCoordinateX=rows["rlnCoordinateX"] - 6)) < 0.75 * truth
    wrong_defocus = rows.assign(rlnDefocusU=rows["rlnDefocusU"] + 6000, rlnDefocusV=rows["rlnDefocusV"] + 6000)
    assert mean_agreement(session, wrong_defocus) < 0.95 * truth
    mirrored = rows.assign(rlnDefocusU=-rows["rlnDefocusU"], rlnDefocusV=-rows["rlnDefocusV"])
    assert mean_agreement(session, mirrored) < 0
