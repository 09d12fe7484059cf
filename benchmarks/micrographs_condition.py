"""Which micrographs are set aside and what is noted of the others: simulated faults, and real micrographs.

The condition network is asked about all of them too, which decides nothing.

Run from the project's root: ``python benchmarks/micrographs_condition.py [exposures of each kind, 10]``. Prints
verdicts by kind of fault, the rate of false alarms for crystals, how well areas and thickness are measured, and the
verdicts on the real micrographs of ``../shared/real``.
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from matplotlib.image import imread
from rich.console import Console
from rich.table import Table

from scherzer.formats.mrc import read_mrc
from scherzer.micrographs.condition import Condition, judge
from scherzer.micrographs.contrast.condition_opinion import FAULTS, ConditionClassifier, ConditionOpinion
from scherzer.micrographs.contrast.measurements import CtfNumbers, Measurements, measure
from scherzer.micrographs.ctf_estimation import estimate_ctf
from scherzer.micrographs.ice import FALSE_ALARM, state_of_ice
from scherzer.micrographs.ice_thickness import Brightness, ThicknessSettings, ice_thicknesses
from scherzer.micrographs.local_spectra import local_spectra
from scherzer.physics.optics import Optics
from scherzer.simulate.exposure import Exposure, simulate_exposure
from scherzer.simulate.plan import BEYOND_UM, NEAR_FOCUS_UM, THICK, ExposurePlan, Fault
from scherzer.simulate.settings import MicroscopeSettings, ParticleSettings, SimulationSettings
from scherzer.simulate.specimen import load_specimen

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"
SESSION, EXAMPLES = REAL / "apoferritin-10146" / "micrographs", REAL / "quality-examples"
DRIFTED = "May08_06.09.02"
APOFERRITIN, COARSE = Optics(1.5, 300.0, 0.001, 0.07), Optics(8.0, 300.0, 2.7, 0.1)
KINDS: tuple[str, ...] = ("sound", *get_args(Fault))
VERDICTS = ("sound", "noted", "drifted", "crystalline ice", "no ice", "no rings", "empty", "spoilt", "dark")
SETTINGS = SimulationSettings(
    seed=7,
    microscope=MicroscopeSettings(height_px=1024, width_px=1024, pixel_size_A=1.3),
    particles=ParticleSettings(per_micrograph=60),
)
DEFOCUS_UM, THICKNESS_A = (0.6, 2.6), (200.0, 500.0)
# What of the areas is held against which mask.
AREAS = {
    "crystalline": "crystalline",
    "carbon_edge": "carbon",
    "vacuum": "vacuum",
    "aggregation": "aggregation",
    "ice_balls": "ice_balls",
}
NOISE_IMAGES, NOISE_SIDE_PX, NOISE_PIXELS_A = 400, 512, (1.0, 1.5, 2.0, 2.4)


@dataclass(frozen=True)
class Judged:
    """One simulated exposure.

    ``usable`` counts particles that lie in none of its masks; ``area`` and ``truth`` are the share of the image that
    its fault takes.
    """

    kind: str
    condition: Condition
    opinion: ConditionOpinion
    crystalline: bool
    usable: int
    area: float
    truth: float

    @property
    def verdict(self) -> str:
        return "noted" if self.condition.kind == "sound" and self.condition.notes else self.condition.kind


def expose(kind: str, number: int, count: int, settings: SimulationSettings = SETTINGS) -> Exposure:
    """Simulate one of so many exposures of a kind: defocus is spread evenly, thickness at random."""
    rng = np.random.default_rng([11, KINDS.index(kind), number])
    defocus_A = 1e4 * (DEFOCUS_UM[0] + (DEFOCUS_UM[1] - DEFOCUS_UM[0]) * (number + rng.random()) / count)
    thickness_A = rng.uniform(*THICKNESS_A)
    if kind == "thick_ice":
        thickness_A = THICKNESS_A[1] * rng.uniform(*THICK)
    if kind == "wrong_focus":
        defocus_A = 1e4 * (rng.uniform(*NEAR_FOCUS_UM) if number % 2 else DEFOCUS_UM[1] + rng.uniform(*BEYOND_UM))
    faults: tuple[Fault, ...] = () if kind == "sound" else (kind,)  # type: ignore[assignment]
    plan = ExposurePlan(
        100 * KINDS.index(kind) + number, kind, faults, defocus_A + 60, defocus_A - 60, 0.4, thickness_A
    )
    frames = 8 if kind == "drift" else 1
    settings = replace(settings, exposure=replace(settings.exposure, frames=frames))
    return simulate_exposure(plan, load_specimen(settings.specimen), settings)


@cache
def network() -> ConditionClassifier:
    return ConditionClassifier.load()


def examine(image: torch.Tensor, optics: Optics, with_ctf: bool = True) -> tuple[Measurements, Condition]:
    """Measure and judge as the contrast stage does."""
    numbers = CtfNumbers.of(estimate_ctf(image, optics)) if with_ctf else None
    found = measure(image, optics, numbers)
    return found, judge(found, numbers)


def judged(job: tuple[str, int, int]) -> Judged:
    """Simulate and judge one exposure."""
    torch.set_num_threads(1)
    kind = job[0]
    exposure = expose(*job)
    image = torch.from_numpy(next(exposure.frames).astype(np.float32))
    found, condition = examine(image, SETTINGS.microscope.optics)
    y, x = (np.round(places).astype(int) for places in (exposure.particles.y_px, exposure.particles.x_px))
    inside = (y >= 0) & (y < image.shape[0]) & (x >= 0) & (x < image.shape[1])
    free = np.ones(image.shape, bool)
    for mask in exposure.masks.values():
        free &= ~mask
    truth = exposure.masks[AREAS[kind]].mean() if AREAS.get(kind) in exposure.masks else math.nan
    areas = {
        "crystalline": found.ice.crystalline_fraction,
        "carbon_edge": found.areas.carbon_fraction,
        "vacuum": 1.0 if condition.kind == "no ice" else found.areas.thinner_fraction,
        "aggregation": found.areas.thicker_fraction,
        "ice_balls": found.areas.thicker_fraction,
    }
    return Judged(
        kind=kind,
        condition=condition,
        opinion=network().judge(image, SETTINGS.microscope.pixel_size_A),
        crystalline=found.ice.crystalline_fraction > 0,
        usable=int(free[y[inside], x[inside]].sum()),
        area=areas.get(kind, math.nan),
        truth=float(truth),
    )


def brightness(job: tuple[float, bool, bool]) -> Brightness:
    """Measure how light a simulated exposure of a given thickness, or vacuum, is."""
    torch.set_num_threads(1)
    thickness_A, has_ice, energy_filter = job
    settings = replace(SETTINGS, microscope=replace(SETTINGS.microscope, energy_filter=energy_filter))
    exposure = in_ice(thickness_A, settings) if has_ice else in_vacuum(settings)
    found = measure(torch.from_numpy(next(exposure.frames).astype(np.float32)), settings.microscope.optics)
    return Brightness(found.areas.ice_level, found.noise_per_level, has_ice)


def in_ice(thickness_A: float, settings: SimulationSettings) -> Exposure:
    plan = ExposurePlan(2000 + round(thickness_A), "x", (), 15100.0, 14900.0, 0.4, thickness_A)
    return simulate_exposure(plan, load_specimen(settings.specimen), settings)


def in_vacuum(settings: SimulationSettings) -> Exposure:
    """Return the first exposure of whose film nothing is left."""
    for index in range(1000, 2000):
        plan = ExposurePlan(index, "x", ("vacuum",), 15100.0, 14900.0, 0.4, 300.0)
        exposure = simulate_exposure(plan, load_specimen(settings.specimen), settings)
        if exposure.masks["vacuum"].all():
            return exposure
    raise AssertionError("every film has something left")


def false_alarms(pixel_size_A: float) -> int:
    """Count images of white noise in which a crystal is said to be."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(NOISE_IMAGES):
        image = torch.from_numpy(rng.standard_normal((NOISE_SIDE_PX, NOISE_SIDE_PX), dtype=np.float32))
        alarms += state_of_ice(local_spectra(image, pixel_size_A)).crystalline_fraction > 0
    return alarms


@cache
def simulated(count: int) -> tuple[Judged, ...]:
    jobs = [(kind, number, count) for kind in KINDS for number in range(count)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return tuple(pool.map(judged, jobs))


def confusion(found: tuple[Judged, ...]) -> Table:
    """Verdicts by kind; the last columns show how many particles outside all masks were kept and lost."""
    table = Table(title="simulated, 1024 px at 1.3 A: verdicts, and usable particles")
    for column in ("kind", *VERDICTS, "kept", "lost"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind in KINDS:
        own = [one for one in found if one.kind == kind]
        counts = Counter(one.verdict for one in own)
        kept = sum(one.usable for one in own if one.condition.state == "accepted")
        lost = sum(one.usable for one in own if one.condition.state != "accepted")
        table.add_row(kind, *(str(counts[verdict] or "-") for verdict in VERDICTS), str(kept), str(lost))
    return table


def opinion_table(found: tuple[Judged, ...]) -> Table:
    """What the condition network says, by kind; the last columns are as those of `confusion`."""
    table = Table(title="the same, as the condition network sees them")
    for column in ("kind", "fine", *FAULTS, "unlike the training set", "kept", "lost"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind in KINDS:
        own = [one for one in found if one.kind == kind]
        counts = Counter("fine" if one.opinion.is_fine else one.opinion.fault for one in own)
        strange = sum(bool(one.opinion.note) for one in own)
        kept, lost = (sum(one.usable for one in own if one.opinion.is_fine == is_kept) for is_kept in (True, False))
        row = (*(str(counts[verdict] or "-") for verdict in ("fine", *FAULTS)), str(strange or "-"))
        table.add_row(kind, *row, str(kept), str(lost))
    return table


def thickness_errors(energy_filter: bool, with_vacuum: bool) -> tuple[str, float]:
    """Return the method and the rms error, A, over twelve exposures of 150 to 700 A; of relative ones, after a line."""
    truths = [float(value) for value in np.linspace(150, 700, 12)]
    jobs = [(t_A, True, energy_filter) for t_A in truths] + [(300.0, False, energy_filter)] * with_vacuum
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        levels = list(pool.map(brightness, jobs))
    settings = ThicknessSettings(energy_filter=energy_filter)
    ice = ice_thicknesses(levels, SETTINGS.microscope.voltage_kV, settings)[: len(truths)]
    if with_vacuum:
        return ice[0].method, float(
            np.sqrt(np.mean([(a.thickness_A - b) ** 2 for a, b in zip(ice, truths, strict=True)]))
        )
    differences = np.array([one.relative for one in ice])
    slope, offset = np.polyfit(differences, truths, 1)
    return ice[0].method, float(np.sqrt(np.mean((slope * differences + offset - truths) ** 2)))


@cache
def real() -> tuple[tuple[str, str, str, str], ...]:
    """Label, verdict, the network's opinion and notes of every real micrograph."""
    entries = []
    for path in sorted(SESSION.glob("*.mrc")):
        image = torch.from_numpy(read_mrc(path).data)
        _, condition = examine(image, APOFERRITIN)
        label = "apo-ferritin, drifted" if path.stem == DRIFTED else "apo-ferritin"
        entries.append((label, condition.kind, in_words(image, APOFERRITIN), "; ".join(condition.notes)))
    for path in sorted(EXAMPLES.glob("*/*.png")):
        image = torch.from_numpy(255 * imread(path)).float()
        _, condition = examine(image, COARSE, with_ctf=False)
        entries.append((path.parent.name[1:], condition.kind, in_words(image, COARSE), "; ".join(condition.notes)))
    return tuple(entries)


def in_words(image: torch.Tensor, optics: Optics) -> str:
    """The condition network's opinion."""
    opinion = network().judge(image, optics.pixel_size_A)
    words = "fine" if opinion.is_fine else opinion.fault
    return f"{words}, strange" if opinion.note else words


def real_table() -> Table:
    table = Table(title="real: apo-ferritin (EMPIAR-10146) at 1.5 A, labelled examples at 8 A without CTF")
    for column in ("label", "rules", "network", "number", "notes"):
        table.add_column(column, justify="right" if column == "number" else "left", overflow="fold")
    for key, number in Counter(entry[:3] for entry in real()).items():
        notes = [note for *own, note in real() if tuple(own) == key and note]
        table.add_row(*key, str(number), "\n".join(notes))
    return table


def rows(count: int = 10) -> list[tuple[str, str]]:
    """Return what was measured, in words and numbers."""
    found = simulated(count)
    crystals = [one for one in found if one.kind == "crystalline"]
    others = [one for one in found if one.kind != "crystalline"]
    alarms = [false_alarms(pixel_A) for pixel_A in NOISE_PIXELS_A]
    lost = sum(
        one.usable
        for one in found
        if one.kind in ("sound", "ice_balls", "carbon_edge", "aggregation", "thick_ice")
        and one.condition.state != "accepted"
    )
    table = [
        ("crystalline exposures named", f"{sum(one.crystalline for one in crystals)} of {len(crystals)}"),
        ("crystals in simulated exposures without any", f"{sum(one.crystalline for one in others)} of {len(others)}"),
        (
            f"crystals in white noise at {', '.join(map(str, NOISE_PIXELS_A))} A (meant: {FALSE_ALARM:g})",
            f"{', '.join(map(str, alarms))} of {NOISE_IMAGES} each",
        ),
        ("usable particles lost in sound or merely contaminated exposures", str(lost)),
    ]
    for kind in AREAS:
        errors = [abs(one.area - one.truth) for one in found if one.kind == kind and math.isfinite(one.truth)]
        table.append((f"error of the area, {kind}: median, largest", f"{np.median(errors):.2f}, {max(errors):.2f}"))
    for energy_filter, with_vacuum in ((True, True), (False, True), (True, False), (False, False)):
        method, error_A = thickness_errors(energy_filter, with_vacuum)
        name = "with" if energy_filter else "without"
        table.append((f"thickness, 150 to 700 A, {name} energy filter: {method}", f"rms {error_A:.0f} A"))
    if SESSION.is_dir():
        session = [entry for entry in real() if entry[0].startswith("apo-ferritin")]
        kept = sum(kind == "sound" for _, kind, *_ in session)
        named = sum("crystalline" in notes for *_, notes in session)
        table.append(("real apo-ferritin kept; with frost crystals noted", f"{kept} of {len(session)}; {named}"))
    return table


def main() -> None:
    """Print the tables."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    console = Console(width=150)
    console.print(confusion(simulated(count)))
    console.print(opinion_table(simulated(count)))
    if REAL.is_dir():
        console.print(real_table())
    else:
        console.print("../shared/real is absent: nothing real judged")
    table = Table("measured", "")
    for row in rows(count):
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
