"""Do simulated micrographs have the statistics of real ones? Run ``python benchmarks/realism.py`` from the root.

Compares a simulated session with the twenty real micrographs of apo-ferritin (EMPIAR-10146) and prints, for every
figure of `realism_statistics`, the median and range of both. A figure agrees when the medians are within a factor of
1.5 and the ranges overlap. Without ``--simulated`` the preset ``apof-10146`` is simulated first. Micrographs whose
rings drift has taken are named and left out on both sides.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from realism_figure import draw
from realism_statistics import Described, describe
from rich.console import Console
from rich.table import Table

from scherzer.formats.movies import open_exposure
from scherzer.physics.optics import Optics
from scherzer.simulate.presets import read_preset
from scherzer.simulate.session import simulate_session

SHARED = Path(__file__).resolve().parents[2] / "shared"
REAL = SHARED / "real" / "apoferritin-10146" / "micrographs"
MODEL = SHARED / "models" / "2w0o.pdb"
OPTICS = Optics(pixel_size_A=1.5, voltage_kV=300.0, cs_mm=0.001, amplitude_contrast=0.07)
PRESET = "apof-10146"
FACTOR = 1.5
# A fit that ends here has found no rings.
NO_RINGS_A = 25.0
# What the settings say and not how well the physics is.
CONTROLS = ("defocus, um", "astigmatism, A")


@dataclass(frozen=True)
class Compared:
    """One figure of both sets; ``ratio`` is NaN where the medians differ in sign or one of them is zero."""

    name: str
    real: tuple[float, float, float]
    simulated: tuple[float, float, float]
    ratio: float
    overlap: bool

    @property
    def agrees(self) -> bool:
        return self.overlap and 1 / FACTOR <= self.ratio <= FACTOR


def read_sum(path: Path) -> np.ndarray:
    """Read a micrograph, or a movie summed without alignment, as the real ones were."""
    return np.asarray(open_exposure(path).read().sum(0))


def describe_file(path: Path, optics: Optics) -> Described:
    torch.set_num_threads(1)
    return describe(read_sum(path), optics)


def describe_all(paths: list[Path]) -> dict[Path, Described]:
    """Describe micrographs in single-threaded processes, those with rings only."""
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(paths))) as pool:
        found = dict(zip(paths, pool.map(partial(describe_file, optics=OPTICS), paths), strict=True))
    kept = {path: one for path, one in found.items() if one.figures["CTF fit resolution, A"] < NO_RINGS_A}
    lost = [path.stem for path in paths if path not in kept]
    print(f"{len(paths)} micrographs in {paths[0].parent}; left out, without rings: {', '.join(lost) or 'none'}")
    if not kept:
        sys.exit(f"{paths[0].parent}: no micrograph has rings, so there is nothing to compare")
    return kept


def summary(values: list[float]) -> tuple[float, float, float]:
    return float(np.nanmedian(values)), float(np.nanmin(values)), float(np.nanmax(values))


def compare(real: dict[Path, Described], simulated: dict[Path, Described]) -> list[Compared]:
    """Set every figure of both sets side by side."""
    rows = []
    for name in next(iter(real.values())).figures:
        a, b = (summary([one.figures[name] for one in found.values()]) for found in (real, simulated))
        ratio = 1.0 if a[0] == b[0] else b[0] / a[0] if a[0] * b[0] > 0 else math.nan
        rows.append(Compared(name, a, b, ratio, max(a[1], b[1]) <= min(a[2], b[2])))
    return rows


def as_table(rows: list[Compared]) -> Table:
    table = Table(title="median (range); agrees: medians within 1.5 and ranges overlapping")
    for column in ("figure", "real", "simulated", "ratio", "overlap", "agrees"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for row in rows:
        verdict = "control" if row.name in CONTROLS else "yes" if row.agrees else "NO"
        sides = (f"{mid:.3g} ({low:.3g} to {high:.3g})" for mid, low, high in (row.real, row.simulated))
        ratio = "-" if math.isnan(row.ratio) else f"{row.ratio:.2f}"
        table.add_row(row.name, *sides, ratio, "yes" if row.overlap else "no", verdict)
    return table


def simulate(folder: Path, count: int | None) -> None:
    changes: dict[str, object] = {"specimen.model": MODEL}
    if count is not None:
        changes["micrographs"] = count
    simulate_session(folder, read_preset(PRESET, changes), workers=os.cpu_count() or 1)


def exposures(folder: Path) -> list[Path]:
    """Return the images of a session that ``scherzer simulate`` wrote, or of a folder of micrographs."""
    inside = [folder / name for name in ("micrographs", "movies") if (folder / name).is_dir()]
    place = inside[0] if inside else folder
    found = sorted(path for path in place.iterdir() if path.suffix in (".mrc", ".mrcs", ".tif", ".tiff", ".eer"))
    if not found:
        sys.exit(f"{place}: no micrographs or movies: give the folder of a simulated session")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=Path, help="a session that was simulated before")
    parser.add_argument(
        "--micrographs", type=int, help=f"how many to simulate; the preset {PRESET} says how many if not"
    )
    parser.add_argument("--figure", type=Path, help="draw tiles and curves of both into this file")
    arguments = parser.parse_args()
    if not REAL.is_dir():
        print(f"realism: skipped, no real micrographs at {REAL}")
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.simulated or Path(temporary)
        if arguments.simulated is None:
            simulate(folder, arguments.micrographs)
        real, simulated = describe_all(sorted(REAL.glob("*.mrc"))), describe_all(exposures(folder))
        rows = compare(real, simulated)
        judged = [row for row in rows if row.name not in CONTROLS]
        console = Console(width=130)
        console.print(as_table(rows))
        console.print(f"{sum(row.agrees for row in judged)} of {len(judged)} figures agree")
        if arguments.figure is not None:
            draw(arguments.figure, real, simulated, read_sum, OPTICS.pixel_size_A)


if __name__ == "__main__":
    main()
