"""Refinement beside the truth, beside what true poses give, and beside RELION, on the same particles and start maps.

    python benchmarks/maps.py [set ...] [--relion]

Sets are those of ``particle_sets.py``: 2,000 particles each, box 128 at 1.8 A; O, D2 and C1 by default. All refinements
start from the truth low-passed to 35 A. ``--relion`` runs relion_refine_mpi too, where it is installed: an hour a set.
Maps are compared with the truth in one mask, poses with the true ones; what true poses give is the ceiling. "True map"
is what the images allow an alignment that knows the true map, and no poses. Processor times are those of all threads.
The last tables say how time grows with particles, and how near the exhaustive search comes to the rate at which one
core multiplies matrices of its size and type. Its rate counts both matrix products of every image, shift and
orientation, also of those scores that follow from another's by half a turn.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from particle_sets import PIXEL_A, START_A, Known, known_particles, write_set
from rich.console import Console
from rich.table import Table
from torch import Tensor

from scherzer.formats.mrc import read_mrc
from scherzer.formats.star import read_star
from scherzer.fourier.filters import apply_radial, lowpass
from scherzer.fourier.grids import centred_rfftn, square_modulus
from scherzer.fourier.shells import fourier_shell_correlation, shell_sum
from scherzer.fourier.slices import slice_table
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import angle_between, from_euler
from scherzer.likelihood.band import make_band
from scherzer.likelihood.noise import image_power
from scherzer.likelihood.score import gemm_dtype, prepare
from scherzer.likelihood.search import search
from scherzer.maps.fsc import crossing_A, fsc_curves
from scherzer.maps.half_set import insert
from scherzer.maps.masks import solvent_mask
from scherzer.maps.pose_search import (
    BLOCK,
    RoundPlan,
    WeightedPoses,
    affordable_grid,
    align,
    angular_step_rad,
    shifts_for,
    slice_bank,
)
from scherzer.maps.reconstruction import solve, symmetric
from scherzer.maps.refinement import refine
from scherzer.maps.refinement_round import SEARCH_FINEST_A, fit_sampling, no_poses
from scherzer.maps.settings import RefineSettings

COUNT, SETS, GROWTH = 2000, ("O", "D2", "C1"), (1000, 2000, 4000, 8000)
TRIES = 3  # of a timing, of which the shortest counts
WRONG_DEG = 10.0
RELION = (
    "mpirun --oversubscribe -n 3 relion_refine_mpi --o out/run --auto_refine --split_random_halves --i particles.star "
    "--ref start.mrc --firstiter_cc --ini_high {start:.0f} --sym {symmetry} --ctf --flatten_solvent --zero_mask --norm "
    "--scale --particle_diameter {diameter:.0f} --oversampling 1 --healpix_order 2 --auto_local_healpix_order 4 "
    "--offset_range 9 --offset_step 3.6 --low_resol_join_halves 40 --pad 1 --pool 30 --preread_images "
    "--dont_combine_weights_via_disc --j 1 --random_seed 1"
)
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@dataclass(frozen=True)
class Reached:
    """What came of one refinement.

    Attributes
    ----------
    half_maps_A, truth_A : float
        Where the half-maps' corrected FSC crosses 0.143, and the FSC with the truth 0.5.
    wrong : float
        Share of poses more than 10 degrees off.
    cpu_s, wall_s : float
        NaN where nothing was refined.
    """

    half_maps_A: float
    truth_A: float
    wrong: float = math.nan
    cpu_s: float = math.nan
    wall_s: float = math.nan


def judged(known: Known, half_maps: Tensor, pixel_size_A: float) -> Reached:
    """Compare half-maps ``(2, b, b, b)`` with one another and with the truth, in one mask for all."""
    truth = fit_sampling(known.truth, PIXEL_A, half_maps.shape[-1], pixel_size_A)
    mask = solvent_mask(lowpass(truth, pixel_size_A, 8.0), pixel_size_A, known.case.diameter_A)
    curves = fsc_curves(half_maps[0], half_maps[1], mask, pixel_size_A, 0)
    against = fourier_shell_correlation(half_maps.mean(0) * mask, truth * mask)
    return Reached(
        half_maps_A=curves.resolution_A(0.143) or math.nan,
        truth_A=crossing_A(curves.frequency_per_A, against, 0.5) or math.nan,
    )


def wrong_share(known: Known, rotations: Tensor) -> float:
    """Return the share of poses that are off, whichever of the equivalent ones was found."""
    error = angle_between(rotations, known.rotations, point_group(known.case.symmetry))
    return float((torch.rad2deg(error) > WRONG_DEG).float().mean())


def ceiling(known: Known) -> tuple[Reached, Tensor]:
    """Reconstruct from the true poses; return the half-maps as well."""
    half_maps = reconstructed(known, known.rotations, known.shift_A)
    return judged(known, half_maps, PIXEL_A), half_maps


def reconstructed(known: Known, rotations: Tensor, shift_A: Tensor) -> Tensor:
    """Return half-maps from poses, ``(2, b, b, b)``."""
    particles, group = known.particles, point_group(known.case.symmetry)
    noise = image_power(particles)

    def half_map(half: int) -> Tensor:
        rows = torch.nonzero(particles.half == half)[:, 0]
        one = torch.ones(len(rows), 1)
        poses = WeightedPoses(rotations[rows][:, None], shift_A[rows][:, None] / PIXEL_A, one, one)
        return solve(symmetric(insert(particles[rows], poses, noise, particles.box / 2 - 1), group))

    return torch.stack([half_map(1), half_map(2)])


def with_true_map(known: Known, from_true_poses: Tensor, finest_A: float) -> Reached:
    """Search and climb on the true map, in the band to the ceiling: what the errors of pose left there cost.

    A map made of these poses would flatter them, since images turn their own noise towards what they are aligned to.
    Each particle is therefore put at its true pose with the error of another one. A refinement, whose map is made of
    its own poses, can seem a little better than this.

    Parameters
    ----------
    from_true_poses : Tensor
        ``(2, b, b, b)``, from which the true map takes its grey scale, shell by shell.
    finest_A : float
        End of the band.
    """
    particles, group, noise = known.particles, point_group(known.case.symmetry), image_power(known.particles)
    truth, measured = centred_rfftn(known.truth), centred_rfftn(from_true_poses.mean(0))
    factor = shell_sum((truth.conj() * measured).real, 3) / shell_sum(square_modulus(truth), 3)
    reference = apply_radial(known.truth, factor.float().clamp(min=0))
    found = no_poses(len(particles), particles.device)
    for range_A in (RefineSettings().shift_range_A, SEARCH_FINEST_A / 3):
        plan = search_plan(known, particles.extent_A / finest_A, range_A)
        found = align(particles, reference, noise, found, plan, group).best()
    copies = torch.einsum("gij,njk->ngik", group, found.rotations)
    nearest = torch.einsum("ngij,nij->ng", copies, known.rotations).argmax(1)
    turn = known.rotations.mT @ copies[torch.arange(len(copies)), nearest]
    move = found.shift_px * PIXEL_A - known.shift_A
    other = torch.randperm(len(turn), generator=torch.Generator().manual_seed(0))
    half_maps = reconstructed(known, known.rotations @ turn[other], known.shift_A + move[other])
    return replace(judged(known, half_maps, PIXEL_A), wrong=wrong_share(known, found.rotations))


def search_plan(known: Known, radius: float, range_A: float) -> RoundPlan:
    """Return the plan of a round that searches to 10 A and climbs to the edge of a band, Fourier px."""
    shifts = shifts_for(SEARCH_FINEST_A, PIXEL_A, range_A, torch.device("cpu"))
    search_radius = known.particles.extent_A / SEARCH_FINEST_A
    step_rad = angular_step_rad(SEARCH_FINEST_A, known.case.diameter_A)
    max_shift_px = RefineSettings().shift_range_A / PIXEL_A
    return RoundPlan(radius, search_radius, step_rad, shifts, max_shift_px, torch.zeros(3))


def ours(known: Known, settings: RefineSettings) -> Reached:
    """Refine from the truth at low resolution."""
    start = lowpass(known.truth, PIXEL_A, START_A)
    wall, cpu = time.perf_counter(), time.process_time()
    found = refine(known.particles, start, PIXEL_A, known.case.symmetry, known.case.diameter_A, settings)
    cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
    reached = judged(known, found.half_maps, found.pixel_size_A)
    return replace(reached, wrong=wrong_share(known, found.rotations), cpu_s=cpu_s, wall_s=wall_s)


def relion(known: Known) -> Reached:
    """Let RELION refine the same particles from the same map."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_set(known, folder)
        (folder / "out").mkdir()
        case = known.case
        command = RELION.format(start=START_A, symmetry=case.symmetry, diameter=1.12 * case.diameter_A)
        print(command)
        wall, before = time.perf_counter(), os.times()
        subprocess.run(command.split(), cwd=folder, env=os.environ | AS_ROOT, check=True, capture_output=True)
        spent, wall_s = os.times(), time.perf_counter() - wall
        cpu_s = spent.children_user + spent.children_system - before.children_user - before.children_system
        halves = [read_mrc(folder / f"out/run_half{half}_class001_unfil.mrc").data for half in (1, 2)]
        rows = read_star(folder / "out" / "run_data.star").rows
    number = [int(re.match(r"\d+", name)[0]) for name in rows["rlnImageName"]]
    rows = rows.iloc[np.argsort(number)]
    angles = (np.radians(rows[f"rlnAngle{axis}"].to_numpy(dtype=float)) for axis in ("Rot", "Tilt", "Psi"))
    rotations = from_euler(*(torch.from_numpy(angle) for angle in angles)).float()
    reached = judged(known, torch.from_numpy(np.stack(halves)), PIXEL_A)
    return replace(reached, wrong=wrong_share(known, rotations), cpu_s=cpu_s, wall_s=wall_s)


def first(known: Known, count: int) -> Known:
    """Return the first particles of a set."""
    rows = torch.arange(min(count, len(known.rotations)))
    return replace(known, particles=known.particles[rows], rotations=known.rotations[rows], shift_A=known.shift_A[rows])


def cells(reached: Reached) -> list[str]:
    """Return the cells of one row."""
    values = ((reached.half_maps_A, "{:.2f}"), (reached.truth_A, "{:.2f}"), (reached.wrong, "{:.1%}"))
    times = ((reached.cpu_s, "{:.0f}"), (reached.wall_s, "{:.0f}"))
    return ["-" if math.isnan(value) else form.format(value) for value, form in (*values, *times)]


def growth(known: Known) -> list[tuple[int, float]]:
    """Return processor seconds a particle for sets of several sizes."""
    parts = [first(known, count) for count in GROWTH]
    return [(len(part.particles), ours(part, RefineSettings()).cpu_s / len(part.particles)) for part in parts]


def throughput(known: Known, range_A: float) -> tuple[float, float]:
    """Return the rate of the exhaustive search and of matrix products alone, FLOP / s of one core.

    The search is that of a block of particles with all that belongs to it: moving images, both products, pruning and
    the decision in float32. Of every image, shift and orientation the products are counted, as if no two orientations
    shared any. Alone, the first of them is timed on as many rows.
    """
    particles, group = known.particles, point_group(known.case.symmetry)
    plan = search_plan(known, particles.extent_A / SEARCH_FINEST_A, range_A)
    band, shifts = make_band(particles.box, plan.radius), plan.shifts_px
    grid = affordable_grid(plan, group, COUNT // 2, len(band))
    bank = slice_bank(slice_table(known.truth, plan.radius), grid, band, turns=4)
    images = prepare(particles[torch.arange(BLOCK)], band, image_power(particles))
    products = 2.0 * BLOCK * len(band) * len(grid) * (2 * len(shifts) + 1)
    left = torch.randn(len(images) * len(shifts), 2 * len(band)).to(gemm_dtype("cpu"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = products / shortest(lambda: search(images, bank, shifts, keep=4))
    alone = 2.0 * left.numel() * bank.matrix.shape[1] / shortest(lambda: left @ bank.matrix)
    torch.set_num_threads(threads)
    return found, alone


def shortest(work: Callable[[], object]) -> float:
    """Return the processor seconds of the quickest of a few tries, after one to warm up."""
    work()
    spent = []
    for _ in range(TRIES):
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    return min(spent)


def main() -> None:
    """Print the tables."""
    chosen = [name for name in sys.argv[1:] if not name.startswith("-")] or list(SETS)
    with_relion = "--relion" in sys.argv and shutil.which("relion_refine_mpi") is not None
    console = Console(width=150)
    table = Table("set", "", "half-maps 0.143, A", "truth 0.5, A", "over 10 deg", "CPU s", "wall s")
    for name in chosen:
        known = known_particles(name, COUNT)
        best, half_maps = ceiling(known)
        table.add_row(name, "true poses", *cells(best))
        table.add_row(name, "true map", *cells(with_true_map(known, half_maps, best.truth_A)))
        table.add_row(name, "scherzer", *cells(ours(known, RefineSettings(start_resolution_A=START_A))))
        if with_relion:
            table.add_row(name, "RELION", *cells(relion(known)))
    console.print(table)
    table = Table("particles of O", "CPU ms a particle")
    for count, seconds in growth(known_particles("O", max(GROWTH))):
        table.add_row(str(count), f"{1e3 * seconds:.0f}")
    console.print(table)
    table = Table("exhaustive search", "GFLOP / s", "matrix product alone", "share")
    for name in ("D2", "O"):
        known = known_particles(name, BLOCK)
        for when, range_A in (("first round", RefineSettings().shift_range_A), ("later", SEARCH_FINEST_A / 3)):
            found, alone = throughput(known, range_A)
            table.add_row(f"{name}, {when}", f"{found / 1e9:.0f}", f"{alone / 1e9:.0f}", f"{found / alone:.0%}")
    console.print(table)


if __name__ == "__main__":
    main()
