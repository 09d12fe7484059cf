"""2D classification beside RELION: the same particles, box and number of classes, times of the processor.

    python benchmarks/class2d_relion.py

takes about five minutes of one core, nearly all of them RELION's. Both command lines are printed. Classes are held
against the true places of their particles: one whose particles' centres lie off its own is an off-centre twin.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from particle_sets import Known, known_particles
from torch import Tensor

from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable, read_star, write_star
from scherzer.fourier.grids import centred_irfft2
from scherzer.particles.extraction import background_mask, normalise

Row = tuple[str, str]
SET, COUNT, SMALL_BOX_PX, CLASSES, ITERATIONS = "O", 500, 80, 10, 25
PARTICLES = "particles.star"
# RELION's defaults as its window gives them, but for one process.
RELION = (
    "relion_refine --i particles.star --o relion/run --K {classes} --iter {iterations} --tau2_fudge 2 --ctf "
    "--particle_diameter {diameter:.0f} --flatten_solvent --zero_mask --oversampling 1 --psi_step 12 --offset_range 5 "
    "--offset_step 2 --norm --scale --pad 2 --pool 30 --preread_images "
    "--dont_combine_weights_via_disc --j 1 --random_seed 1"
)
OURS = "scherzer class2d particles.star --diameter {diameter:.0f} --classes {classes} --out scherzer"
TWIN_DIAMETERS = 0.1  # a class whose mean centre is so far off is an off-centre twin
LEAST_SHARE = 0.1  # of the mean population; a class with fewer counts as empty


@dataclass(frozen=True)
class Found:
    """A classification: ``(n,)`` class from 0 and psi, ``(n, 2)`` shift, A, and what it took, CPU s."""

    class_index: Tensor
    psi_rad: Tensor
    shift_A: Tensor
    cpu_s: float


def write_small(known: Known, folder: Path) -> None:
    """Write the first particles of a set in a smaller box, as RELION takes them."""
    small = known.particles[torch.arange(COUNT)].resized(SMALL_BOX_PX)
    radius_px = known.case.diameter_A / 2 / small.pixel_size_A
    images = centred_irfft2(small.transforms)
    images = normalise(images, background_mask(SMALL_BOX_PX, radius_px, images.device))
    write_mrc(folder / "particles.mrcs", images.numpy(), small.pixel_size_A, "stack")
    rows = known.table.rows[:COUNT]
    rows = rows.drop(columns=[name for name in rows if name.startswith(("scz", "rlnAngle", "rlnOrigin"))])
    names = [f"{number:06d}@particles.mrcs" for number in range(1, COUNT + 1)]
    optics = known.table.optics.assign(rlnImagePixelSize=small.pixel_size_A, rlnImageSize=SMALL_BOX_PX)
    write_star(StarTable("particles", optics, rows.assign(rlnImageName=names)), folder / PARTICLES)


def ran(command: list[str], folder: Path, program: str) -> float:
    """Run a command and return its processor time, s."""
    before, one_thread = os.times(), os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / f"{program}.log").open("w") as log:
        subprocess.run(command, cwd=folder, env=one_thread, check=True, stdout=log, stderr=log)
    spent = os.times()
    return spent.children_user + spent.children_system - before.children_user - before.children_system


def read_found(path: Path, cpu_s: float) -> Found:
    """Read a classified table, in the order of its images."""
    rows = read_star(path).rows
    rows = rows.iloc[np.argsort(rows["rlnImageName"].str.split("@").str[0].astype(int).to_numpy())]
    shift_A = -torch.from_numpy(rows[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy(np.float32, copy=True))
    psi = torch.from_numpy(np.radians(rows["rlnAnglePsi"].to_numpy(np.float32, copy=True)))
    return Found(torch.from_numpy(rows["rlnClassNumber"].to_numpy(np.int64)) - 1, psi, shift_A, cpu_s)


def class_offsets(found: Found, true_A: Tensor) -> dict[int, float]:
    """Return for each class how far the true centre of its particles lies from its average's, on the mean, A."""
    error = found.shift_A - true_A
    cos, sin = torch.cos(found.psi_rad), torch.sin(found.psi_rad)
    turned = torch.stack([cos * error[:, 0] - sin * error[:, 1], sin * error[:, 0] + cos * error[:, 1]], dim=1)
    return {int(k): float(turned[found.class_index == k].median(0).values.norm()) for k in found.class_index.unique()}


def judged(found: Found, known: Known) -> str:
    """Say how many classes are used and centred."""
    true_A = known.shift_A[:COUNT]
    population = torch.bincount(found.class_index, minlength=CLASSES)
    used = torch.nonzero(population >= LEAST_SHARE * COUNT / CLASSES).flatten().tolist()
    offsets = class_offsets(found, true_A)
    limit_A = TWIN_DIAMETERS * known.case.diameter_A
    twins = sum(offsets[k] > limit_A for k in used)
    off_A = (found.shift_A - true_A).norm(dim=1)
    return (
        f"{len(used)} of {CLASSES} classes populated, {twins} off centre, "
        f"centres {float(off_A.square().mean().sqrt()):.1f} A rms, {found.cpu_s:.0f} CPU s"
    )


def rows() -> Iterator[Row]:
    """Measure; nothing where RELION is not installed."""
    if shutil.which("relion_refine") is None:
        yield "2D beside RELION", "relion_refine is not installed"
        return
    known = known_particles(SET, COUNT)
    case = known.case
    relion = RELION.format(classes=CLASSES, iterations=ITERATIONS, diameter=1.12 * case.diameter_A)
    ours = OURS.format(classes=CLASSES, diameter=case.diameter_A)
    label = f"{case.model}, {COUNT} particles of {SMALL_BOX_PX} px, K = {CLASSES}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_small(known, folder)
        (folder / "relion").mkdir()
        yield f"{label}: RELION ran", relion
        yield f"{label}: scherzer ran", ours
        found = read_found(folder / f"relion/run_it{ITERATIONS:03d}_data.star", ran(relion.split(), folder, "relion"))
        theirs = judged(found, known)
        spent = ran([str(Path(sys.executable).parent / "scherzer"), *ours.split()[1:]], folder, "scherzer")
        own = read_found(folder / "scherzer" / PARTICLES, spent)
        yield f"{label}: RELION, {ITERATIONS} iterations", theirs
        yield f"{label}: scherzer (1/20 of RELION's time, 80 % populated, no twins)", judged(own, known)
        yield f"{label}: part of RELION's processor time (1/20)", f"1/{found.cpu_s / own.cpu_s:.0f}"


def main() -> None:
    """Print the measurements."""
    for name, value in rows():
        print(f"{name} | {value}", flush=True)


if __name__ == "__main__":
    main()
