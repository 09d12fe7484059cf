"""A whole simulated session on disk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from scherzer.formats.atomic import write_text
from scherzer.formats.movie_writing import write_movie
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable, write_star
from scherzer.simulate.exposure import Exposure, simulate_exposure
from scherzer.simulate.plan import plan_session
from scherzer.simulate.settings import SimulationSettings
from scherzer.simulate.specimen import load_specimen
from scherzer.simulate.truth import micrograph_rows, motion_csv, particle_rows, truth_tables


@dataclass(frozen=True)
class SimulatedSession:
    """What was written.

    Attributes
    ----------
    folder : Path
        The session's folder.
    files : list of Path
        Movies or micrographs, in order.
    acquisition : dict
        What a user would have to state, as in ``acquisition.yaml``.
    micrographs, particles : StarTable
        The truth, as in ``truth/*.star``.
    map_file : Path
        The specimen's potential.
    """

    folder: Path
    files: list[Path]
    acquisition: dict[str, float | str]
    micrographs: StarTable
    particles: StarTable
    map_file: Path


def simulate_session(
    out: Path,
    settings: SimulationSettings,
    progress: Callable[[float, str], None] | None = None,
    workers: int = 1,
) -> SimulatedSession:
    """Simulate a session and write it with its truth.

    Parameters
    ----------
    out : Path
        Folder; gets ``movies`` or ``micrographs``, ``truth`` and ``acquisition.yaml``.
    settings : SimulationSettings
        What to simulate.
    progress : callable, optional
        Called with the fraction done and a short message.
    workers : int
        Exposures made at once; the result does not depend on it.

    Raises
    ------
    BadInput
        If the model cannot be read.
    """
    specimen = load_specimen(settings.specimen)
    plans = plan_session(settings)
    exposures: list[Exposure] = []
    files: list[Path] = []
    with ThreadPoolExecutor(workers) as pool:
        # No more exposures in flight than workers: each holds its movie in memory until it is written.
        for start in range(0, len(plans), workers):
            batch = plans[start : start + workers]
            for exposure in pool.map(partial(simulate_exposure, specimen=specimen, settings=settings), batch):
                files.append(_write_exposure(out, exposure, settings))
                exposures.append(_without_frames(exposure))
                if progress is not None:
                    progress(len(files) / max(len(plans), 1), exposure.plan.name)
    names = [file.relative_to(out).as_posix() for file in files]
    micrographs, particles = truth_tables(
        micrograph_rows(exposures, names), particle_rows(exposures, names, settings), settings
    )
    map_file = out / "truth" / "map.mrc"
    write_mrc(
        map_file, specimen.map(settings.microscope.pixel_size_A).numpy(), settings.microscope.pixel_size_A, "volume"
    )
    write_star(micrographs, out / "truth" / "micrographs.star")
    write_star(particles, out / "truth" / "particles.star")
    write_text(out / "truth" / "motion.csv", motion_csv(exposures, names))
    acquisition = acquisition_facts(settings, specimen.radius_A)
    write_text(out / "acquisition.yaml", yaml.safe_dump(acquisition, sort_keys=False))
    return SimulatedSession(out, files, acquisition, micrographs, particles, map_file)


def acquisition_facts(settings: SimulationSettings, radius_A: float) -> dict[str, float | str]:
    """Return what the user of a real session would know."""
    facts: dict[str, float | str] = {
        "pixel_size_A": settings.microscope.pixel_size_A,
        "voltage_kV": settings.microscope.voltage_kV,
        "cs_mm": settings.microscope.cs_mm,
        "amplitude_contrast": settings.microscope.amplitude_contrast,
        "dose_per_frame_e_per_A2": settings.exposure.dose_per_frame_e_per_A2,
        "symmetry": settings.specimen.symmetry,
        "diameter_A": float(round(2 * radius_A)),
    }
    return facts


def _write_exposure(out: Path, exposure: Exposure, settings: SimulationSettings) -> Path:
    if settings.exposure.output == "movies":
        path = out / "movies" / f"{exposure.plan.name}.tif"
        write_movie(path, exposure.frames, settings.microscope.pixel_size_A, len(exposure.frames))
    else:
        path = out / "micrographs" / f"{exposure.plan.name}.mrc"
        write_mrc(path, exposure.frames[0].astype(np.int16), settings.microscope.pixel_size_A, "image")
    return path


def _without_frames(exposure: Exposure) -> Exposure:
    return Exposure(exposure.plan, exposure.frames[:0], exposure.particles, exposure.track)
