"""Picking held against the truth of simulated micrographs, a third party's picks of real ones, and RELION's LoG.

    python benchmarks/particles_picking.py

takes about ten minutes of one core, most of them simulation. What is asked for stands in brackets. One micrograph in
eight each has ice balls, carbon or aggregates. Edge particles, broken, clumped and those in or at such junk are neither
asked for nor held against the picker; whatever else lies more than a quarter of a diameter off a particle is false.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gemmi import cif
from numpy.typing import NDArray
from particle_sets import MODELS
from rich.console import Console
from rich.table import Table
from scipy.ndimage import distance_transform_edt
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from scherzer.formats.mrc import write_mrc
from scherzer.micrographs.contrast.measurements import measure
from scherzer.particles.diameter import joined, measure_diameter
from scherzer.particles.picking import AUTOMATIC_THRESHOLD, find_candidates
from scherzer.physics.ctf import CtfParameters
from scherzer.physics.optics import Optics
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.plan import plan_session
from scherzer.simulate.settings import (
    ExposureSettings,
    FaultSettings,
    IceSettings,
    MicroscopeSettings,
    ParticleSettings,
    SimulationSettings,
    SpecimenSettings,
)
from scherzer.simulate.specimen import load_specimen
from scherzer.simulate.truth import truth_of

Row = tuple[str, str]
Array = NDArray[np.float64]
OPTICS = Optics(pixel_size_A=1.2, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1)
SIDE_PX, MICROGRAPHS = 2048, 8
RANGES_UM = {"1.0 to 2.7 um": ((1.0, 2.7), 11), "0.3 to 1.0 um": ((0.3, 1.0), 12)}
BIN_UM = 0.3
# Its LoG as its window gives it but for the diameters, on so many micrographs without faults.
RELION_MICROGRAPHS = 2
RELION = (
    "relion_autopick --i {name}.mrc --odir ./ --pickname log --LoG --LoG_diam_min {low:.0f} --LoG_diam_max {high:.0f} "
    "--shrink 0 --lowpass 20 --angpix {pixel}"
)


@dataclass(frozen=True)
class Kind:
    """A specimen: model file (a phantom where None), point group, diameter and particles on a full micrograph."""

    name: str
    model: str | None
    symmetry: str
    diameter_A: float
    per_micrograph: int

    def specimen(self) -> SpecimenSettings:
        """Return its settings; a phantom stands in for a model that is not there."""
        path = MODELS / self.model if self.model else None
        known = path if path is not None and path.is_file() else None
        return SpecimenSettings(model=known, symmetry=self.symmetry, diameter_A=self.diameter_A)


KINDS = (
    Kind("apo-ferritin, 460 kDa", "2w0o.pdb", "O", 130.0, 150),
    Kind("beta-galactosidase, 450 kDa", "5a1a.cif", "D2", 180.0, 90),
    Kind("D7 phantom, 650 kDa", None, "D7", 150.0, 110),
    Kind("D2 phantom, 133 kDa", None, "D2", 90.0, 200),
)


@dataclass(frozen=True)
class Known:
    """A simulated micrograph and its truth: centres ``(n, 2)`` x and y, px, and which of them are asked for."""

    image: Tensor
    ctf: CtfParameters
    defocus_A: float
    diameter_A: float
    true_diameter_A: float
    has_faults: bool
    centres_px: Array
    asked: NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """Picks of a micrograph.

    ``label`` is 1 for a particle asked for, 0 for a false one, -1 for neither; ``offset_A`` the distance from its
    particle.
    """

    known: Known
    score: Array
    label: Array
    offset_A: Array

    @property
    def at_threshold(self) -> NDArray[np.bool_]:
        """Mark those above the threshold that nobody has to set."""
        return self.score > AUTOMATIC_THRESHOLD


def simulated(kind: Kind, defocus_um: tuple[float, float], seed: int) -> Iterator[Known]:
    """Simulate micrographs of a specimen."""
    settings = SimulationSettings(
        micrographs=MICROGRAPHS,
        seed=seed,
        specimen=kind.specimen(),
        microscope=MicroscopeSettings(
            height_px=SIDE_PX, width_px=SIDE_PX, pixel_size_A=1.2, amplitude_contrast=0.1, defocus_um=defocus_um
        ),
        ice=IceSettings(thickness_A=(200.0, 500.0)),
        particles=ParticleSettings(per_micrograph=kind.per_micrograph),
        exposure=ExposureSettings(dose_e_per_A2=40.0, frames=6, output="sums", aligned=True),
        faults=FaultSettings(ice_balls=0.125, carbon_edge=0.125, aggregation=0.125),
    )
    specimen = load_specimen(settings.specimen)
    for plan in plan_session(settings):
        exposure = simulate_exposure(plan, specimen, settings, threads=1)
        image = np.rint(next(exposure.frames)).astype(np.float32)
        particles = truth_of(exposure, plan.name, specimen, settings).particles
        centres = particles[["rlnCoordinateX", "rlnCoordinateY"]].to_numpy(float)
        whole = ((particles["sczBroken"] == 0) & (particles["sczClumped"] == 0)).to_numpy()
        junk = np.zeros(image.shape, dtype=bool)
        for name, mask in exposure.masks.items():
            if name != "frost":  # grains far smaller than a particle
                junk |= mask
        radius_px = kind.diameter_A / 2 / OPTICS.pixel_size_A
        asked = whole & ~at_edge(centres, image.shape, radius_px)
        if junk.any():
            nearest = np.clip(centres.round().astype(int), 0, SIDE_PX - 1)
            asked &= distance_transform_edt(~junk)[nearest[:, 1], nearest[:, 0]] >= radius_px
        yield Known(
            torch.from_numpy(image),
            OPTICS.ctf_parameters(plan.defocus_u_A, plan.defocus_v_A, plan.defocus_angle_rad),
            (plan.defocus_u_A + plan.defocus_v_A) / 2,
            kind.diameter_A,
            2 * specimen.radius_A,
            bool(plan.faults),
            centres,
            asked,
        )


def at_edge(points_px: Array, shape: tuple[int, ...], radius_px: float) -> NDArray[np.bool_]:
    """Mark the points whose particle would not lie wholly in the image."""
    return np.asarray(((points_px < radius_px) | (points_px > np.array(shape[::-1]) - 1 - radius_px)).any(1))


def judged(known: Known, points_px: Array, score: Array) -> Found:
    """Pair picks with particles, one to one."""
    label, offset_A = np.zeros(len(points_px)), np.full(len(points_px), np.nan)
    if len(points_px) and len(known.centres_px):
        within_px = known.diameter_A / 4 / OPTICS.pixel_size_A
        distance = np.linalg.norm(points_px[:, None] - known.centres_px[None], axis=-1)
        pick, centre = linear_sum_assignment(np.where(distance <= within_px, distance - 1e3, 0.0))
        paired = distance[pick, centre] <= within_px
        pick, centre = pick[paired], centre[paired]
        label[pick] = np.where(known.asked[centre], 1, -1)
        offset_A[pick] = distance[pick, centre] * OPTICS.pixel_size_A
    edge = at_edge(points_px, tuple(known.image.shape), known.diameter_A / 2 / OPTICS.pixel_size_A)
    label[(label == 0) & edge] = -1
    return Found(known, score, label, offset_A)


def picked(known: Known) -> tuple[Found, float]:
    """Pick as the program does; returns what was found and the CPU time, s."""
    left_out = measure(known.image, OPTICS).areas.left_out
    mask = None if left_out is None else torch.from_numpy(left_out)
    before = time.process_time()
    picks = find_candidates(known.image, OPTICS, known.ctf, known.diameter_A, left_out=mask)
    spent = time.process_time() - before
    points = torch.stack([picks.x_px, picks.y_px], dim=1).double().numpy()
    return judged(known, points, picks.score.double().numpy()), spent


def by_relion(known: Known, folder: Path) -> Found:
    """Pick with RELION's LoG at its default threshold."""
    write_mrc(folder / "mic.mrc", known.image.numpy(), OPTICS.pixel_size_A)
    command = RELION.format(
        name="mic", low=0.85 * known.diameter_A, high=1.05 * known.diameter_A, pixel=OPTICS.pixel_size_A
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    places = cif.read(str(folder / "mic_log.star")).sole_block().find(["_rlnCoordinateX", "_rlnCoordinateY"])
    points = np.array([[float(value) for value in row] for row in places]).reshape(-1, 2)
    return judged(known, points, np.full(len(points), np.inf))


def area_under_curve(found: list[Found]) -> float:
    """Return the area under precision over recall of pooled candidates."""
    score, label = (np.concatenate([getattr(one, name) for one in found]) for name in ("score", "label"))
    order = np.argsort(-score[label >= 0], kind="stable")
    hits = label[label >= 0][order] == 1
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / max(1, sum(one.known.asked.sum() for one in found)))


def summary(found: list[Found], curve: bool = True) -> str:
    """Return recall, precision, centres and area of pooled micrographs in words."""
    label, offset_A = (
        np.concatenate([getattr(one, name)[one.at_threshold] for one in found]) for name in ("label", "offset_A")
    )
    hits, false, asked = (label == 1).sum(), (label == 0).sum(), sum(one.known.asked.sum() for one in found)
    rms_A = float(np.sqrt(np.mean(offset_A[label == 1] ** 2))) if hits else np.nan
    words = f"{hits / max(1, asked):.3f}, {hits / max(1, hits + false):.3f}, {rms_A:.1f} A"
    return f"{words}, {area_under_curve(found):.3f} ({asked} particles)" if curve else words


def rows() -> Iterator[Row]:
    """Measure; yields what was measured as it is done."""
    yield "recall, precision, centres rms, area under the precision-recall curve", ""
    everything: list[Found] = []
    for kind in KINDS:
        known_ones: list[Known] = []
        for words, (defocus_um, seed) in RANGES_UM.items():
            known = list(simulated(kind, defocus_um, seed))
            found, seconds = zip(*(picked(one) for one in known), strict=True)
            asked = "[0.95, 0.95, 4 A]" if defocus_um[0] >= 1 else "[0.80, 0.80]"
            yield f"{kind.name}, {words} {asked}", f"{summary(list(found))}; {np.median(seconds):.2f} CPU s of 2048^2"
            everything += found
            known_ones += known
        yield from diameter_rows(kind, known_ones)
        yield from relion_rows(kind, known_ones)
    for low_um in np.arange(0.3, 2.7, BIN_UM):
        own = [one for one in everything if low_um <= one.known.defocus_A / 1e4 < low_um + BIN_UM]
        if own:
            yield f"all, {low_um:.1f} to {low_um + BIN_UM:.1f} um", summary(own)
    yield from real_rows()
    yield large_row()


def diameter_rows(kind: Kind, known: list[Known]) -> Iterator[Row]:
    """Measure the diameter where it is not given, on five clean micrographs over the range of defocus."""
    clean = sorted((one for one in known if not one.has_faults), key=lambda one: one.defocus_A)
    chosen = [clean[int((part + 0.5) * len(clean) / 5)] for part in range(5)]
    found = joined([measure_diameter(one.image, OPTICS, one.ctf) for one in chosen])
    words = "not found" if found is None else f"{found.diameter_A:.0f} +- {found.error_A:.0f} A"
    yield f"{kind.name}, diameter not given [15 %]", f"{words}; true {known[0].true_diameter_A:.0f} A"


def relion_rows(kind: Kind, known: list[Known]) -> Iterator[Row]:
    """Run RELION's LoG beside ours on clean micrographs of the upper range."""
    if shutil.which("relion_autopick") is None:
        yield f"{kind.name}, RELION LoG", "relion_autopick is not installed"
        return
    clean = [one for one in known if not one.has_faults and one.defocus_A > 1e4][:RELION_MICROGRAPHS]
    with tempfile.TemporaryDirectory() as folder:
        theirs = summary([by_relion(one, Path(folder)) for one in clean], curve=False)
    ours = summary([picked(one)[0] for one in clean], curve=False)
    yield f"{kind.name}, {len(clean)} clean micrographs: RELION LoG | ours", f"{theirs} | {ours}"


def real_rows() -> Iterator[Row]:
    """Measure on real apo-ferritin as its test does."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "agreement"))
    from test_picking_real import DATA, picked, tally

    if not DATA.is_dir():
        yield "real apo-ferritin", "no data"
        return
    total = np.zeros(4)
    for path in sorted((DATA / "picks").glob("*.csv")):
        points, shape = picked(path.stem)
        total += tally(points, np.loadtxt(path, delimiter=",", skiprows=1), shape)
    words = f"{total[0] / total[1]:.3f}, {total[2] / total[3]:.3f} ({total[1]:.0f} third-party picks)"
    yield "real apo-ferritin, recall, precision [0.92, 0.90; RELION LoG 0.66, 0.74]", words


def large_row() -> Row:
    """Time a large micrograph."""
    known = next(simulated(KINDS[0], (1.2, 1.3), 13))
    image = known.image.repeat(2, 2)
    find_candidates(image, OPTICS, known.ctf, known.diameter_A)
    before = time.process_time()
    count = len(find_candidates(image, OPTICS, known.ctf, known.diameter_A))
    words = f"{time.process_time() - before:.2f} CPU s, {count} candidates"
    return "4096^2 at 1.2 A, 130 A particles, one thread [1 s]", words


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    table = Table("measured [asked]", "", title="Picking", title_justify="left")
    for row in rows():
        print(*row, sep=": ", flush=True)
        table.add_row(*row)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
