"""The truth of a simulated session as RELION tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scherzer.formats.star import StarTable
from scherzer.geometry.rotations import to_euler
from scherzer.simulate.exposure import Exposure
from scherzer.simulate.masks import BITS
from scherzer.simulate.settings import SimulationSettings
from scherzer.simulate.snr import particle_snr
from scherzer.simulate.specimen import Specimen

OBJECT_LABELS = ("rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY", "sczFault", "sczRadius", "sczMaskValue")


@dataclass(frozen=True)
class ExposureTruth:
    """What is known of one exposure.

    Attributes
    ----------
    name : str
        Its file, relative to the session.
    micrograph : dict
        One row: defocus of the film's middle, thickness and drift (A), faults (joined by +), particles, and the median
        detectability of those that are whole.
    particles : DataFrame
        One row per particle whose centre lies in the image. Coordinates are pixels from 0, as the middle frame shows
        them; the defocus is the particle's own; ``sczHeight`` (A) is its height above the film's middle; ``sczBroken``
        and ``sczClumped`` are 1 where it is; ``sczAdsorbed`` is 1 or -1 at a surface. For ``sczSnr...`` see
        :func:`scherzer.simulate.snr.particle_snr`.
    objects : DataFrame
        What spoils the image, one by one: kind, centre (px), radius (A), and the value that stands for the kind in
        ``truth/masks``.
    frame_shifts_A : ndarray
        ``(frames, 2)``, x and y from the middle frame.
    """

    name: str
    micrograph: dict[str, Any]
    particles: pd.DataFrame
    objects: pd.DataFrame
    frame_shifts_A: NDArray[np.float64]


def truth_of(exposure: Exposure, name: str, specimen: Specimen, settings: SimulationSettings) -> ExposureTruth:
    """Collect what is known of an exposure."""
    plan, microscope = exposure.plan, settings.microscope
    faults = "+".join(plan.faults) or "none"
    chosen = exposure.particles.inside(microscope.height_px, microscope.width_px)
    inside = exposure.particles[chosen]
    rot, tilt, psi = (np.degrees(angle.double().numpy()) for angle in to_euler(inside.rotations))
    snr = particle_snr(specimen, inside, plan, settings, exposure.power[chosen], exposure.film_A[chosen])
    columns = {
        "rlnMicrographName": name,
        "rlnCoordinateX": inside.x_px,
        "rlnCoordinateY": inside.y_px,
        "rlnAngleRot": rot,
        "rlnAngleTilt": tilt,
        "rlnAnglePsi": psi,
        "rlnOriginXAngst": 0.0,
        "rlnOriginYAngst": 0.0,
        "rlnDefocusU": plan.defocus_u_A + inside.height_A,
        "rlnDefocusV": plan.defocus_v_A + inside.height_A,
        "rlnDefocusAngle": np.degrees(plan.defocus_angle_rad),
        "rlnPhaseShift": microscope.phase_shift_deg,
        "rlnOpticsGroup": 1,
        "sczHeight": inside.height_A,
        "sczBroken": inside.broken.astype(int),
        "sczAdsorbed": inside.adsorbed.astype(int),
        "sczClumped": inside.clumped.astype(int),
        "sczFault": faults,
    }
    particles = pd.DataFrame(columns, index=range(len(inside))).join(snr)
    whole = particles.loc[particles["sczBroken"] == 0, "sczDetectability"]
    micrograph = {
        "rlnMicrographName": name,
        "rlnOpticsGroup": 1,
        "rlnDefocusU": plan.defocus_u_A,
        "rlnDefocusV": plan.defocus_v_A,
        "rlnCtfAstigmatism": plan.defocus_u_A - plan.defocus_v_A,
        "rlnDefocusAngle": np.degrees(plan.defocus_angle_rad),
        "rlnPhaseShift": microscope.phase_shift_deg,
        "rlnMicrographIceThickness": plan.thickness_A,
        "rlnAccumMotionTotal": exposure.track.total_A,
        "sczFault": faults,
        "sczParticleCount": len(inside),
        "sczDetectability": float(whole.median()),
    }
    rows = [(name, entry.x_px, entry.y_px, entry.kind, entry.radius_A, BITS[entry.kind]) for entry in exposure.objects]
    objects = pd.DataFrame(rows, columns=list(OBJECT_LABELS))
    return ExposureTruth(name, micrograph, particles, objects, exposure.track.frame_shifts_A)


def truth_tables(truths: Sequence[ExposureTruth], settings: SimulationSettings) -> dict[str, StarTable]:
    """Return the tables of a session, with its one optics group, by the names of their files."""
    microscope = settings.microscope
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["opticsGroup1"],
            "rlnVoltage": [microscope.voltage_kV],
            "rlnSphericalAberration": [microscope.cs_mm],
            "rlnAmplitudeContrast": [microscope.amplitude_contrast],
            "rlnMicrographPixelSize": [microscope.pixel_size_A],
            "rlnImagePixelSize": [microscope.pixel_size_A],
        }
    )
    return {
        "micrographs": StarTable("micrographs", optics, pd.DataFrame([truth.micrograph for truth in truths])),
        "particles": StarTable("particles", optics, _joined([truth.particles for truth in truths])),
        "faults": StarTable("particles", optics, _joined([truth.objects for truth in truths])),
    }


def motion_csv(truths: Sequence[ExposureTruth]) -> str:
    """Return the position of every frame, A from the middle frame, as comma-separated text."""
    lines = ["micrograph,frame,x_A,y_A"]
    for truth in truths:
        lines += [f"{truth.name},{frame + 1},{x:.3f},{y:.3f}" for frame, (x, y) in enumerate(truth.frame_shifts_A)]
    return "\n".join(lines) + "\n"


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    # pandas warns of joining empty tables, whose columns have no types.
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
