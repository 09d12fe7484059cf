"""Micrographs whose condition is known, on the scale at which the condition network sees them.

They are :mod:`scherzer.simulate`'s, with coarse pixels and particles of few atoms, which is quick and at 16 A the same,
and with what :mod:`condition_faults` adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from condition_faults import Picture, cracks, dark_edge, film_of_disk, leaves, smear
from numpy.typing import NDArray

from scherzer.micrographs.contrast.condition_network import LABELS
from scherzer.simulate.detector import DETECTORS
from scherzer.simulate.exposure import Exposure, simulate_exposure
from scherzer.simulate.plan import ExposurePlan, Fault
from scherzer.simulate.settings import (
    DetectorSettings,
    ExposureSettings,
    IceSettings,
    MicroscopeSettings,
    ParticleSettings,
    SimulationSettings,
    SpecimenSettings,
)
from scherzer.simulate.specimen import Specimen, load_specimen


@dataclass(frozen=True)
class Frame:
    """What of a specimen is recorded.

    Attributes
    ----------
    sides_px : tuple of int
        Height and width.
    pixel_A : tuple of float
        Least and largest pixel size, A.
    atoms : int
        Atoms of a particle, each standing for several.
    """

    sides_px: tuple[int, int]
    pixel_A: tuple[float, float]
    atoms: int


# Small pictures are said to be sampled at 8 A: scales of pictures on the web are known as little.
SMALL = Frame((494, 512), (5.5, 10.0), 1500)
# What a camera records, brought to 8 A as a user's micrographs are; a part of a micrograph, which is quick.
RECORDED = Frame((960, 960), (1.0, 2.4), 6000)
# What is chosen, and how often. Each kind may come with a second one.
KINDS = {
    "sound": 0.30,
    "carbon_edge": 0.08,
    "drift": 0.11,
    "empty": 0.10,
    "vacuum": 0.11,
    "crystalline": 0.13,
    "ice_balls": 0.10,
    "aggregation": 0.05,
    "cracks": 0.02,
}
SECOND = 0.25
SECONDS = ("carbon_edge", "drift", "crystalline", "ice_balls", "dark_edge", "leaves")
MADE_BY_SIMULATOR = ("empty", "vacuum", "crystalline", "ice_balls", "carbon_edge", "aggregation", "thick_ice")
DRIFT_A = (60.0, 700.0)
# Electrons are counted without much noise where a picture is smeared, and noise is added afterwards.
CLEARER = 12.0
# Shares of the image from which something is said to be there, and below which it is said not to be; between them the
# label is not known.
CONTAMINATED, CRYSTALLINE, TORN, CARBON, BARE = (0.012, 0.02), (0.02, 0.25), (0.03, 0.10), (0.01, 0.05), 0.85
# Particles fill at least this share of an image that is not empty, and are seen from this underfocus on, A.
FILLED, SEEN_FROM_A = 0.02, 6000.0


@dataclass(frozen=True)
class Specimens:
    """Particles by settings, with the atoms thinned."""

    names: tuple[tuple[str, float, str], ...]
    made: tuple[tuple[SpecimenSettings, Specimen], ...]

    @classmethod
    def of(cls, names: Sequence[tuple[str, float, str]], atoms: int, seed: int) -> Specimens:
        """Build phantoms of a symmetry, a diameter (A) and a kind."""
        rng = np.random.default_rng(seed)
        made = []
        for symmetry, diameter_A, phantom in names:
            settings = SpecimenSettings(symmetry=symmetry, diameter_A=diameter_A, phantom=phantom)  # type: ignore[arg-type]
            made.append((settings, _thinned(load_specimen(settings), atoms, rng)))
        return cls(tuple(names), tuple(made))


def _thinned(specimen: Specimen, atoms: int, rng: np.random.Generator) -> Specimen:
    count = len(specimen.scatterers.positions_A)
    if count <= atoms:
        return specimen
    chosen = torch.from_numpy(np.sort(rng.choice(count, atoms, replace=False)))
    return replace(specimen, scatterers=specimen.scatterers.only(chosen), contrast=specimen.contrast * count / atoms)


def make_small(specimens: Specimens, seed: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], str]:
    """Make one small picture; the result depends on the arguments alone.

    Returns
    -------
    ndarray of uint8
        ``(494, 512)``, said to be sampled at 8 A.
    ndarray
        ``(labels,)`` in the order of `LABELS`: 1, 0, or NaN where it cannot be said.
    str
        What was asked for.
    """
    rng = np.random.default_rng([seed, number])
    kinds = [str(rng.choice(list(KINDS), p=list(KINDS.values())))]
    if rng.random() < SECOND:
        kinds += [kind for kind in (str(rng.choice(SECONDS)),) if kind not in kinds]
    if kinds[0] in ("empty", "vacuum"):
        # Empty fields are as often contaminated as others, and lie as often beside something thick.
        extra = [("ice_balls", 0.25), ("leaves", 0.25), ("dark_edge", 0.15), ("thick_ice", 0.25)]
        kinds += [kind for kind, share in extra if rng.random() < share and kind not in kinds]
    scene = draw_scene(rng, specimens, kinds, SMALL, number)
    counts = next(scene.exposure.frames).astype(np.float32)
    covered = cracked = np.zeros(SMALL.sides_px, bool)
    if "leaves" in kinds:
        counts = leaves(rng, counts)
    if "cracks" in kinds:
        counts, cracked = cracks(rng, counts)
    if "dark_edge" in kinds:
        counts, covered = dark_edge(rng, counts)
    if scene.smear_px:
        counts = _noisy(rng, smear(rng, counts, scene.smear_px))
    return film_of_disk(rng, counts), _labels(scene, covered, cracked), "+".join(kinds)


def make_recorded(specimens: Specimens, seed: int, number: int) -> tuple[Picture, float, NDArray[np.float32], str]:
    """Make one micrograph as a camera records it; the result depends on the arguments alone.

    Returns
    -------
    ndarray
        ``(960, 960)`` counts.
    float
        Pixel size, A.
    ndarray, str
        As those of `make_small`.
    """
    rng = np.random.default_rng([seed, number])
    names = [name for name in KINDS if name != "cracks"]
    shares = np.array([KINDS[name] for name in names])
    kinds = [str(rng.choice(names, p=shares / shares.sum()))]
    scene = draw_scene(rng, specimens, kinds, RECORDED, number)
    counts = next(scene.exposure.frames).astype(np.float32)
    if scene.smear_px:
        counts = _noisy(rng, smear(rng, counts, scene.smear_px))
    none = np.zeros(RECORDED.sides_px, bool)
    return counts, scene.pixel_A, _labels(scene, none, none), kinds[0]


@dataclass(frozen=True)
class Scene:
    """An exposure, and what its labels need besides.

    Attributes
    ----------
    exposure : Exposure
        Its frames are not yet made.
    pixel_A : float
        Pixel size.
    particle_share : float
        Share of the image that one particle takes.
    smear_px : float
        Path of the specimen, 0 for none; the counts are then too many by `CLEARER`.
    """

    exposure: Exposure
    pixel_A: float
    particle_share: float
    smear_px: float


def draw_scene(rng: np.random.Generator, specimens: Specimens, kinds: list[str], frame: Frame, number: int) -> Scene:
    """Draw everything that is not the fault itself, wide enough to hold most that is recorded."""
    settings, specimen = specimens.made[rng.integers(len(specimens.made))]
    pixel_A = float(np.exp(rng.uniform(*np.log(frame.pixel_A))))
    length_px = float(np.exp(rng.uniform(*np.log(DRIFT_A)))) / pixel_A if "drift" in kinds else 0.0
    coverage = float(0.05 + 0.6 * rng.random() ** 1.5)
    area_A2 = frame.sides_px[0] * frame.sides_px[1] * pixel_A**2
    dose = float(np.exp(rng.uniform(np.log(15), np.log(80))))
    microscope = MicroscopeSettings(
        height_px=frame.sides_px[0],
        width_px=frame.sides_px[1],
        pixel_size_A=pixel_A,
        voltage_kV=float(rng.choice([200.0, 300.0])),
        cs_mm=float(rng.choice([0.001, 1.4, 2.7])),
        amplitude_contrast=float(rng.choice([0.07, 0.1])),
        b_factor_A2=float(rng.uniform(40, 250)),
        energy_filter=bool(rng.random() < 0.4),
        illumination_slope=float(rng.uniform(0.005, 0.08)),
    )
    frost = 0.0 if rng.random() < 0.15 else float(np.exp(rng.uniform(np.log(0.5), np.log(45))))
    everything = SimulationSettings(
        seed=int(rng.integers(2**31)),
        specimen=settings,
        microscope=microscope,
        ice=IceSettings(frost_per_um2=frost, wedge=float(rng.uniform(0, 0.3)), meniscus=float(rng.uniform(0, 0.25))),
        particles=ParticleSettings(
            per_micrograph=round(coverage * area_A2 / settings.diameter_A**2),
            closest_diameters=float(rng.uniform(0.6, 1.2)),
        ),
        exposure=ExposureSettings(dose_e_per_A2=dose * (CLEARER if length_px else 1)),
        detector=DetectorSettings(name=str(rng.choice(list(DETECTORS))), dose_rate_e_per_px_s=0.05),
    )
    defocus_A = float(rng.uniform(4000, 40000))
    faults: tuple[Fault, ...] = tuple(kind for kind in kinds if kind in MADE_BY_SIMULATOR)  # type: ignore[misc]
    thickness_A = float(np.exp(rng.uniform(np.log(150), np.log(700)))) * (2.0 if "thick_ice" in kinds else 1.0)
    plan = ExposurePlan(number, "", faults, defocus_A + 150, defocus_A - 150, float(rng.uniform(0, 3)), thickness_A)
    exposure = simulate_exposure(plan, specimen, everything)
    return Scene(exposure, pixel_A, settings.diameter_A**2 / area_A2, length_px)


def _noisy(rng: np.random.Generator, clear: Picture) -> Picture:
    """Take a smeared picture for an expectation and count fewer electrons."""
    expected = np.clip(clear, 1, None) / CLEARER
    return (expected + rng.standard_normal(clear.shape, dtype=np.float32) * np.sqrt(expected)).astype(np.float32)


def _labels(scene: Scene, covered: NDArray[np.bool_], cracked: NDArray[np.bool_]) -> NDArray[np.float32]:
    exposure, masks = scene.exposure, scene.exposure.masks
    none = np.zeros(covered.shape, bool)
    vacuum = masks.get("vacuum", none)
    foreign = masks.get("frost", none) | masks.get("ice_balls", none) | masks.get("aggregation", none) | cracked
    places = exposure.particles
    y, x = (np.round(place).astype(int) for place in (places.y_px, places.x_px))
    inside = (y >= 0) & (y < none.shape[0]) & (x >= 0) & (x < none.shape[1])
    there = int((~(vacuum | covered)[y[inside], x[inside]]).sum())
    empty = _emptiness(exposure, there, there * scene.particle_share, float(vacuum.mean()))
    torn = _graded(float(vacuum.mean()), TORN) if vacuum.mean() < BARE else 0.0
    contamination = _either(_graded(float(foreign.mean()), CONTAMINATED), torn)
    crystalline = _graded(float(masks.get("crystalline", none).mean()), CRYSTALLINE)
    drift = float(scene.smear_px > 0)
    if drift and empty != 0:
        drift = np.nan  # nothing is there to be smeared
    carbon_share = float((masks.get("carbon", none) | covered).mean())
    faults = (drift, empty, contamination, crystalline)
    fine = 0.0 if 1.0 in faults else float(not any(np.isnan(faults))) or np.nan
    if fine == 1.0 and carbon_share > 0.7:
        fine = np.nan
    found = {
        "fine": fine,
        "drift": drift,
        "empty": empty,
        "contamination": contamination,
        "crystalline": crystalline,
        "carbon": _graded(carbon_share, CARBON),
    }
    return np.array([found[label] for label in LABELS], np.float32)


def _emptiness(exposure: Exposure, there: int, filled: float, vacuum: float) -> float:
    """Say whether no particles are left; not known of few particles, and of those that hardly show."""
    if vacuum >= BARE or len(exposure.particles) == 0:
        return 1.0
    seen = exposure.plan.defocus_u_A >= SEEN_FROM_A and "thick_ice" not in exposure.plan.faults
    return 0.0 if there and filled >= FILLED and seen else np.nan


def _graded(share: float, limits: tuple[float, float]) -> float:
    return 1.0 if share >= limits[1] else 0.0 if share <= limits[0] else np.nan


def _either(*labels: float) -> float:
    return 1.0 if 1.0 in labels else np.nan if any(np.isnan(labels)) else 0.0
