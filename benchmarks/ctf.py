"""How exact and how fast the CTF fit is: simulated micrographs, and real ones against published CTFFIND fits.

Run from the project's root: ``python benchmarks/ctf.py [repeats]``. Real data are looked for in ``../shared/real``.
"""

from __future__ import annotations

import csv
import math
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from scherzer.formats.mrc import read_mrc
from scherzer.micrographs.ctf_estimation import CtfFit, estimate_ctf, fit_spectrum
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import Optics

REAL = Path(__file__).parents[2] / "shared" / "real"
# size in px, pixel in A, signal over noise at low frequency, envelope in A2
CONDITIONS = [
    (2048, 1.2, 1.0, 60.0),
    (2048, 1.2, 0.3, 100.0),
    (2048, 1.2, 0.1, 100.0),
    (1024, 1.5, 0.3, 60.0),
    (512, 1.5, 1.0, 60.0),
    (4096, 0.8, 0.3, 100.0),
]


def simulated(
    size: int, optics: Optics, u_A: float, v_A: float, angle: float, snr: float, b_A2: float, g: torch.Generator
) -> Tensor:
    """White specimen through CTF and envelope, plus white noise; ``(size, size)``."""
    ky = torch.fft.fftfreq(size, optics.pixel_size_A)[:, None].expand(size, size // 2 + 1)
    kx = torch.fft.rfftfreq(size, optics.pixel_size_A).expand(size, size // 2 + 1)
    envelope = math.sqrt(snr) * torch.exp(-b_A2 / 4 * (kx.square() + ky.square()))
    transfer = ctf(optics.ctf_parameters(u_A, v_A, angle), kx, ky)[0] * envelope
    image = torch.fft.irfft2(torch.fft.rfft2(torch.randn(size, size, generator=g)) * transfer, s=(size, size))
    return image + torch.randn(size, size, generator=g)


def simulations(repeats: int) -> Table:
    """Return errors over random defocus (0.4 to 2.6 um) and astigmatism (50 to 400 A)."""
    table = Table(title=f"simulated, 300 kV, Cs 2.7 mm, 0.4 to 2.6 um, {repeats} each")
    for column in ("px", "A/px", "signal", "B, A2", "median, A", "rms, A", "max, A", "astigmatism rms, A", "seen", "s"):
        table.add_column(column, justify="right")
    for size, pixel_A, snr, b_A2 in CONDITIONS:
        generator = torch.Generator().manual_seed(size)
        optics = Optics(pixel_A, 300.0, 2.7, 0.1)
        errors, astigmatisms, seconds, seen = [], [], [], 0
        for _ in range(repeats):
            mean, difference, angle = (
                torch.rand(3, generator=generator) * torch.tensor([22000.0, 350, math.pi])
            ).tolist()
            mean, difference = mean + 4000, difference + 50
            image = simulated(size, optics, mean + difference / 2, mean - difference / 2, angle, snr, b_A2, generator)
            start = time.perf_counter()
            fit = estimate_ctf(image, optics)
            seconds.append(time.perf_counter() - start)
            if fit.fit_resolution_A < 25:
                seen += 1
                errors.append(abs(fit.mean_defocus_A - mean))
                true = complex(difference * math.cos(2 * angle), difference * math.sin(2 * angle))
                turn = 2 * fit.defocus_angle_rad
                astigmatisms.append(abs(fit.astigmatism_A * complex(math.cos(turn), math.sin(turn)) - true))
        error, astigmatism = torch.tensor(errors or [math.nan]), torch.tensor(astigmatisms or [math.nan])
        table.add_row(
            *(str(value) for value in (size, pixel_A, snr, b_A2)),
            *(f"{float(x):.0f}" for x in (error.median(), error.square().mean().sqrt(), error.max())),
            f"{float(astigmatism.square().mean().sqrt()):.0f}",
            f"{seen}/{repeats}",
            f"{float(torch.tensor(seconds).median()):.2f}",
        )
    return table


def row_of(name: str, fit: CtfFit, reference: str, seconds: float) -> list[str]:
    """Return the cells of a fit beside its reference."""
    return [
        name,
        f"{fit.mean_defocus_A:.0f}",
        f"{fit.astigmatism_A:.0f}",
        f"{math.degrees(fit.defocus_angle_rad):.0f}",
        f"{fit.fit_resolution_A:.2f}",
        f"{fit.score:.2f}",
        f"{fit.confidence:.2f}",
        f"{fit.directional_loss:.2f}",
        reference,
        f"{seconds:.2f}",
    ]


def fit_table(title: str) -> Table:
    """Return an empty table for :func:`row_of`."""
    table = Table(title=title)
    columns = (
        "image",
        "defocus, A",
        "astig., A",
        "angle",
        "fit, A",
        "score",
        "confidence",
        "directional",
        "published",
        "s",
    )
    for column in columns:
        table.add_column(column, justify="right")
    return table


def real_micrographs() -> Table:
    """Return the fits of the apo-ferritin session."""
    table = fit_table("apo-ferritin, EMPIAR-10146, unaligned sums")
    optics = Optics(1.5, 300.0, 0.001, 0.07)
    for path in sorted((REAL / "apoferritin-10146" / "micrographs").glob("*.mrc")):
        image = torch.from_numpy(read_mrc(path).data)
        start = time.perf_counter()
        fit = estimate_ctf(image, optics)
        table.add_row(*row_of(path.stem, fit, "", time.perf_counter() - start))
    return table


def real_spectra() -> Table:
    """Return the fits of the given spectra beside the published ones."""
    table = fit_table("beta-galactosidase, EMPIAR-10204, given spectra (published: defocus, astigmatism, angle, fit)")
    folder = REAL / "ctf-bgal-10204"
    with (folder / "reference.csv").open() as lines:
        for row in csv.DictReader(lines):
            spectrum = torch.from_numpy(read_mrc(folder / row["spectrum"]).data)
            start = time.perf_counter()
            fit = fit_spectrum(spectrum, Optics(1.39955, 200.0, 1.4, 0.1))
            seconds = time.perf_counter() - start
            u_A, v_A = float(row["defocus_u_A"]), float(row["defocus_v_A"])
            published = f"{(u_A + v_A) / 2:.0f} {u_A - v_A:.0f} {float(row['defocus_angle_deg']):.0f} "
            table.add_row(
                *row_of(row["spectrum"][9:14], fit, published + f"{float(row['ctf_max_resolution_A']):.2f}", seconds)
            )
    return table


def main() -> None:
    """Print the tables."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    console = Console(width=140)
    console.print(simulations(repeats))
    if REAL.is_dir():
        console.print(real_micrographs())
        console.print(real_spectra())
    else:
        console.print("../shared/real is absent: no real data compared")


if __name__ == "__main__":
    main()
