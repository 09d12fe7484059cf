"""How exact and how fast motion correction is: simulated movies, beside RELION's own program where it is installed.

Run from the project's root: ``python benchmarks/micrographs_motion.py [folder [movies, 5]]``. Movies and results go to
the folder, some 5 GB, and movies that lie there (of this script, or of ``scherzer simulate``) are taken; without one
they go to a temporary folder. Five movies take some fifteen minutes, half of it to make them.
"""

from __future__ import annotations

import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import starfile
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from scherzer.formats.movie_writing import write_movie
from scherzer.formats.movies import Movie, open_exposure
from scherzer.formats.mrc import read_mrc
from scherzer.micrographs.motion import COARSE_PIXEL_A, MOST_PICTURES, MotionSettings
from scherzer.micrographs.motion_frames import Frames, crop_frames
from scherzer.micrographs.motion_likelihood import measure, noise_level
from scherzer.micrographs.trajectory import most_probable_path
from scherzer.session.prepare import prepare
from scherzer.session.stages import import_, motion
from scherzer.session.stages.context import Context
from scherzer.session.workers import Workers
from scherzer.simulate.session import simulate_session
from scherzer.simulate.settings import (
    ExposureSettings,
    FaultSettings,
    IceSettings,
    MicroscopeSettings,
    ParticleSettings,
    SimulationSettings,
)

RELION = "relion_run_motioncorr"
FRAMES, PIXEL_A, SIDE_PX, DOSE = 30, 1.0, 4096, 1.0
THIN = 0.1  # share of the counts that is left in the thin movies
SETTINGS = SimulationSettings(
    seed=40,
    microscope=MicroscopeSettings(height_px=SIDE_PX, width_px=SIDE_PX, pixel_size_A=PIXEL_A),
    particles=ParticleSettings(per_micrograph=280),
    exposure=ExposureSettings(dose_e_per_A2=DOSE * FRAMES, frames=FRAMES, output="movies"),
    faults=FaultSettings(drift=0.0, empty=0.0),
)
RELION_OPTICS = f"""
data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
opticsGroup1 1 {PIXEL_A} 300 2.7 0.07

data_movies

loop_
_rlnMicrographMovieName #1
_rlnOpticsGroup #2
"""

Positions = NDArray[np.float64]


@dataclass(frozen=True)
class Spent:
    """Wall time and time of all processors, s."""

    wall: float
    processors: float


def movies_of(folder: Path, settings: SimulationSettings) -> tuple[list[Path], list[Positions]]:
    """Return movies, made if they are not there, and their true positions: ``(n, 2)`` each, x and y in A."""
    if not (folder / "truth" / "motion.csv").is_file():
        simulate_session(folder, settings, workers=2)
    truth = pd.read_csv(folder / "truth" / "motion.csv")
    names = list(dict.fromkeys(truth["micrograph"]))[: settings.micrographs]
    places = [truth.loc[truth["micrograph"] == name, ["x_A", "y_A"]].to_numpy() for name in names]
    return [folder / name for name in names], places


def thinned(movies: list[Path], folder: Path) -> list[Path]:
    """Return movies with every electron kept by chance, made if they are not there."""
    made = []
    for number, path in enumerate(movies):
        made.append(folder / path.name)
        if not made[-1].is_file():
            generator, movie = np.random.default_rng(number), open_exposure(path)
            kept = (generator.binomial(frame.astype(np.uint8), THIN).astype(np.uint8) for frame in movie.frames())
            write_movie(made[-1], kept, PIXEL_A, movie.frame_count)
    return made


def rms_px(found: list[Positions], truth: list[Positions]) -> float:
    """Return the root mean square distance of paths from the true ones, each pair with equal means."""
    errors = [path - true for path, true in zip(found, truth, strict=True)]
    return math.sqrt(np.mean([np.square(e - e.mean(axis=0)).sum(axis=1).mean() for e in errors])) / PIXEL_A


def shifts_in(files: list[Path]) -> list[Positions]:
    """Return the positions that RELION's movie metadata tell: the shifts that were applied, with their sign turned."""
    columns = ["rlnMicrographShiftX", "rlnMicrographShiftY"]
    return [-PIXEL_A * starfile.read(file)["global_shift"][columns].to_numpy(dtype=float) for file in files]


def timed(work: Callable[[], None]) -> Spent:
    def processors() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    before, began = processors(), time.perf_counter()
    work()
    return Spent(time.perf_counter() - began, processors() - before)


def ours(movies: list[Path], root: Path, dose: float, workers: int) -> tuple[list[Positions], Spent]:
    """Run the stages import and motion from nothing, all reading and writing counted."""
    shutil.rmtree(root, ignore_errors=True)
    stated = {"pixel_size_A": PIXEL_A, "voltage_kV": 300.0, "cs_mm": 2.7, "dose_per_frame_e_per_A2": dose}

    def work() -> None:
        session, settings = prepare(root, [str(path) for path in movies], stated, ())
        with Workers(workers) as pool:
            import_.run(session, settings, Context(pool))
            motion.run(session, settings, Context(pool))

    spent = timed(work)
    return shifts_in([root / "motion" / f"{path.stem}_shifts.star" for path in movies]), spent


def relions(movies: list[Path], root: Path, dose: float) -> tuple[list[Positions], Spent]:
    """Run RELION's own implementation, whole frames only, two threads, the same sums written."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "movies").mkdir(parents=True)
    for path in movies:
        (root / "movies" / path.name).symlink_to(path.resolve())
    names = "".join(f"movies/{path.name} 1\n" for path in movies)
    (root / "movies.star").write_text(RELION_OPTICS + names, encoding="utf-8")
    command = f"{RELION} --i movies.star --o out/ --use_own --patch_x 1 --patch_y 1 --j 2 --dose_weighting --save_noDW"

    def work() -> None:
        subprocess.run([*command.split(), "--dose_per_frame", str(dose)], cwd=root, check=True, capture_output=True)

    spent = timed(work)
    return shifts_in([root / "out" / "movies" / f"{path.stem}.star" for path in movies]), spent


def tensors(movie: Movie) -> Iterator[Tensor]:
    return (torch.from_numpy(np.ascontiguousarray(frame)) for frame in movie.frames())


def bounds_px(movies: list[Path], truth: list[Positions], dose: float) -> tuple[float, float]:
    """Return what no method can beat: without a guess of how paths run (Cramer and Rao), and with the true path's own.

    From how alike the frames are where the specimen truly is: water that diffuses under the beam is in it.
    """
    alone, smooth = [], []
    settings = MotionSettings()
    for path, places in zip(movies, truth, strict=True):
        movie = open_exposure(path)
        frames, count = Frames(partial(tensors, movie), None, settings.outlier_sigma), movie.frame_count
        finest_A = settings.alignment_pixel_A
        crops = crop_frames(frames, count, movie.shape, PIXEL_A, finest_A, COARSE_PIXEL_A, MOST_PICTURES)
        level = noise_level(crops.fine, crops.rings)
        alike, doses = crops.fine / level[:, None], dose * (np.arange(count) + 0.5)
        at = np.ascontiguousarray(places[:, ::-1])
        information = measure(alike, crops.rings, at, -at, level / level.mean(), doses).information
        alone.append(2 * np.trace(np.linalg.pinv(information)) / count)
        smooth.append(most_probable_path(at, information, np.arange(count), doses).error_A ** 2)
    return math.sqrt(np.mean(alone)) / PIXEL_A, math.sqrt(np.mean(smooth)) / PIXEL_A


def identical(one: Path, other: Path) -> bool:
    """Return whether the sums and shifts of two sessions are the same to the bit."""
    names = sorted(path.name for path in (one / "motion").glob("*_shifts.star"))
    same = [np.array_equal(*(shifts_in([root / "motion" / name])[0] for root in (one, other))) for name in names]
    sums = sorted(path.name for path in (one / "motion").glob("*.mrc"))
    return all(same) and all(
        np.array_equal(*(read_mrc(root / "motion" / name).data for root in (one, other))) for name in sums
    )


def rows(folder: Path, count: int = 5) -> Iterator[tuple[str, str]]:
    """Yield what was measured, and the result."""
    movies, truth = movies_of(folder, replace(SETTINGS, micrographs=count))
    has_relion = shutil.which(RELION) is not None
    size = f"{len(movies)} movies of {SIDE_PX} x {SIDE_PX} x {FRAMES}"
    found, spent = ours(movies, folder / "two", DOSE, 2)
    error = f"{rms_px(found, truth):.3f} px"
    if has_relion:
        theirs, relion = relions(movies, folder / "relion", DOSE)
        error += f" (RELION {rms_px(theirs, truth):.3f})"
    yield f"rms error of the path, {DOSE:g} e/px/frame, {size}", error
    yield "  bound without and with a smooth path", "{:.3f}, {:.3f} px".format(*bounds_px(movies, truth, DOSE))
    # Of worker processes the system does not tell this one the time, so that is taken from one worker, this process.
    _, single = ours(movies, folder / "one", DOSE, 1)
    seconds = f"{spent.wall / count:.1f} s wall, {single.processors / count:.1f} s of processors"
    yield "time of import and motion a movie, two workers", seconds
    if has_relion:
        seconds = f"{relion.wall / count:.1f} s wall, {relion.processors / count:.1f} s of processors"
        yield "  RELION's own with two threads", seconds
        ratios = spent.wall / relion.wall, single.processors / relion.processors
        yield "  ours over RELION's", "{:.2f} of the wall time, {:.2f} of the processors'".format(*ratios)
    yield (
        "one and two workers give the same sums and shifts",
        "yes" if identical(folder / "one", folder / "two") else "NO",
    )
    thin = thinned(movies, folder / "thin")
    found, _ = ours(thin, folder / "thin_two", THIN * DOSE, 2)
    error = f"{rms_px(found, truth):.3f} px"
    if has_relion:
        error += f" (RELION {rms_px(relions(thin, folder / 'thin_relion', THIN * DOSE)[0], truth):.3f})"
    yield f"rms error of the path, {THIN * DOSE:g} e/px/frame", error
    yield "  bound without and with a smooth path", "{:.3f}, {:.3f} px".format(*bounds_px(thin, truth, THIN * DOSE))
    resting = replace(SETTINGS, micrographs=2, ice=IceSettings(water_motion_A2_per_e=0.0))
    movies, truth = movies_of(folder / "resting", resting)
    thin = thinned(movies, folder / "resting" / "thin")
    errors = []
    for name, some, dose in (("two", movies, DOSE), ("thin_two", thin, THIN * DOSE)):
        errors.append(rms_px(ours(some, folder / "resting" / name, dose, 2)[0], truth))
    what = f"rms error of the path where water rests, {DOSE:g} and {THIN * DOSE:g} e/px/frame"
    yield what, "{:.3f}, {:.3f} px".format(*errors)


def main() -> None:
    """Print the table, each row as soon as it is measured."""
    count, console = int(sys.argv[2]) if len(sys.argv) > 2 else 5, Console(width=150)
    with tempfile.TemporaryDirectory() as temporary:
        for what, result in rows(Path(sys.argv[1] if len(sys.argv) > 1 else temporary), count):
            console.print(f"{what:75} {result}", highlight=False)
    if shutil.which(RELION) is None:
        console.print(f"{RELION} is not installed: nothing compared with it")


if __name__ == "__main__":
    main()
