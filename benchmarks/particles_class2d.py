"""2D classification and the choice of classes on simulated particles whose truth is known, with 30 % junk.

    python benchmarks/particles_class2d.py

What is asked for stands in brackets. Particles and junk are cut from simulated micrographs, so it takes some minutes.
The real apo-ferritin session is classified too, where its data are.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from junk_boxes import KINDS, Mixed, with_junk
from particle_sets import CASES, PICKED_WITHIN_A, known_particles
from particles_fairness import STAGES, Silent

from scherzer.likelihood.particle_set import ParticleSet
from scherzer.particles.class_selection import ClassSelection, ClassSelectionSettings, select_classes
from scherzer.particles.classification2d import Class2DResult, Class2DSettings, classify2d
from scherzer.session.chain import run_one
from scherzer.session.prepare import prepare
from scherzer.session.stages.class2d import read_classes

Row = tuple[str, str]
SPECIMENS = ("O", "D2")
# What RELION 3.1.3 took for 25 iterations, K = 10, on 1,942 particles of 80 px, CPU s (simulated apo-ferritin, one core
# of the same kind of machine).
RELION_CPU_S, RELION_COUNT, RELION_CLASSES = 518.0, 1942, 10
REAL = Path(__file__).resolve().parents[2] / "shared" / "real" / "apoferritin-10146" / "micrographs"
REAL_STATED = {
    "pixel_size_A": 1.5,
    "voltage_kV": 300.0,
    "cs_mm": 0.001,
    "amplitude_contrast": 0.07,
    "diameter_A": 130.0,
}
LARGE_COUNT, LARGE_CLASSES = 12_000, 50
TWIN_DIAMETERS = 0.1  # a class whose mean centre is so far off is a shifted twin


@dataclass(frozen=True)
class Outcome:
    """A classification of a mixed set; ``kept`` is ``(n,)`` bool."""

    mixed: Mixed
    diameter_A: float
    result: Class2DResult
    selection: ClassSelection
    kept: torch.Tensor
    cpu_s: float


def cpu_s() -> float:
    """Processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def outcome_of(mixed: Mixed, diameter_A: float) -> Outcome:
    """Classify and choose as the program does."""
    before = cpu_s()
    result = classify2d(mixed.particles, diameter_A)
    selection = select_classes(result, diameter_A, result.pixel_size_A)
    kept = (
        selection.keep[result.class_index] & ~result.is_noise & (result.misfit <= ClassSelectionSettings().max_misfit)
    )
    return Outcome(mixed, diameter_A, result, selection, kept, cpu_s() - before)


def rows() -> Iterator[Row]:
    """Measure."""
    yield from real_rows()
    for name in SPECIMENS:
        case = CASES[name]
        known = known_particles(name, 2000)
        mixed = with_junk(known)
        outcome = outcome_of(mixed, case.diameter_A)
        label = f"{case.model}, {len(mixed.kind)} boxes"
        yield from judged(label, outcome)
        if name == "O":
            some = torch.arange(RELION_COUNT)
            took, _ = timed(known.particles[some], case.diameter_A, RELION_CLASSES)
            yield (
                f"{label}: {RELION_COUNT} particles, K = {RELION_CLASSES}, CPU s (1/20 of RELION's {RELION_CPU_S:.0f})",
                f"{took:.1f}, 1/{RELION_CPU_S / took:.0f}",
            )
            many = torch.arange(LARGE_COUNT) % len(mixed.kind)
            took, wall = timed(mixed.particles[many], case.diameter_A, LARGE_CLASSES)
            yield (
                f"{label}, repeated to {LARGE_COUNT}, K = {LARGE_CLASSES} (240 s on two cores)",
                f"{wall:.0f} s with {torch.get_num_threads()} threads, {took:.0f} CPU s",
            )


def real_rows() -> Iterator[Row]:
    """Run the real session to its classes."""
    if not REAL.is_dir():
        yield "real apo-ferritin", f"no data at {REAL}"
        return
    with tempfile.TemporaryDirectory() as folder:
        session, settings = prepare(Path(folder) / "apo", [str(REAL)], REAL_STATED)
        for stage in STAGES:
            run_one(stage, session, settings, 1, Silent())
        classes = read_classes(session.stage("class2d"))
        table = session.read("class2d", "particles")
        kept = classes[classes["sczClassKept"] > 0]
        for name, level in (("rlnEstimatedResolution", 0.5), ("sczResolution143", 0.143)):
            best = ", ".join(f"{value:.1f}" for value in sorted(kept[name])[:3])
            yield f"real apo-ferritin: ring correlation {level:g} of the best classes, A (9)", best
        yield "real apo-ferritin: particles kept", f"{len(table.accepted())} of {len(table)} in {len(kept)} classes"


def timed(particles: ParticleSet, diameter_A: float, class_count: int) -> tuple[float, float]:
    """Return CPU and wall time of a classification, s."""
    before, started = cpu_s(), time.perf_counter()
    classify2d(particles, diameter_A, Class2DSettings(class_count=class_count))
    return cpu_s() - before, time.perf_counter() - started


def judged(label: str, found: Outcome) -> Iterator[Row]:
    """Hold a classification against the truth."""
    mixed, result, kept = found.mixed, found.result, found.kept
    true, junk = mixed.kind == 0, mixed.kind > 0
    yield f"{label}: junk in kept classes (3 %)", f"{100 * share(junk[kept]):.1f} %"
    yield f"{label}: true particles lost (8 %)", f"{100 * share(~kept[true]):.1f} %"
    by_kind = [f"{KINDS[k]} {100 * share(kept[mixed.kind == k]):.0f} %" for k in range(1, len(KINDS))]
    yield f"{label}: kept of", ", ".join(by_kind)
    classes = len(result.population)
    populated = int((result.population > 0).sum())
    yield f"{label}: classes populated (80 %), kept", f"{populated} of {classes}, {int(found.selection.keep.sum())}"
    off_A = (result.shift_A - mixed.shift_A)[true & kept].norm(dim=1)
    rms_A, limit_A = float(off_A.square().mean().sqrt()), 0.015 * found.diameter_A
    yield (
        f"{label}: centres after 2D, rms, A ({limit_A:.2f}; picked within {PICKED_WITHIN_A * 2**0.5:.1f})",
        f"{rms_A:.2f}, median {float(off_A.median()):.2f}",
    )
    farthest = max(float(offset.norm()) for offset in class_offsets(found)) / found.diameter_A
    yield (
        f"{label}: farthest centre of a kept class, diameters (no twin: {TWIN_DIAMETERS})",
        f"{farthest:.3f}",
    )
    underfocus = mixed.particles.ctf.defocus_u_A
    low, high = torch.quantile(underfocus, torch.tensor([1 / 3, 2 / 3])).tolist()
    thirds = (underfocus <= low, (underfocus > low) & (underfocus <= high), underfocus > high)
    pure = [f"{100 * share(~junk[kept & third]):.1f}" for third in thirds]
    yield f"{label}: precision of kept by thirds of defocus, % (within 5)", ", ".join(pure)
    remain = [f"{100 * share(kept[true & third]):.1f}" for third in thirds]
    yield f"{label}: true particles kept by thirds of defocus, %", ", ".join(remain)
    yield f"{label}: CPU s", f"{found.cpu_s:.0f}"


def class_offsets(found: Outcome) -> Iterator[torch.Tensor]:
    """Yield where the members' centre truly lies in the average of each kept class of true particles, A."""
    result, true = found.result, (found.mixed.kind == 0) & found.kept
    error = result.shift_A - found.mixed.shift_A
    cos, sin = torch.cos(result.psi_rad), torch.sin(result.psi_rad)
    turned = torch.stack([cos * error[:, 0] - sin * error[:, 1], sin * error[:, 0] + cos * error[:, 1]], dim=1)
    for number in torch.nonzero(found.selection.keep).flatten().tolist():
        own = result.class_index == number
        members = true & own
        if 2 * int(members.sum()) > int(own.sum()):
            yield turned[members].mean(0)


def share(flags: torch.Tensor) -> float:
    """Return the share that is true."""
    return float(flags.float().mean())


def main() -> None:
    """Print the measurements."""
    for name, value in rows():
        print(f"{name} | {value}", flush=True)


if __name__ == "__main__":
    main()
