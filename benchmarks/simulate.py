"""Time and memory of simulated exposures: 4096 x 4096 at 0.864 A with 300 particles of beta-galactosidase.

    python benchmarks/simulate.py

The model is ../shared/models/5a1a.cif; without it a phantom of its size is used, with fewer atoms. Each case runs in a
process of its own, including what is written and the truth of its particles.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from scherzer.formats.movie_writing import write_movie
from scherzer.formats.mrc import write_mrc
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.plan import ExposurePlan
from scherzer.simulate.settings import (
    ExposureSettings,
    MicroscopeSettings,
    ParticleSettings,
    SimulationSettings,
    SpecimenSettings,
)
from scherzer.simulate.specimen import load_specimen
from scherzer.simulate.truth import truth_of

MODEL = Path(__file__).parents[2] / "shared/models/5a1a.cif"
PLAN = ExposurePlan(0, "bench", (), 15_100.0, 14_900.0, 0.4, 350.0)
SETTINGS = SimulationSettings(
    specimen=SpecimenSettings(model=MODEL if MODEL.is_file() else None, symmetry="D2", diameter_A=180),
    microscope=MicroscopeSettings(height_px=4096, width_px=4096, pixel_size_A=0.864),
    particles=ParticleSettings(per_micrograph=300),
    exposure=ExposureSettings(dose_e_per_A2=30, frames=30),
)
MEMORY_GIB = 3.0
# Name, changes of the exposure, seconds allowed on two cores; None where no bar is set.
CASES = {
    "sum, aligned": ({}, 5.0),
    "sum, not aligned": ({"aligned": False}, None),
    "movie of 30 frames, TIFF": ({"output": "movies"}, 30.0),
}


def run_case(name: str) -> None:
    """Make one exposure and print its figures."""
    changes, _ = CASES[name]
    settings = replace(SETTINGS, exposure=replace(SETTINGS.exposure, **changes))
    specimen = load_specimen(settings.specimen)
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        exposure = simulate_exposure(PLAN, specimen, settings, threads=os.cpu_count() or 1)
        if settings.exposure.output == "sums":
            image = next(exposure.frames).astype(np.int16)
            write_mrc(Path(folder) / "sum.mrc", image, settings.microscope.pixel_size_A, "image")
        else:
            frames = settings.exposure.frames
            write_movie(Path(folder) / "movie.tif", exposure.frames, settings.microscope.pixel_size_A, frames)
        truth_of(exposure, "bench", specimen, settings)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak_GiB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(wall, cpu, peak_GiB)


def main() -> None:
    """Print the table."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    print(f"{'case':<26}{'wall s':>8}{'bar s':>8}{'CPU s':>8}{'GiB':>7}{'bar GiB':>9}")
    for name, (_, bar_s) in CASES.items():
        done = subprocess.run([sys.executable, __file__, name], check=True, capture_output=True, text=True)
        wall, cpu, peak_GiB = (float(word) for word in done.stdout.split())
        bar = f"{bar_s:.0f}" if bar_s else "-"
        print(f"{name:<26}{wall:>8.1f}{bar:>8}{cpu:>8.1f}{peak_GiB:>7.2f}{MEMORY_GIB:>9.0f}")


if __name__ == "__main__":
    run_case(sys.argv[1]) if len(sys.argv) > 1 else main()
