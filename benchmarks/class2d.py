"""2D classification and class selection on simulated particles whose truth is known, with 30 % junk.

    python benchmarks/class2d.py [--particles 3000] [--classes 30] [--gallery folder]

Prints one row for each specimen and signal to noise ratio: time, memory, how the classes agree with the truth, how far
centres are off, and what selecting classes keeps.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from scherzer.formats.models import read_atoms
from scherzer.fourier.grids import centred_irfft2, centred_rfft2, rfft_radius
from scherzer.fourier.slices import slice_table
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import random_rotations
from scherzer.likelihood.band import make_band
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import band_ctf
from scherzer.particles.class_selection import ClassSelection, select_classes
from scherzer.particles.classification2d import Class2DResult, Class2DSettings, classify2d
from scherzer.particles.extraction import background_mask, normalise
from scherzer.physics.ctf import CtfParameters
from scherzer.physics.optics import Optics

MODELS = Path(__file__).parent / "../../shared/models"
PARTICLE, NOISE_ONLY, OFF_CENTRE, BLOB = 0, 1, 2, 3


@dataclass(frozen=True)
class Specimen:
    name: str
    file: str
    symmetry: str
    diameter_A: float
    box: int
    pixel_size_A: float


SPECIMENS = (
    Specimen("apo-ferritin", "2w0o.pdb", "O", 130.0, 72, 3.0),
    Specimen("beta-galactosidase", "5a1a.cif", "D2", 190.0, 96, 3.2),
)


@dataclass(frozen=True)
class Simulated:
    particles: ParticleSet
    kind: torch.Tensor
    shift_A: torch.Tensor
    rotations: torch.Tensor


def density(specimen: Specimen) -> torch.Tensor:
    """Atoms as points, blurred: enough for averages at 8 A."""
    atoms = read_atoms(MODELS / specimen.file)
    position = atoms.positions_A - atoms.positions_A.mean(0)
    at = np.round(position / specimen.pixel_size_A).astype(int)[:, ::-1] + specimen.box // 2
    volume = np.zeros((specimen.box,) * 3, dtype=np.float32)
    np.add.at(volume, tuple(at.T), 1.0)
    return torch.from_numpy(gaussian_filter(volume, 0.8))


def simulate(specimen: Specimen, count: int, snr: float, seed: int, junk: float = 0.3) -> Simulated:
    """Particles at random orientations, shifts of 6 A rms and 0.8 to 2.5 um; junk is noise, neighbours and blobs."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    box, pixel = specimen.box, specimen.pixel_size_A
    kind = torch.from_numpy(rng.choice(4, size=count, p=[1 - junk, junk / 2, junk / 4, junk / 4]))
    band = make_band(box, box / 2 - 1)
    rotations = random_rotations(count, rng)
    projections = band.put(slice_table(density(specimen), box / 2 - 1).slices(rotations, band.kx, band.ky))
    shift_A = torch.randn(count, 2, generator=generator) * 6.0
    far = torch.rand(count, generator=generator) * 2 * torch.pi
    away = torch.stack((far.cos(), far.sin()), dim=1) * specimen.diameter_A * 0.5
    shift_A = torch.where((kind == OFF_CENTRE)[:, None], away, shift_A)
    micrograph = torch.arange(count) // 100
    defocus_A = torch.from_numpy(rng.uniform(8000, 25000, size=int(micrograph.max()) + 1)).float()[micrograph]
    one = Optics(pixel, 300.0, 2.7, 0.1).ctf_parameters(10000.0, 10000.0)[torch.zeros(count, dtype=torch.int64)]
    ctf = CtfParameters(
        defocus_A + 100, defocus_A - 100, one.defocus_angle_rad, one.phase_shift_rad, one.wavelength_A, one.cs_A,
        one.amplitude_contrast,
    )  # fmt: skip
    half = micrograph % 2 + 1
    blank = ParticleSet(projections, ctf, pixel, micrograph, half)
    side = torch.arange(box) - box // 2
    centre = shift_A / pixel
    blobs = torch.exp(
        -((side[None, None, :] - centre[:, :1, None]) ** 2 + (side[None, :, None] - centre[:, 1:, None]) ** 2)
        / (2 * (0.10 * specimen.diameter_A / pixel) ** 2)
    )
    blobs = blobs * (3 * centred_irfft2(projections).amax((-2, -1)).median())
    ky, kx = torch.fft.fftfreq(box), torch.fft.rfftfreq(box)
    ramp = torch.exp(-2j * torch.pi * (ky[:, None] * centre[:, 1, None, None] + kx * centre[:, 0, None, None]))
    signal = torch.where((kind == BLOB)[:, None, None], centred_rfft2(blobs), projections * ramp)
    signal = signal * (kind != NOISE_ONLY)[:, None, None]
    signal = band.put(band.take(signal) * band_ctf(blank, band))
    images = centred_irfft2(signal)
    inside = ~background_mask(box, specimen.diameter_A / 2 / pixel, torch.device("cpu"))
    strength = images[kind == PARTICLE][:, inside].var()
    colour = 1 + 1.5 * torch.exp(-rfft_radius(box, 2) / 8)
    noise = centred_irfft2(centred_rfft2(torch.randn(count, box, box, generator=generator)) * colour)
    images = images * torch.sqrt(snr / strength) + noise
    images = normalise(images, background_mask(box, 0.55 * specimen.diameter_A / pixel, torch.device("cpu")))
    return Simulated(ParticleSet.from_images(images, ctf, pixel, micrograph, half), kind, shift_A, rotations)


def view_spread(truth: Simulated, result: Class2DResult, symmetry: str) -> tuple[float, float]:
    """Median angle between the views of two particles of one class, and of any two, degrees."""
    group = point_group(symmetry)
    good = torch.nonzero(truth.kind == PARTICLE).flatten()
    generator = torch.Generator().manual_seed(0)
    first, second = good[torch.randint(len(good), (2, 40000), generator=generator)]
    axis = truth.rotations[:, :, 2]  # the beam in the volume's frame
    cosine = torch.einsum("ni,gij,nj->ng", axis[first], group.float(), axis[second]).amax(1).clamp(-1, 1)
    angle = torch.rad2deg(torch.acos(cosine))[first != second]
    same = (result.class_index[first] == result.class_index[second])[first != second]
    return float(angle[same].median()), float(angle.median())


def row(
    name: str, symmetry: str, seconds: float, truth: Simulated, result: Class2DResult, selection: ClassSelection
) -> str:
    good = truth.kind == PARTICLE
    kept = selection.keep[result.class_index] & (result.noise_probability < 0.5)
    off = (result.shift_A - truth.shift_A)[good & kept].norm(dim=1)
    memory_GiB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    purity = float(good[kept].float().mean()) if kept.any() else float("nan")
    defocus_A = truth.particles.ctf.defocus_u_A
    high = defocus_A > defocus_A.median()
    together, apart = view_spread(truth, result, symmetry)
    cells = [
        f"{name:28s}",
        f"{seconds:6.1f}",
        f"{memory_GiB:5.2f}",
        f"{int(selection.keep.sum())}/{len(selection.keep)}",
        f"{int((result.population == 0).sum()):d}",
        f"{float(result.class_resolution_A[selection.keep].median()):.1f}",
        f"{together:.1f}/{apart:.1f}",
        f"{purity:.3f}",
        f"{float((good & ~kept).sum() / good.sum()):.3f}",
        f"{float(kept[good & ~high].float().mean()):.3f}/{float(kept[good & high].float().mean()):.3f}",
        f"{float(off.median()):.2f}/{float(off.square().mean().sqrt()):.2f}",
        *(f"{float((kept & (truth.kind == k)).sum() / (truth.kind == k).sum()):.2f}" for k in (1, 2, 3)),
        f"{float((result.noise_probability[truth.kind == NOISE_ONLY] > 0.5).float().mean()):.2f}",
        f"{float((result.noise_probability[good] > 0.5).float().mean()):.2f}",
    ]
    return " | ".join(cells)


COLUMNS = (
    "specimen, SNR of a pixel | seconds | peak GiB | classes kept | empty | A | views in a class/any, deg | purity | "
    "loss | kept at low/high defocus | centre median/rms, A | kept of noise | of off-centre | of blobs | "
    "called noise: noise | called noise: particles"
)


def gallery(path: Path, result: Class2DResult, selection: ClassSelection) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    order = torch.argsort(selection.score, descending=True).tolist()
    columns = 8
    figure, axes = plt.subplots(-(-len(order) // columns), columns, figsize=(16, 2.4 * -(-len(order) // columns)))
    for axis in axes.flat:
        axis.axis("off")
    for axis, k in zip(axes.flat, order, strict=False):
        axis.imshow(result.averages[k], cmap="gray")
        axis.plot(*[len(result.averages[k]) // 2] * 2, "r+", markersize=4)
        title = (
            f"{int(result.population[k])}  {float(result.class_resolution_A[k]):.0f} A  {float(selection.score[k]):.2f}"
        )
        axis.set_title(f"{title}\n{selection.reason[k][:34]}", fontsize=8, color="g" if selection.keep[k] else "r")
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=int, default=3000)
    parser.add_argument("--classes", type=int, default=30)
    parser.add_argument("--snr", type=float, nargs="+", default=[0.2, 0.05])
    parser.add_argument("--specimen", default="")
    parser.add_argument("--gallery", type=Path)
    arguments = parser.parse_args()
    print(COLUMNS)
    for specimen in SPECIMENS:
        if arguments.specimen not in specimen.name:
            continue
        for snr in arguments.snr:
            truth = simulate(specimen, arguments.particles, snr, seed=1)
            started = time.perf_counter()
            result = classify2d(truth.particles, specimen.diameter_A, Class2DSettings(class_count=arguments.classes))
            seconds = time.perf_counter() - started
            selection = select_classes(result, specimen.diameter_A, result.pixel_size_A)
            print(row(f"{specimen.name}, {snr}", specimen.symmetry, seconds, truth, result, selection), flush=True)
            if arguments.gallery:
                gallery(arguments.gallery / f"class2d_{specimen.name}_{snr}.png", result, selection)


if __name__ == "__main__":
    main()
