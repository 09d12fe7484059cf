"""The truth of a simulated session as RELION tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from scherzer.formats.star import StarTable
from scherzer.geometry.rotations import to_euler
from scherzer.simulate.exposure import Exposure
from scherzer.simulate.settings import SimulationSettings

PARTICLE_LABELS = (
    "rlnMicrographName",
    "rlnCoordinateX",
    "rlnCoordinateY",
    "rlnAngleRot",
    "rlnAngleTilt",
    "rlnAnglePsi",
    "rlnOriginXAngst",
    "rlnOriginYAngst",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnOpticsGroup",
    "sczHeight",
    "sczBroken",
    "sczFault",
)


def micrograph_rows(exposures: Sequence[Exposure], names: Sequence[str]) -> pd.DataFrame:
    """Return one row per exposure: defocus of the film's middle, drift (A), thickness (A), faults (joined by +)."""
    rows: list[dict[str, Any]] = []
    for exposure, name in zip(exposures, names, strict=True):
        plan = exposure.plan
        rows.append(
            {
                "rlnMicrographName": name,
                "rlnOpticsGroup": 1,
                "rlnDefocusU": plan.defocus_u_A,
                "rlnDefocusV": plan.defocus_v_A,
                "rlnCtfAstigmatism": plan.defocus_u_A - plan.defocus_v_A,
                "rlnDefocusAngle": np.degrees(plan.defocus_angle_rad),
                "rlnMicrographIceThickness": plan.thickness_A,
                "rlnAccumMotionTotal": exposure.track.total_A,
                "sczFault": "+".join(plan.faults) or "none",
            }
        )
    return pd.DataFrame(rows)


def particle_rows(exposures: Sequence[Exposure], names: Sequence[str], settings: SimulationSettings) -> pd.DataFrame:
    """Return one row per particle whose centre lies in an image.

    Coordinates are pixels of the image from 0, as the middle frame shows it; the defocus is the particle's own;
    ``sczHeight`` (A) is its height above the film's middle and ``sczBroken`` is 1 for fragments.
    """
    tables = []
    for exposure, name in zip(exposures, names, strict=True):
        particles, plan = exposure.particles, exposure.plan
        inside = particles.inside(settings.microscope.height_px, settings.microscope.width_px)
        rot, tilt, psi = (np.degrees(angle.double().numpy())[inside] for angle in to_euler(particles.rotations))
        columns = {
            "rlnMicrographName": name,
            "rlnCoordinateX": particles.x_px[inside],
            "rlnCoordinateY": particles.y_px[inside],
            "rlnAngleRot": rot,
            "rlnAngleTilt": tilt,
            "rlnAnglePsi": psi,
            "rlnOriginXAngst": 0.0,
            "rlnOriginYAngst": 0.0,
            "rlnDefocusU": plan.defocus_u_A + particles.height_A[inside],
            "rlnDefocusV": plan.defocus_v_A + particles.height_A[inside],
            "rlnDefocusAngle": np.degrees(plan.defocus_angle_rad),
            "rlnOpticsGroup": 1,
            "sczHeight": particles.height_A[inside],
            "sczBroken": particles.broken[inside].astype(int),
            "sczFault": "+".join(plan.faults) or "none",
        }
        tables.append(pd.DataFrame(columns, index=range(int(inside.sum()))))
    if not any(len(table) for table in tables):
        return pd.DataFrame(columns=list(PARTICLE_LABELS))
    return pd.concat(tables, ignore_index=True)


def truth_tables(
    micrographs: pd.DataFrame, particles: pd.DataFrame, settings: SimulationSettings
) -> tuple[StarTable, StarTable]:
    """Return both tables with the session's one optics group."""
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["opticsGroup1"],
            "rlnVoltage": [settings.microscope.voltage_kV],
            "rlnSphericalAberration": [settings.microscope.cs_mm],
            "rlnAmplitudeContrast": [settings.microscope.amplitude_contrast],
            "rlnMicrographPixelSize": [settings.microscope.pixel_size_A],
            "rlnImagePixelSize": [settings.microscope.pixel_size_A],
        }
    )
    return StarTable("micrographs", optics, micrographs), StarTable("particles", optics, particles)


def motion_csv(exposures: Sequence[Exposure], names: Sequence[str]) -> str:
    """Return the position of every frame, A from the middle frame, as comma-separated text."""
    lines = ["micrograph,frame,x_A,y_A"]
    for exposure, name in zip(exposures, names, strict=True):
        shifts = exposure.track.frame_shifts_A
        lines += [f"{name},{frame + 1},{x:.3f},{y:.3f}" for frame, (x, y) in enumerate(shifts)]
    return "\n".join(lines) + "\n"
