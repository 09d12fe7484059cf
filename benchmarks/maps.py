"""Refinement and ab initio on simulated particles of known poses: what is reached, how many poses are wrong, how long.

    python benchmarks/maps.py [particles ...]

Particles of the built-in O phantom, 130 A, box 96 at 2.4 A, 0.6 to 2.4 um underfocus, signal to noise 0.05 a pixel.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
import torch

from scherzer.fourier.filters import lowpass
from scherzer.fourier.grids import centred_irfft2, centred_rfft2
from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.fourier.shifts import phase_ramp
from scherzer.fourier.slices import slice_table
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import angle_between, random_rotations
from scherzer.likelihood.band import make_band
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import band_ctf
from scherzer.maps.abinitio import reconstruct_ab_initio
from scherzer.maps.fsc import crossing_A
from scherzer.maps.refinement import Refinement, fit_sampling, refine
from scherzer.physics.optics import Optics
from scherzer.physics.potential import potential_volume
from scherzer.simulate.phantom import phantom_atoms

BOX, PIXEL_SIZE_A, DIAMETER_A, SNR, SYMMETRY = 96, 2.4, 130.0, 0.05, "O"


def simulate(count: int, truth: torch.Tensor) -> tuple[ParticleSet, torch.Tensor]:
    """Return noisy particles of a map and their rotations."""
    draws, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    rotations = random_rotations(count, draws)
    shift_px = torch.from_numpy(draws.normal(0, 1.5, (count, 2))).float()
    micrograph = torch.arange(count) // 60
    defocus = torch.from_numpy(draws.uniform(6000, 24000, count // 60 + 1)).float()[micrograph]
    ctf = Optics(PIXEL_SIZE_A, 300, 2.7, 0.07).ctf_parameters(1, 1)[torch.zeros(count, dtype=torch.int64)]
    ctf = replace(ctf, defocus_u_A=defocus, defocus_v_A=defocus)
    band = make_band(BOX, BOX / 2 - 1)
    empty = torch.zeros(count, BOX, BOX // 2 + 1, dtype=torch.complex64)
    particles = ParticleSet(empty, ctf, PIXEL_SIZE_A, micrograph, 1 + micrograph % 2)
    clean = slice_table(truth, BOX / 2 - 1).slices(rotations, band.kx, band.ky) * band_ctf(particles, band)
    images = centred_irfft2(band.put(clean * phase_ramp(shift_px / BOX, band.kx, band.ky)))
    images = images / images.std() * SNR**0.5 + torch.randn(images.shape, generator=generator)
    return replace(particles, transforms=centred_rfft2(images)), rotations


def row(name: str, count: int, found: Refinement, truth: torch.Tensor, rotations: torch.Tensor, seconds: float) -> str:
    """Return one line of the table."""
    target = fit_sampling(truth, PIXEL_SIZE_A, len(found.volume), found.pixel_size_A) * found.mask
    against = fourier_shell_correlation(found.volume * found.mask, target)
    true_A = crossing_A(found.fsc.frequency_per_A, against, 0.5)
    error = torch.rad2deg(angle_between(found.rotations, rotations, point_group(SYMMETRY)))
    reached = [f"{value:8.2f}" if value else "    none" for value in (found.resolution_fsc143_A, true_A)]
    wrong = float((error > 10).float().mean())
    cells = f"{name:<12}{count:>9}{reached[0]:>14}{reached[1]:>14}"
    return cells + f"{float(error.median()):>12.1f}{wrong:>9.2f}{seconds:>8.1f}"


def main() -> None:
    """Print the table."""
    truth = potential_volume(phantom_atoms(SYMMETRY, DIAMETER_A), BOX, PIXEL_SIZE_A, 60.0)
    print(
        f"{'start':<10}{'particles':>9}{'FSC 0.143, A':>13}{'truth 0.5, A':>13}{'error, deg':>12}{'>10 deg':>9}{'s':>8}"
    )
    for count in [int(text) for text in sys.argv[1:]] or [400, 1500]:
        particles, rotations = simulate(count, truth)
        begin = time.perf_counter()
        found = refine(particles, lowpass(truth, PIXEL_SIZE_A, 12.0), PIXEL_SIZE_A, SYMMETRY, DIAMETER_A)
        print(row("truth, 12 A", count, found, truth, rotations, time.perf_counter() - begin), flush=True)
        begin = time.perf_counter()
        first = reconstruct_ab_initio(particles, SYMMETRY, DIAMETER_A)
        found = refine(particles, first.volume, first.pixel_size_A, SYMMETRY, DIAMETER_A)
        print(row("ab initio", count, found, truth, rotations, time.perf_counter() - begin), flush=True)


if __name__ == "__main__":
    main()
