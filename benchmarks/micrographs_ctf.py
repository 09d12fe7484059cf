"""How exact, how sure and how fast the CTF fit is: simulated micrographs, and real ones beside published CTFFIND fits.

Run from the project's root: ``python benchmarks/micrographs_ctf.py [micrographs, 60]``; it takes some ten minutes. Real
data are looked for in ``../shared/real``.
"""

from __future__ import annotations

import cmath
import csv
import math
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from scherzer.formats.mrc import read_mrc
from scherzer.micrographs.ctf_estimation import estimate_ctf
from scherzer.micrographs.ctf_files import fit_spectrum_file
from scherzer.micrographs.ctf_fit import CtfFit, CtfSettings
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import Optics
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.plan import ExposurePlan
from scherzer.simulate.settings import MicroscopeSettings, ParticleSettings, SimulationSettings
from scherzer.simulate.specimen import load_specimen

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"
SESSION, SPECTRA = REAL / "apoferritin-10146" / "micrographs", REAL / "ctf-bgal-10204"
CTFFIND5 = Path(__file__).parents[1] / "tests" / "agreement" / "apoferritin_ctffind5.csv"
# Half the pixels of a 4096 px camera along each side: the same field.
SETTINGS = SimulationSettings(
    seed=77,
    microscope=MicroscopeSettings(height_px=2048, width_px=2048, pixel_size_A=1.66),
    particles=ParticleSettings(per_micrograph=230),
)
DEFOCUS_A, ASTIGMATISM_A, THIN_A, THICK_A = (3000.0, 30000.0), 2000.0, (150.0, 300.0), (400.0, 800.0)
# Beyond this a mean defocus is wrong.
WRONG_A = 500.0
CORNER_PIXELS_A = ((0.5, 2048), (1.0, 2048), (2.0, 1024), (3.0, 1024))
CORNER_OPTICS = ((300.0, 2.7), (300.0, 0.001), (200.0, 1.4), (100.0, 1.6))
CORNER_DEFOCUS_A = (2000.0, 2600.0, 4000.0, 12000.0, 30000.0, 60000.0)


@dataclass(frozen=True)
class Compared:
    """One fit beside the truth; errors in A and degrees."""

    mean_A: float
    astigmatism_A: float
    fit: CtfFit
    error_A: float
    astigmatism_error_A: float
    angle_error_deg: float
    tilt_deg: float
    seconds: float


def compared(image: Tensor, optics: Optics, mean_A: float, astigmatism_A: float, angle_rad: float) -> Compared:
    started = time.perf_counter()
    fit = estimate_ctf(image, optics)
    seconds = time.perf_counter() - started
    turn = fit.defocus_angle_rad - angle_rad
    vector = cmath.rect(fit.astigmatism_A, 2 * turn) - astigmatism_A
    return Compared(
        mean_A=mean_A,
        astigmatism_A=astigmatism_A,
        fit=fit,
        error_A=fit.mean_defocus_A - mean_A,
        astigmatism_error_A=abs(vector) / math.sqrt(2),
        angle_error_deg=abs((math.degrees(turn) + 90) % 180 - 90),
        tilt_deg=math.degrees(fit.tilt.tilt_rad) if fit.tilt else math.nan,
        seconds=seconds,
    )


def one_micrograph(index: int, count: int) -> Compared:
    """Simulate and fit one of so many sums whose defoci and astigmatisms cover their ranges evenly."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(5)
    mean_A = rng.permutation(np.linspace(*DEFOCUS_A, count))[index]
    # No direction is overfocused.
    astigmatism_A = min(rng.permutation(np.linspace(0, ASTIGMATISM_A, count))[index], 0.8 * mean_A)
    angle, depth = rng.uniform(-np.pi / 2, np.pi / 2, count)[index], rng.uniform(0, 1, count)[index]
    thickness_A = np.interp(depth, (0, 1), (THIN_A, THICK_A)[index % 2])
    half_A = astigmatism_A / 2
    plan = ExposurePlan(index, f"{index}", (), mean_A + half_A, mean_A - half_A, angle, thickness_A)
    exposure = simulate_exposure(plan, load_specimen(SETTINGS.specimen), SETTINGS)
    image = torch.from_numpy(next(exposure.frames).astype(np.float32))
    return compared(image, SETTINGS.microscope.optics, mean_A, astigmatism_A, angle)


def white(
    size: int, optics: Optics, mean_A: float, astigmatism_A: float, angle_rad: float, signal: float, phase_rad: float,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """White specimen through a CTF and an envelope of 60 A2, and white noise; ``(size, size)``."""
    ky = torch.fft.fftfreq(size, optics.pixel_size_A)[:, None].expand(size, size // 2 + 1)
    kx = torch.fft.rfftfreq(size, optics.pixel_size_A).expand(size, size // 2 + 1)
    half_A = astigmatism_A / 2
    transfer = ctf(optics.ctf_parameters(mean_A + half_A, mean_A - half_A, angle_rad, phase_rad), kx, ky)[0]
    transfer = transfer * math.sqrt(signal) * torch.exp(-15 * (kx.square() + ky.square()))
    specimen = torch.fft.rfft2(torch.randn(size, size, generator=generator))
    return torch.fft.irfft2(specimen * transfer, s=(size, size)) + torch.randn(size, size, generator=generator)


def one_corner(place: int) -> Compared:
    torch.set_num_threads(1)
    cases = list(product(CORNER_PIXELS_A, CORNER_OPTICS, CORNER_DEFOCUS_A))
    (pixel_A, size), (voltage_kV, cs_mm), mean_A = cases[place]
    optics, astigmatism_A = Optics(pixel_A, voltage_kV, cs_mm, 0.1), min(400.0, mean_A / 2)
    image = white(size, optics, mean_A, astigmatism_A, 0.7, 0.5, 0.0, torch.Generator().manual_seed(place))
    return compared(image, optics, mean_A, astigmatism_A, 0.7)


def one_phase_shift(place: int) -> tuple[float, float]:
    """Return the errors of defocus (A) and phase shift (degrees) where both are fitted."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(place)
    mean_A, shift, optics = rng.uniform(5000, 25000), rng.uniform(0.2, 2.9), Optics(1.2, 300.0, 2.7, 0.07)
    image = white(1536, optics, mean_A, 200.0, 0.5, 0.3, shift, torch.Generator().manual_seed(place))
    fit = estimate_ctf(image, optics, CtfSettings(fit_phase_shift=True))
    return fit.mean_defocus_A - mean_A, math.degrees((fit.phase_shift_rad - shift + math.pi / 2) % math.pi) - 90


def seconds_of_large_sum(_: int) -> float:
    torch.set_num_threads(1)
    optics = Optics(0.83, 300.0, 2.7, 0.07)
    image = white(4096, optics, 15000.0, 300.0, 0.4, 0.3, 0.0, torch.Generator().manual_seed(3))
    started = time.perf_counter()
    for _ in range(4):
        estimate_ctf(image, optics)
    return (time.perf_counter() - started) / 4


def rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def simulated_rows(found: list[Compared]) -> list[tuple[str, str]]:
    error = np.array([one.error_A for one in found])
    said = np.array([one.fit.reliable for one in found])
    astigmatism = np.array([one.astigmatism_error_A for one in found])
    angle = [one.angle_error_deg for one in found if one.astigmatism_A >= 300]
    z = np.array([one.error_A / one.fit.defocus_error_A for one in found if one.fit.reliable])
    tilt = [one.tilt_deg for one in found if math.isfinite(one.tilt_deg)]
    name = f"{len(found)} simulated sums"
    return [
        (f"{name}: error of the mean defocus, median (10 A)", f"{np.median(abs(error)):.1f} A"),
        (f"{name}: error of the mean defocus, rms (20 A)", f"{rms(error):.1f} A"),
        (f"{name}: error of a component of the astigmatism, rms (40 A)", f"{rms(astigmatism):.1f} A"),
        (f"{name}: error of the angle from 300 A, median (3 degrees)", f"{np.median(angle):.2f} degrees"),
        (f"{name}: reliable; of these wrong by 500 A (none)", f"{said.sum()}; {(said & (abs(error) > WRONG_A)).sum()}"),
        (f"{name}: error of the mean defocus over the error stated, rms (1)", f"{rms(z):.2f}"),
        (f"{name}: tilt of flat films, median, largest", f"{np.median(tilt):.1f}, {max(tilt):.1f} degrees"),
    ]


def corner_rows(found: list[Compared]) -> list[tuple[str, str]]:
    error, said = np.array([abs(one.error_A) for one in found]), np.array([one.fit.reliable for one in found])
    wrong, exact = int((said & (error > WRONG_A)).sum()), error[said]
    return [
        ("corners: 0.5 to 3 A, 100 to 300 kV, Cs 0.001 to 2.7 mm, 0.2 to 6 um: fits", f"{len(found)}"),
        ("corners: reliable; of these wrong by 500 A (none)", f"{said.sum()}; {wrong}"),
        ("corners: error of the mean defocus, median, largest", f"{np.median(exact):.0f}, {max(exact):.0f} A"),
    ]


def real_rows() -> list[tuple[str, str]]:
    """Compare with the published fits."""
    optics = Optics(1.5, 300.0, 0.001, 0.07)
    fits = {
        path.stem[-8:]: estimate_ctf(torch.from_numpy(read_mrc(path).data), optics) for path in SESSION.glob("*.mrc")
    }
    with CTFFIND5.open() as lines:
        off = [
            abs(fits[row["micrograph"]].mean_defocus_A / float(row["mean_defocus_A"]) - 1)
            for row in csv.DictReader(lines)
        ]
    refused = ", ".join(name for name, fit in fits.items() if not fit.reliable)
    defocus, angle = [], []
    with (SPECTRA / "reference.csv").open() as lines:
        for row in csv.DictReader(lines):
            fit = fit_spectrum_file(SPECTRA / row["spectrum"], Optics(1.39955, 200.0, 1.4, 0.1))
            published_A = (float(row["defocus_u_A"]) + float(row["defocus_v_A"])) / 2
            defocus.append(abs(fit.mean_defocus_A / published_A - 1))
            turn = math.degrees(fit.defocus_angle_rad) - float(row["defocus_angle_deg"])
            angle.append(abs((turn + 90) % 180 - 90))
    reliable = sum(fit.reliable for fit in fits.values())
    return [
        ("real apo-ferritin beside 9 CTFFIND 5 values: largest difference (1.5 %)", f"{max(off):.2%}"),
        ("real apo-ferritin: fitted (19 of 20); refused (06.09.02)", f"{reliable}; {refused}"),
        ("12 real spectra beside published fits: largest difference of defocus (1.5 %)", f"{max(defocus):.2%}"),
        ("12 real spectra beside published fits: largest difference of angle (8)", f"{max(angle):.1f} degrees"),
    ]


def rows(count: int = 60) -> list[tuple[str, str]]:
    """Return what was measured, in words and numbers; what is asked for is in brackets."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        table = simulated_rows(list(pool.map(partial(one_micrograph, count=count), range(count))))
        corners = len(CORNER_PIXELS_A) * len(CORNER_OPTICS) * len(CORNER_DEFOCUS_A)
        table += corner_rows(list(pool.map(one_corner, range(corners))))
        shifts = np.array(list(pool.map(one_phase_shift, range(12))))
    with ProcessPoolExecutor(2) as pool:
        seconds = list(pool.map(seconds_of_large_sum, range(2)))
    both = f"{rms(shifts[:, 0]):.0f} A, {rms(shifts[:, 1]):.1f} degrees"
    table += [
        ("defocus and phase shift fitted together: rms errors", both),
        ("time a 4096 px sum, two at once on two cores (1.0 s)", f"{max(seconds) / 2:.2f} s"),
    ]
    if REAL.is_dir():
        table += real_rows()
    return table


def main() -> None:
    """Print the table."""
    table = Table("measured", "")
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 60):
        table.add_row(*row)
    console = Console(width=150)
    console.print(table)
    if not REAL.is_dir():
        console.print("../shared/real is absent: no real data compared")


if __name__ == "__main__":
    main()
