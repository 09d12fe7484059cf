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
from scherzer.formats.eer import EerSettings, raw_frames_per_frame, read_eer_header
from scherzer.formats.movie_writing import write_movie
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable, write_star
from scherzer.simulate.detector import detector_named
from scherzer.simulate.exposure import Exposure, simulate_exposure
from scherzer.simulate.masks import write_mask
from scherzer.simulate.plan import ExposurePlan, plan_session
from scherzer.simulate.sensor import Sensor, draw_sensor, write_sensor
from scherzer.simulate.settings import SimulationSettings
from scherzer.simulate.specimen import Specimen, load_specimen
from scherzer.simulate.truth import ExposureTruth, motion_csv, truth_of, truth_tables

# Beyond two cores an exposure gains little; further cores make further exposures.
CORES_PER_EXPOSURE = 2
SUFFIXES = {"tiff": ".tif", "mrc": ".mrc", "eer": ".eer"}


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
        Processor cores to use; the result does not depend on it.

    Raises
    ------
    BadInput
        If the model cannot be read, or the detector is not known.
    """
    pixel_size_A = settings.microscope.pixel_size_A
    detector_named(settings.detector.name)
    specimen = load_specimen(settings.specimen)
    plans = plan_session(settings)
    sensor = draw_sensor(settings)
    make = partial(
        _make,
        out=out,
        specimen=specimen,
        settings=settings,
        sensor=sensor,
        threads=min(workers, CORES_PER_EXPOSURE),
    )
    truths: list[ExposureTruth] = []
    with ThreadPoolExecutor(max(1, workers // CORES_PER_EXPOSURE)) as pool:
        for plan, truth in zip(plans, pool.map(make, plans), strict=True):
            truths.append(truth)
            if progress is not None:
                progress(len(truths) / len(plans), plan.name)
    tables = truth_tables(truths, settings)
    for name, table in tables.items():
        write_star(table, out / "truth" / f"{name}.star")
    write_text(out / "truth" / "motion.csv", motion_csv(truths))
    map_file = out / "truth" / "map.mrc"
    write_mrc(map_file, specimen.map(pixel_size_A).numpy(), pixel_size_A, "volume")
    acquisition = acquisition_facts(settings, specimen.radius_A)
    if sensor is not None and settings.exposure.output == "movies":
        gain, _ = write_sensor(out, sensor, pixel_size_A)
        acquisition["gain"] = gain.relative_to(out).as_posix()
    files = [out / truth.name for truth in truths]
    if files[0].suffix == ".eer":  # its frames are made by whoever reads it
        group = raw_frames_per_frame(files[0], read_eer_header(files[0]), EerSettings())
        raw_frames = settings.exposure.frames * settings.exposure.raw_frames_per_frame
        acquisition["dose_per_frame_e_per_A2"] = settings.exposure.dose_e_per_A2 * group / raw_frames
    write_text(out / "acquisition.yaml", yaml.safe_dump(acquisition, sort_keys=False))
    return SimulatedSession(out, files, acquisition, tables["micrographs"], tables["particles"], map_file)


def acquisition_facts(settings: SimulationSettings, radius_A: float) -> dict[str, float | str]:
    """Return what the user of a real session would know."""
    microscope = settings.microscope
    return {
        "pixel_size_A": microscope.pixel_size_A,
        "voltage_kV": microscope.voltage_kV,
        "cs_mm": microscope.cs_mm,
        "amplitude_contrast": microscope.amplitude_contrast,
        "dose_per_frame_e_per_A2": settings.exposure.dose_per_frame_e_per_A2,
        "symmetry": settings.specimen.symmetry,
        "diameter_A": float(round(2 * radius_A)),
    }


def _make(
    plan: ExposurePlan,
    out: Path,
    specimen: Specimen,
    settings: SimulationSettings,
    sensor: Sensor | None,
    threads: int,
) -> ExposureTruth:
    """Make one exposure, write it and keep of it only its truth."""
    exposure = simulate_exposure(plan, specimen, settings, sensor, threads)
    name = _write_exposure(out, exposure, settings)
    write_mask(out / "truth" / "masks" / f"{plan.name}.mrc", exposure, settings)
    return truth_of(exposure, name, specimen, settings)


def _write_exposure(out: Path, exposure: Exposure, settings: SimulationSettings) -> str:
    plan, pixel_size_A = exposure.plan, settings.microscope.pixel_size_A
    if settings.exposure.output == "sums":
        name = f"micrographs/{plan.name}.mrc"
        counts = np.rint(next(exposure.frames))
        kind = np.int16 if counts.max() <= np.iinfo(np.int16).max else np.float32
        write_mrc(out / name, counts.astype(kind), pixel_size_A, "image")
        return name
    name = f"movies/{plan.name}{SUFFIXES[settings.exposure.format]}"
    write_movie(
        out / name,
        exposure.frames,
        pixel_size_A,
        settings.exposure.frames,
        settings.exposure.raw_frames_per_frame,
        seed=settings.seed + plan.index,
    )
    return name
