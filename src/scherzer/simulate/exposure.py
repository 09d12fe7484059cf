"""One exposure, from its plan to its frames and truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.physics.dose import dose_weights
from scherzer.simulate.artefacts import (
    BAD_DRIFT_A,
    contamination_heights_A,
    crystalline_potential_V_A,
)
from scherzer.simulate.counting import child
from scherzer.simulate.detector import detector_named, expose, signal_transfer
from scherzer.simulate.drift import Track, draw_bad_track, draw_track, still_track
from scherzer.simulate.ice import APERTURE_MEAN_FREE_PATH_A, INELASTIC_MEAN_FREE_PATH_A, thickness_map
from scherzer.simulate.image_formation import (
    Depths,
    FieldGrid,
    field_grid,
    particle_depths,
    relative_contrast,
    surface_depths,
    water_depths,
)
from scherzer.simulate.placement import Placement, place_particles
from scherzer.simulate.plan import ExposurePlan
from scherzer.simulate.settings import SimulationSettings
from scherzer.simulate.specimen import Specimen

# Exposure intervals over which damage is averaged in an image that is written as one sum.
DAMAGE_STEPS = 16


@dataclass(frozen=True)
class Exposure:
    """A simulated exposure.

    Attributes
    ----------
    plan : ExposurePlan
        As planned.
    frames : ndarray of uint8 or uint16
        ``(n, h, w)`` electron counts.
    particles : Placement
        Those whose centre lies in the image and those in the margin.
    track : Track
        How the specimen moved.
    """

    plan: ExposurePlan
    frames: NDArray[Any]
    particles: Placement
    track: Track


def simulate_exposure(plan: ExposurePlan, specimen: Specimen, settings: SimulationSettings) -> Exposure:
    """Make one exposure; the result depends on nothing but the arguments."""
    # One stream a matter, so that a change of one (more frames, say) leaves the others as they were.
    streams = np.random.SeedSequence(settings.seed, spawn_key=(1, plan.index)).spawn(5)
    place, ice, move, spoil = (np.random.default_rng(stream) for stream in streams[:4])
    grid = field_grid(settings.microscope.height_px, settings.microscope.width_px, settings.microscope.pixel_size_A)
    parameters = plan.parameters(settings)
    wavelength_A = float(parameters.wavelength_A)
    particles = _place(place, plan, specimen, settings, grid)
    track = _track(move, plan, settings)
    frost_A = torch.from_numpy(
        contamination_heights_A(spoil, (grid.height, grid.width), grid.pixel_size_A, large="ice_balls" in plan.faults)
    )
    still = water_depths(ice, grid, plan.thickness_A, wavelength_A) + surface_depths(frost_A)
    if "crystalline" in plan.faults:
        lattice = torch.fft.rfft2(crystalline_potential_V_A(spoil, (grid.height, grid.width), grid.pixel_size_A))
        still = still + Depths(lattice, torch.zeros_like(lattice))
    protein = particle_depths(specimen, particles, grid, wavelength_A)
    film_A = thickness_map(ice, settings.microscope.height_px, settings.microscope.width_px, plan.thickness_A)
    m = grid.margin_px
    film_A = film_A + frost_A[m : m + settings.microscope.height_px, m : m + settings.microscope.width_px].numpy()
    frames = _record(
        streams[4],
        relative_contrast(protein, parameters, grid, settings),
        relative_contrast(still, parameters, grid, settings),
        film_A,
        track,
        grid,
        settings,
    )
    return Exposure(plan, frames, particles, track)


def _place(
    rng: np.random.Generator, plan: ExposurePlan, specimen: Specimen, settings: SimulationSettings, grid: FieldGrid
) -> Placement:
    wanted = 0 if "empty" in plan.faults else settings.particles.per_micrograph
    return place_particles(
        rng,
        wanted,
        (settings.microscope.height_px, settings.microscope.width_px),
        grid.margin_px,
        2 * specimen.radius_A / settings.microscope.pixel_size_A,
        max(0.0, plan.thickness_A / 2 - specimen.radius_A),
        settings.particles.broken,
    )


def _track(rng: np.random.Generator, plan: ExposurePlan, settings: SimulationSettings) -> Track:
    if "drift" in plan.faults:
        return draw_bad_track(rng, settings.exposure.frames, BAD_DRIFT_A)
    if settings.exposure.frames == 1:
        return still_track(1)  # a sum that was aligned before it was written
    return draw_track(rng, settings.exposure.frames, settings.exposure.dose_e_per_A2, settings.exposure.drift_A)


def _record(
    seed: np.random.SeedSequence,
    protein: Tensor,
    still: Tensor,
    film_A: NDArray[np.float32],
    track: Track,
    grid: FieldGrid,
    settings: SimulationSettings,
) -> NDArray[Any]:
    """Expose the detector frame by frame."""
    k = torch.sqrt(grid.k2)
    camera = detector_named(settings.detector.name, settings.microscope.voltage_kV)
    detector = signal_transfer(camera, k, grid.pixel_size_A)
    lost = APERTURE_MEAN_FREE_PATH_A if not settings.microscope.energy_filter else INELASTIC_MEAN_FREE_PATH_A
    bright = np.exp(-film_A / lost)
    # Without a filter, electrons that lost energy still arrive, but out of focus.
    sharp = np.float32(1) if settings.microscope.energy_filter else np.exp(-film_A / INELASTIC_MEAN_FREE_PATH_A)
    electrons = settings.exposure.dose_per_frame_e_per_A2 * settings.microscope.pixel_size_A**2
    frames = []
    for frame in range(settings.exposure.frames):
        transfer = track.transfer(frame, grid.kx, grid.ky) * detector
        picture = (protein * _survival(k, frame, settings) + still) * transfer
        contrast = grid.image(picture, settings.microscope.height_px, settings.microscope.width_px).numpy()
        intensity = (bright * (1 + sharp * contrast)).astype(np.float32)
        rate = settings.detector.dose_rate_e_per_px_s
        frames.append(expose(child(seed, frame), camera, None, electrons, rate, intensity))
    return np.stack([frame.astype(max(frame.dtype for frame in frames)) for frame in frames])


def _survival(k: Tensor, frame: int, settings: SimulationSettings) -> Tensor:
    """Mean share of the protein's signal that radiation has left during a frame."""
    steps = max(1, DAMAGE_STEPS // settings.exposure.frames)
    moments = (frame + (torch.arange(steps) + 0.5) / steps) * settings.exposure.dose_per_frame_e_per_A2
    # Damage depends on the radius alone: tabulate it, the exponentials of whole fields are slow.
    table = torch.linspace(0, float(k.max()), 2048)
    left = dose_weights(table, moments, settings.microscope.voltage_kV).mean(0)
    position = k * (2047 / float(k.max()))
    low = position.floor().clamp(max=2046).long()
    return torch.lerp(left[low], left[low + 1], position - low)
