"""Particles cut from simulated micrographs at their true places, with all that is true of them, for the benchmarks.

    python benchmarks/particle_sets.py FOLDER [set ...]

writes ``particles.star`` with its stack, ``truth.star``, ``truth.mrc`` and ``start.mrc`` (low-passed) of each set:
O (apo-ferritin, 2w0o), D2 (beta-galactosidase, 5a1a), C1 (three of its four chains), D7 and C4 (phantoms). Models are
looked for in ``../shared/models``; without them phantoms of their size stand in.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable, write_star
from scherzer.fourier.filters import lowpass
from scherzer.geometry.rotations import from_euler
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.particles.extraction import extract_particles
from scherzer.particles.half_sets import assign_half_sets
from scherzer.physics.optics import ctf_parameters_of
from scherzer.physics.potential import potential_volume
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.plan import plan_session
from scherzer.simulate.settings import (
    ExposureSettings,
    IceSettings,
    MicroscopeSettings,
    ParticleSettings,
    SimulationSettings,
    SpecimenSettings,
)
from scherzer.simulate.specimen import Specimen, load_specimen
from scherzer.simulate.truth import truth_of

MODELS = Path(__file__).resolve().parents[2] / "shared" / "models"
RAW_BOX_PX, BOX_PX, RAW_PIXEL_A = 192, 128, 1.2
PIXEL_A = RAW_PIXEL_A * RAW_BOX_PX / BOX_PX
# Centres are off by this root mean square along each axis, as a picker's are.
PICKED_WITHIN_A = 4.0
START_A = 35.0


@dataclass(frozen=True)
class Case:
    """What a set is made of: a model and its chains, or the phantom of the symmetry and diameter."""

    symmetry: str
    diameter_A: float
    model: str | None = None
    chains: tuple[str, ...] = ()


CASES = {
    "O": Case("O", 125.0, "2w0o.pdb"),
    "D2": Case("D2", 180.0, "5a1a.cif"),
    "C1": Case("C1", 180.0, "5a1a.cif", ("A", "B", "C")),
    "D7": Case("D7", 150.0),
    "C4": Case("C4", 150.0),
}


@dataclass(frozen=True)
class Known:
    """Particles and what is true of them.

    Attributes
    ----------
    case : Case
        What they are of.
    particles : ParticleSet
        n particles, box 128 at 1.8 A.
    table : StarTable
        The same as RELION has them, but for ``rlnImageName``.
    rotations : Tensor
        ``(n, 3, 3)``.
    shift_A : Tensor
        ``(n, 2)``, where each lies from the centre of its image.
    truth : Tensor
        ``(128, 128, 128)``, V.
    """

    case: Case
    particles: ParticleSet
    images: Tensor
    table: StarTable
    rotations: Tensor
    shift_A: Tensor
    truth: Tensor


def settings_of(case: Case, micrographs: int, seed: int) -> SimulationSettings:
    """Return the session: sums of 2048 px at 1.2 A, underfocus 0.4 to 2.6 um."""
    given = MODELS / case.model if case.model else None
    return SimulationSettings(
        micrographs=micrographs,
        seed=seed,
        specimen=SpecimenSettings(
            model=given if given is not None and given.is_file() else None,
            chains=case.chains,
            assembly=not case.chains,
            symmetry=case.symmetry,
            diameter_A=case.diameter_A,
        ),
        microscope=MicroscopeSettings(
            height_px=2048, width_px=2048, pixel_size_A=RAW_PIXEL_A, amplitude_contrast=0.1, defocus_um=(0.4, 2.6)
        ),
        ice=IceSettings(thickness_A=(200.0, 500.0)),
        particles=ParticleSettings(per_micrograph=150 if case.diameter_A < 160 else 90),
        exposure=ExposureSettings(dose_e_per_A2=40.0, frames=12, output="sums", aligned=True),
    )


def known_particles(name: str, count: int, seed: int = 1) -> Known:
    """Simulate a set of at least one micrograph and at most ``count`` particles."""
    case = CASES[name]
    rng = np.random.default_rng(seed)
    per_micrograph = 0.8 * settings_of(case, 1, seed).particles.per_micrograph
    settings = settings_of(case, max(2, round(1.3 * count / per_micrograph)), seed)
    specimen = load_specimen(settings.specimen)
    images, rows = [], []
    for plan in plan_session(settings):
        exposure = simulate_exposure(plan, specimen, settings, threads=torch.get_num_threads())
        micrograph = torch.from_numpy(next(exposure.frames).astype(np.float32))
        own = truth_of(exposure, f"{plan.name}.mrc", specimen, settings).particles
        off_A = rng.normal(0, PICKED_WITHIN_A, (len(own), 2))
        x_px, y_px = (
            torch.from_numpy(own[f"rlnCoordinate{axis}"].to_numpy() + off_A[:, at] / RAW_PIXEL_A)
            for at, axis in enumerate("XY")
        )
        cut = extract_particles(micrograph, x_px, y_px, RAW_PIXEL_A, case.diameter_A, RAW_BOX_PX, BOX_PX)
        images.append(cut.images)
        own = own.assign(rlnOriginXAngst=off_A[:, 0], rlnOriginYAngst=off_A[:, 1])
        # What a CTF fit gives is the defocus of the film's middle, not of every particle.
        own = own.assign(rlnDefocusU=plan.defocus_u_A, rlnDefocusV=plan.defocus_v_A)
        rows.append(own[cut.kept.numpy()])
        if sum(map(len, rows)) >= count:
            break
    return _known(case, torch.cat(images)[:count], pd.concat(rows, ignore_index=True)[:count], settings, specimen)


def _known(case: Case, images: Tensor, rows: pd.DataFrame, settings: SimulationSettings, specimen: Specimen) -> Known:
    microscope = settings.microscope
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["opticsGroup1"],
            "rlnVoltage": [microscope.voltage_kV],
            "rlnSphericalAberration": [microscope.cs_mm],
            "rlnAmplitudeContrast": [microscope.amplitude_contrast],
            "rlnMicrographPixelSize": [microscope.pixel_size_A],
            "rlnImagePixelSize": [PIXEL_A],
            "rlnImageSize": [BOX_PX],
            "rlnImageDimensionality": [2],
        }
    )
    micrograph = torch.from_numpy(pd.factorize(rows["rlnMicrographName"])[0].astype(np.int64))
    half = assign_half_sets(micrograph)
    rows = rows.assign(rlnRandomSubset=half.numpy())
    particles = ParticleSet.from_images(images, ctf_parameters_of(rows, optics), PIXEL_A, micrograph, half)
    rotations = from_euler(*(torch.from_numpy(np.radians(rows[f"rlnAngle{axis}"].to_numpy())) for axis in ANGLES))
    shift_A = -torch.from_numpy(rows[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy())
    truth = potential_volume(specimen.atoms, BOX_PX, PIXEL_A)
    return Known(
        case, particles, images, StarTable("particles", optics, rows), rotations.float(), shift_A.float(), truth
    )


ANGLES = ("Rot", "Tilt", "Psi")
POSES = [*(f"rlnAngle{axis}" for axis in ANGLES), "rlnOriginXAngst", "rlnOriginYAngst"]


def write_set(known: Known, folder: Path) -> None:
    """Write a set as RELION takes it, the poses apart."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number:06d}@particles.mrcs" for number in range(1, len(known.images) + 1)]
    rows = known.table.rows.assign(rlnImageName=names)
    write_mrc(folder / "particles.mrcs", known.images.numpy(), PIXEL_A, "stack")
    write_star(replace(known.table, rows=rows), folder / "truth.star")
    plain = rows.drop(columns=[*POSES, *(name for name in rows if name.startswith("scz"))])
    write_star(replace(known.table, rows=plain), folder / "particles.star")
    write_mrc(folder / "truth.mrc", known.truth.numpy(), PIXEL_A, "volume")
    write_mrc(folder / "start.mrc", lowpass(known.truth, PIXEL_A, START_A).numpy(), PIXEL_A, "volume")


def main() -> None:
    """Write the sets."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for name in sys.argv[2:] or list(CASES):
        known = known_particles(name, 2000)
        write_set(known, Path(sys.argv[1]) / name)
        print(f"{name}: {len(known.images)} particles from {len(known.particles.micrograph.unique())} micrographs")


if __name__ == "__main__":
    main()
