"""One exposure, from its plan to its frames and truth."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scherzer.physics.scattering import ice_potential_V
from scherzer.simulate.counting import child
from scherzer.simulate.detector import detector_named, expose, signal_transfer
from scherzer.simulate.drift import Track, draw_bad_track, draw_track
from scherzer.simulate.faults import FaultObject, FieldFaults, field_faults
from scherzer.simulate.field import Array, ComplexArray, FieldGrid, field_grid
from scherzer.simulate.ice import thickness_map, transmission
from scherzer.simulate.image_formation import Contrast, Depths, form_contrast, particle_depths
from scherzer.simulate.lens import Lens
from scherzer.simulate.placement import Placement, Room, place_particles
from scherzer.simulate.plan import ExposurePlan
from scherzer.simulate.recording import Recording, record_frames, record_sum
from scherzer.simulate.sensor import Sensor
from scherzer.simulate.settings import SimulationSettings
from scherzer.simulate.specimen import Specimen
from scherzer.simulate.threads import one_ahead, thread_pool


@dataclass(frozen=True)
class Exposure:
    """A simulated exposure.

    Attributes
    ----------
    plan : ExposurePlan
        As planned.
    particles : Placement
        Those whose centre lies in the image and those in the margin.
    track : Track
        How the specimen moved.
    masks : dict
        ``(h, w)`` bool arrays of what spoils the image, by kind.
    objects : tuple of FaultObject
        The same, one by one.
    frames : iterator of ndarray
        The frames of a movie, or one sum of them: ``(h, w)`` electron counts as uint8 or uint16, made as they are asked
        for and only once. A sum from a sensor with defects or uneven gain is corrected for both, in float32.
    """

    plan: ExposurePlan
    particles: Placement
    track: Track
    masks: dict[str, NDArray[np.bool_]]
    objects: tuple[FaultObject, ...]
    frames: Iterator[NDArray[Any]]


def simulate_exposure(
    plan: ExposurePlan,
    specimen: Specimen,
    settings: SimulationSettings,
    sensor: Sensor | None = None,
    threads: int = 1,
) -> Exposure:
    """Make one exposure; the result depends on plan, specimen, settings and sensor alone.

    Parameters
    ----------
    plan : ExposurePlan
        What is decided about the exposure.
    specimen : Specimen
        A particle.
    settings : SimulationSettings
        Of the session.
    sensor : Sensor, optional
        The camera's pixels, where they are not perfect.
    threads : int
        Processor cores to use.
    """
    # One stream a matter, so that a change of one (more frames, say) leaves the others as they were.
    streams = np.random.SeedSequence(settings.seed, spawn_key=(1, plan.index)).spawn(7)
    place, film, move, spoil, shapes, ice = (np.random.default_rng(stream) for stream in streams[:6])
    microscope = settings.microscope
    lens = Lens(microscope, plan.parameters(settings))
    grid = field_grid(microscope.height_px, microscope.width_px, microscope.pixel_size_A, lens.reach_A())
    shape = (grid.height, grid.width)
    faults = field_faults(spoil, plan, settings, shape, grid.margin_px, grid.pixel_size_A)
    film_A = thickness_map(film, shape, plan.thickness_A, settings.ice)
    if faults.film is not None:
        film_A *= faults.film
    particles = _place(place, plan, specimen, settings, grid, film_A, faults)
    track = _track(move, plan, settings)
    with thread_pool(threads) as pool:
        still = pool.submit(_still, grid, faults)
        depths = particle_depths(pool, shapes, specimen, particles, grid, lens.wavelength_A)
        sine, cosine = pool.map(grid.transform, (depths.sine, depths.cosine))
        contrast = form_contrast(pool, lens, grid, Depths(sine, cosine), still.result(), plan.thickness_A)
    recording = Recording(
        grid=grid,
        track=track,
        dose_e_per_A2=settings.exposure.dose_e_per_A2,
        voltage_kV=microscope.voltage_kV,
        water_motion_A2_per_e=settings.ice.water_motion_A2_per_e,
        white=np.sqrt(film_A / np.float32(plan.thickness_A)),
    )
    film_A += faults.extra_ice_A
    if faults.absorber_A is not None:
        film_A += faults.absorber_A
    camera = _Camera(settings, sensor, grid.cut(film_A, microscope.height_px, microscope.width_px), streams[6])
    frames = _frames(contrast, recording, camera, ice, settings, threads)
    return Exposure(plan, particles, track, faults.masks, faults.objects, frames)
