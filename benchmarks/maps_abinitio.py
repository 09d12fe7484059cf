"""First maps without a reference: how many seeds reach 10 A against the truth, what the others say, CPU time.

    python benchmarks/maps_abinitio.py [set ...] [particles=1000] [seeds=3]

Sets are those of ``particle_sets.py``: O, D2, D7, C1, and noise, of which no map must come.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from particle_sets import PIXEL_A, Known, known_particles
from torch import Tensor

from scherzer.fourier.grids import centred_rfft2
from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.geometry.point_groups import normaliser
from scherzer.maps.abinitio import AbInitio, reconstruct_ab_initio
from scherzer.maps.fsc import crossing_A
from scherzer.maps.map_alignment import align_map, mirrored, moved_map
from scherzer.maps.refinement_round import fit_sampling
from scherzer.maps.settings import AbInitioSettings

SETS = ("O", "D2", "D7", "C1", "noise")
TARGET_A = 10.0
ALIGNED_A, GRID_RAD, SHIFT_A = 25.0, 0.35, 12.0  # band, rotations and shifts in which a map is laid on the truth


@dataclass(frozen=True)
class Row:
    """One seed: resolution against the truth (FSC = 0.5), the verdict, CPU seconds."""

    name: str
    particles: int
    seed: int
    truth_A: float | None
    verdict: str
    said: str
    cpu_s: float


def rows(names: tuple[str, ...] = SETS, count: int = 1000, seeds: int = 3) -> Iterator[Row]:
    """Find first maps of each set from several seeds."""
    for name in names:
        known = known_particles("O" if name == "noise" else name, count)
        if name == "noise":
            images = torch.randn(known.images.shape, generator=torch.Generator().manual_seed(1))
            known = replace(known, particles=replace(known.particles, transforms=centred_rfft2(images)))
        for seed in range(seeds):
            begin = time.process_time()
            case = known.case
            found = reconstruct_ab_initio(
                known.particles, case.symmetry, case.diameter_A, AbInitioSettings(seed=seed, check_symmetry=seed == 0)
            )
            seconds = time.process_time() - begin
            reached = None if name == "noise" else against_truth_A(found, known)
            said = "; ".join(found.sentences[1:])
            yield Row(name, len(known.particles), seed, reached, found.evidence.verdict, said, seconds)


def against_truth_A(found: AbInitio, known: Known) -> float | None:
    """Resolution to which a map agrees with the truth in its best setting and hand (FSC = 0.5)."""
    truth: Tensor = fit_sampling(known.truth, PIXEL_A, len(found.volume), found.pixel_size_A)
    extent_A = len(truth) * found.pixel_size_A
    free = known.case.symmetry.startswith("C")
    laid = align_map(
        found.volume,
        truth,
        extent_A / ALIGNED_A,
        normaliser(known.case.symmetry, GRID_RAD),
        shift_range_px=SHIFT_A / found.pixel_size_A if free else 0.0,
        climb_rad=GRID_RAD if free else 0.0,
    )
    moved = moved_map(mirrored(found.volume) if laid.mirrored else found.volume, laid.rotation, laid.shift_px)
    curve = fourier_shell_correlation(moved, truth)
    return crossing_A(torch.arange(len(curve)) / extent_A, curve, 0.5)


def main() -> None:
    """Print a line for every seed and one for every set."""
    options = dict(text.split("=") for text in sys.argv[1:] if "=" in text)
    names = tuple(text for text in sys.argv[1:] if "=" not in text) or SETS
    found: list[Row] = []
    print(f"{'set':<6}{'particles':>10}{'seed':>6}{'truth 0.5, A':>14}{'CPU s':>8}  verdict")
    for row in rows(names, int(options.get("particles", 1000)), int(options.get("seeds", 3))):
        found.append(row)
        reached = f"{row.truth_A:14.1f}" if row.truth_A else f"{'none':>14}"
        print(
            f"{row.name:<6}{row.particles:>10}{row.seed:>6}{reached}{row.cpu_s:>8.0f}  {row.verdict}; {row.said}",
            flush=True,
        )
    for name in names:
        own = [row for row in found if row.name == name]
        good = sum(row.truth_A is not None and row.truth_A <= TARGET_A for row in own)
        honest = sum(row.verdict != "structure" for row in own if row.truth_A is None or row.truth_A > TARGET_A)
        mean = sum(row.cpu_s for row in own) / len(own)
        wrong = len(own) - good - honest
        print(
            f"{name}: {good} of {len(own)} reach {TARGET_A:.0f} A, {honest} others say that they may not, "
            f"{wrong} do not; {mean:.0f} CPU s each"
        )


if __name__ == "__main__":
    main()
