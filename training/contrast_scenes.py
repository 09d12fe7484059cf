"""Which micrographs the contrast classifier is trained and tested on: specimens, microscopes, sessions, exposures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from contrast_shapes import draw_shape
from torch import Tensor

from scherzer.formats.models import Atoms, read_atoms
from scherzer.geometry.rotations import random_rotations
from scherzer.micrographs.contrast.visibility import LABELS, ContrastLabel, label_of
from scherzer.simulate.membrane_phantom import membrane_atoms
from scherzer.simulate.phantom import phantom_atoms
from scherzer.simulate.placement import Placement
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
from scherzer.simulate.snr import particle_snr, view_power
from scherzer.simulate.specimen import Specimen, specimen_of

# Range of d' that training covers evenly in its logarithm.
TRAINED_D_PRIME = (3.5, 24.0)
# Exposures drawn, of which the one nearest to the wanted d' is made.
TRIES = 10
VIEWS, PREVIEW_PIXEL_A = 12, 2.4
# Cameras that training sees, with their usual dose rates in electrons/px/s; the K2 is left for the test.
TRAINED_CAMERAS = {"Falcon III": (0.4, 1.2), "Falcon 4": (2.0, 9.0), "K3": (5.0, 25.0)}
TRAINED_PIXELS_A = (1.6, 1.8, 2.0, 2.0, 2.2, 2.4, 3.0)
# Share of training exposures with each fault; with it particles are as visible as without.
FAULTS: dict[Fault, float] = {"ice_balls": 0.06, "carbon_edge": 0.03, "crystalline": 0.03, "empty": 0.03}
UNALIGNED_SHARE = 0.2

# Microscopes of the test: none of their combinations was trained on, nor pixels below 1.6 A, nor the camera of most.
TEST_MICROSCOPES: dict[str, tuple[MicroscopeSettings, DetectorSettings]] = {
    name: (
        MicroscopeSettings(
            pixel_size_A=pixel_A, voltage_kV=voltage_kV, cs_mm=cs_mm, amplitude_contrast=amplitude, energy_filter=sharp
        ),
        DetectorSettings(camera, rate),
    )
    for name, pixel_A, voltage_kV, cs_mm, amplitude, sharp, camera, rate in (
        ("300 kV K2 1.1 A", 1.1, 300.0, 2.7, 0.07, False, "K2", 4.0),
        ("200 kV Falcon 4i 0.9 A", 0.9, 200.0, 2.7, 0.10, True, "Falcon 4i", 5.0),
        ("300 kV K2 filter 1.7 A", 1.7, 300.0, 2.7, 0.07, True, "K2", 8.0),
        ("120 kV K2 1.5 A", 1.5, 120.0, 2.0, 0.10, False, "K2", 3.0),
        ("300 kV K3 filter 0.7 A", 0.7, 300.0, 0.001, 0.07, True, "K3", 9.0),
        ("100 kV Falcon 4i 2.3 A", 2.3, 100.0, 1.6, 0.10, False, "Falcon 4i", 8.0),
        ("300 kV Falcon III 2.9 A", 2.9, 300.0, 2.7, 0.07, False, "Falcon III", 0.8),
    )
}
# Of the test's specimens; what the simulator takes.
CONTRAST = SpecimenSettings().contrast
MICROSCOPES_PER_SPECIMEN, PLANS_PER_SESSION = 3, 40


@dataclass(frozen=True)
class Subject:
    """A specimen as exposures are drawn for it.

    Attributes
    ----------
    name : str
        For tables.
    specimen : Specimen
        The particle.
    power : Tensor
        ``(1, m)``, mean squared transform over some views, at `PREVIEW_PIXEL_A`.
    """

    name: str
    specimen: Specimen
    power: Tensor


@dataclass(frozen=True)
class Scene:
    """A micrograph to be made.

    Attributes
    ----------
    subject : Subject
        Of what.
    session : str
        Specimen and microscope.
    settings : SimulationSettings
        Of its session.
    plan : ExposurePlan
        Its own.
    """

    subject: Subject
    session: str
    settings: SimulationSettings
    plan: ExposurePlan


def subject_of(name: str, specimen: Specimen, rng: np.random.Generator) -> Subject:
    """Look at a specimen from some directions."""
    power = view_power(specimen, random_rotations(VIEWS, rng), PREVIEW_PIXEL_A).mean(0, keepdim=True)
    return Subject(name, specimen, power)


def made_up_subjects(count: int, seed: int) -> list[Subject]:
    """Draw particles of all shapes and sizes."""
    generators = [np.random.default_rng([seed, index]) for index in range(count)]
    return [subject_of(f"shape {index}", draw_shape(rng), rng) for index, rng in enumerate(generators)]


def test_subjects(models: Sequence[Path], seed: int) -> list[Subject]:
    """Return the specimens of the test: the simulator's phantoms, which are made in another way, and models."""
    atoms: dict[str, Atoms] = {
        "phantom O 130 A": phantom_atoms("O", 130.0),
        "phantom D2 150 A": phantom_atoms("D2", 150.0),
        "phantom C1 110 A": phantom_atoms("C1", 110.0),
        "phantom D7 170 A": phantom_atoms("D7", 170.0),
        "phantom C3 200 A": phantom_atoms("C3", 200.0),
        "membrane D6 180 A": membrane_atoms("D6", 180.0),
        **{path.stem: read_atoms(path) for path in models},
    }
    rng = np.random.default_rng(seed)
    return [subject_of(name, specimen_of(found, contrast=CONTRAST), rng) for name, found in atoms.items()]


def preview(subject: Subject, settings: SimulationSettings, plan: ExposurePlan) -> float:
    """Detectability of a particle in the middle of the film, for choosing exposures."""
    none = np.zeros(1)
    placement = Placement(
        none, none, none, torch.eye(3)[None], none.astype(bool), none.astype(np.int8), none.astype(bool)
    )
    coarse = replace(settings, microscope=replace(settings.microscope, pixel_size_A=PREVIEW_PIXEL_A))
    return float(particle_snr(subject.specimen, placement, plan, coarse, subject.power)["sczDetectability"].iloc[0])


def draw_training_scene(rng: np.random.Generator, subjects: Sequence[Subject], side_A: float, index: int) -> Scene:
    """Draw an exposure, wide enough to hold most that is recorded, with d' as likely as any other."""
    wanted = rng.uniform(*np.log(TRAINED_D_PRIME))
    scenes, misses = [], []
    for _ in range(TRIES):
        subject = subjects[rng.integers(len(subjects))]
        settings = _training_settings(rng, subject.specimen, side_A)
        plan = _plan(rng, settings, index)
        scenes.append(Scene(subject, f"{index}", settings, plan))
        misses.append(abs(np.log(preview(subject, settings, plan)) - wanted))
    chosen = scenes[int(np.argmin(misses))]
    faults = tuple(kind for kind, share in FAULTS.items() if rng.random() < share)[:1]
    return replace(chosen, plan=replace(chosen.plan, faults=faults))


def _training_settings(rng: np.random.Generator, specimen: Specimen, side_A: float) -> SimulationSettings:
    camera = str(rng.choice(list(TRAINED_CAMERAS)))
    pixel_A = float(rng.choice(TRAINED_PIXELS_A))
    unaligned = rng.random() < UNALIGNED_SHARE
    return SimulationSettings(
        seed=int(rng.integers(1 << 31)),
        microscope=MicroscopeSettings(
            *_sides(side_A, pixel_A),
            pixel_size_A=pixel_A,
            voltage_kV=float(rng.choice([100.0, 200.0, 300.0], p=[0.15, 0.3, 0.55])),
            cs_mm=float(rng.choice([0.001, 1.4, 2.7])),
            amplitude_contrast=float(rng.uniform(0.06, 0.11)),
            b_factor_A2=float(rng.uniform(30, 250)),
            energy_filter=bool(rng.random() < 0.5),
            defocus_um=(0.25, 3.2),
            astigmatism_A=300.0,
        ),
        ice=_ice(rng, specimen, (1.0, 1.0)),
        particles=_particles(rng, specimen, side_A),
        exposure=ExposureSettings(
            dose_e_per_A2=_log_uniform(rng, 12, 100),
            frames=8 if unaligned else 1,
            aligned=not unaligned,
            drift_A=float(rng.uniform(5, 25)),
        ),
        detector=DetectorSettings(camera, float(rng.uniform(*TRAINED_CAMERAS[camera]))),
    )


def draw_test_sessions(
    subjects: Sequence[Subject], each: int, side_A: float, seed: int, pixel_limit_A: float = 0.0
) -> list[Scene]:
    """Draw sessions of each specimen on some of the test's microscopes.

    Defocus and ice are drawn evenly from the session's ranges; of those exposures as many of each class are made as of
    any other class that the session holds.
    """
    names = list(TEST_MICROSCOPES)
    scenes = []
    for number, subject in enumerate(subjects):
        for offset in range(MICROSCOPES_PER_SPECIMEN):
            name = names[(number + 2 * offset) % len(names)]
            rng = np.random.default_rng([seed, number, offset])
            settings = _session_settings(rng, subject.specimen, name, side_A)
            plans = [_plan(rng, settings, index) for index in range(PLANS_PER_SESSION)]
            by_class: dict[ContrastLabel, list[ExposurePlan]] = {label: [] for label in LABELS}
            for plan in plans:
                by_class[label_of(preview(subject, settings, plan))].append(plan)
            held = [found for found in by_class.values() if found]
            for index in range(each):
                group = held[index % len(held)]
                scenes.append(Scene(subject, f"{subject.name}, {name}", settings, group[rng.integers(len(group))]))
    return scenes


def _session_settings(
    rng: np.random.Generator, specimen: Specimen, microscope: str, side_A: float
) -> SimulationSettings:
    optics, detector = TEST_MICROSCOPES[microscope]
    height_px, width_px = _sides(side_A, optics.pixel_size_A)
    return SimulationSettings(
        seed=int(rng.integers(1 << 31)),
        microscope=replace(
            optics,
            height_px=height_px,
            width_px=width_px,
            defocus_um=(0.3, 2.9),
            b_factor_A2=float(rng.uniform(50, 120)),
        ),
        ice=_ice(rng, specimen, (0.6, 1.6)),
        particles=_particles(rng, specimen, side_A),
        exposure=ExposureSettings(dose_e_per_A2=_log_uniform(rng, 18, 70)),
        detector=detector,
    )


def _plan(rng: np.random.Generator, settings: SimulationSettings, index: int) -> ExposurePlan:
    defocus_A = 1e4 * rng.uniform(*settings.microscope.defocus_um)
    half_A = abs(rng.normal(0, settings.microscope.astigmatism_A)) / 2
    angle = rng.uniform(-np.pi / 2, np.pi / 2)
    thickness_A = rng.uniform(*settings.ice.thickness_A)
    number = int(rng.integers(1 << 20))
    return ExposurePlan(number, f"{index}", (), defocus_A + half_A, defocus_A - half_A, angle, thickness_A)


def _ice(rng: np.random.Generator, specimen: Specimen, spread: tuple[float, float]) -> IceSettings:
    """Draw a film that holds the particles."""
    least_A = 1.9 * specimen.radius_A
    typical_A = _log_uniform(rng, max(least_A, 180.0), 800.0)
    low_A, high_A = (max(least_A, factor * typical_A) for factor in spread)
    return IceSettings(thickness_A=(low_A, high_A), frost_per_um2=float(rng.exponential(10)))


def _particles(rng: np.random.Generator, specimen: Specimen, side_A: float) -> ParticleSettings:
    coverage = 0.12 + 0.8 * rng.random() ** 1.5
    return ParticleSettings(
        per_micrograph=max(4, round(coverage * (side_A / (2 * specimen.radius_A)) ** 2)),
        closest_diameters=float(rng.uniform(0.6, 1.1)),
        broken=float(rng.uniform(0, 0.12)),
        adsorbed=float(rng.choice([0.0, 0.5, 1.0])),
        preference=float(rng.choice([0.0, 0.0, 0.6])),
        preferred_tilt_deg=float(rng.uniform(0, 90)),
    )


def _sides(side_A: float, pixel_A: float) -> tuple[int, int]:
    side = 2 * round(side_A / pixel_A / 2)
    return side, side


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
