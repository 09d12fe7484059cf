"""A small RELION project on disk: particles of a D2 phantom, one stack a micrograph, two optics groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable, write_star
from scherzer.fourier.filters import cosine_edge, lowpass
from scherzer.fourier.grids import centred_irfft2, real_radius
from scherzer.fourier.slices import slice_table
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import random_rotations
from scherzer.likelihood.band import make_band
from scherzer.maps.symmetrise import symmetrise_volume
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import ctf_parameters_of

BOX, PIXEL_SIZE_A, DIAMETER_A = 36, 4.0, 92.0
MICROGRAPHS, PER_MICROGRAPH = 16, 15


@dataclass(frozen=True)
class Project:
    """A RELION project: its folder, the table in a job's folder, the map that the particles show, and the images."""

    root: Path
    star: Path
    map: Path
    table: StarTable
    images: torch.Tensor

    def rewrite(
        self, name: str = "other.star", rows: pd.DataFrame | None = None, optics: pd.DataFrame | None = None
    ) -> Path:
        """Write a changed table beside the first one."""
        changed = StarTable(
            "particles", self.table.optics if optics is None else optics, self.table.rows if rows is None else rows
        )
        write_star(changed, self.star.with_name(name))
        return self.star.with_name(name)


def phantom() -> torch.Tensor:
    """Positive lumps in a ball, D2."""
    generator = torch.Generator().manual_seed(5)
    ball = cosine_edge(real_radius(BOX, 3), 9.5, 11.5)
    centres = (torch.rand(6, 3, generator=generator) - 0.5) * 17
    axis = torch.arange(BOX) - BOX // 2.0
    profile = torch.exp(-((axis[None, None] - centres[..., None]) ** 2) / (2 * 1.1**2))
    lumps = torch.einsum("nz,ny,nx->zyx", profile[:, 2], profile[:, 1], profile[:, 0])
    volume = symmetrise_volume(lumps * ball, point_group("D2")) * ball
    return lowpass(volume, 1.0, BOX / 15) / volume.std()


def particle_table() -> StarTable:
    """Two optics groups of different voltage, a stack and a defocus for each micrograph."""
    draws = np.random.default_rng(3)
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1, 2],
            "rlnOpticsGroupName": ["first", "second"],
            "rlnVoltage": [300.0, 200.0],
            "rlnSphericalAberration": [2.7, 1.4],
            "rlnAmplitudeContrast": [0.1, 0.07],
            "rlnImagePixelSize": PIXEL_SIZE_A,
            "rlnImageSize": BOX,
            "rlnImageDimensionality": 2,
        }
    )
    micrograph = np.repeat(np.arange(MICROGRAPHS), PER_MICROGRAPH)
    defocus_A = draws.uniform(6000, 14000, MICROGRAPHS)[micrograph]
    number = np.tile(np.arange(1, PER_MICROGRAPH + 1), MICROGRAPHS)
    rows = pd.DataFrame(
        {
            "rlnImageName": [f"{n:06d}@Extract/job005/m{m:02d}.mrcs" for n, m in zip(number, micrograph, strict=True)],
            "rlnMicrographName": [f"MotionCorr/job002/m{m:02d}.mrc" for m in micrograph],
            "rlnOpticsGroup": 1 + micrograph % 2,
            "rlnDefocusU": defocus_A + 150,
            "rlnDefocusV": defocus_A - 150,
            "rlnDefocusAngle": 17.0,
            "rlnCoordinateX": draws.uniform(100, 900, len(number)),
            "rlnGroupName": "0007",
        }
    )
    return StarTable("particles", optics, rows)


def images_of(table: StarTable, volume: torch.Tensor, noise: float) -> torch.Tensor:
    """Project, apply the CTF, add noise; a pixel's variance is 1."""
    extent_A = BOX * PIXEL_SIZE_A
    band = make_band(BOX, BOX / 2 - 1)
    transfer = ctf(ctf_parameters_of(table.rows, table.optics), band.kx / extent_A, band.ky / extent_A)
    rotations = random_rotations(len(table), np.random.default_rng(7))
    clean = centred_irfft2(band.put(slice_table(volume, BOX / 2 - 1).slices(rotations, band.kx, band.ky) * transfer))
    clean = clean / clean.std()
    total = clean + noise * torch.randn(clean.shape, generator=torch.Generator().manual_seed(8))
    return total / (1 + noise**2) ** 0.5


def write_stacks(root: Path, images: torch.Tensor, dtype: type = np.float32, scale: float = 1.0) -> None:
    """Write one stack a micrograph."""
    for number, stack in enumerate((images * scale).split(PER_MICROGRAPH)):
        stored = stack.round().numpy() if dtype is np.int16 else stack.numpy()
        write_mrc(root / f"Extract/job005/m{number:02d}.mrcs", stored.astype(dtype), PIXEL_SIZE_A, "stack")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return 240 particles at a signal to noise ratio of 1 / 4."""
    root = tmp_path_factory.mktemp("project")
    volume, table = phantom(), particle_table()
    images = images_of(table, volume, 2.0)
    write_stacks(root, images)
    star, start = root / "Select/job009/particles.star", root / "start.mrc"
    write_star(table, star)
    write_mrc(start, volume.numpy(), PIXEL_SIZE_A, "volume")
    return Project(root, star, start, table, images)
