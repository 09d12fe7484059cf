"""One exposure, from its plan to its frames and truth."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from scherzer.simulate.counting import child
from scherzer.simulate.detector import detector_named, expose, signal_transfer
from scherzer.simulate.drift import Track, draw_bad_track, draw_track
from scherzer.simulate.faults import FaultObject, FieldFaults, field_faults
from scherzer.simulate.field import Array, ComplexArray, FieldGrid, field_grid
from scherzer.simulate.ice import thickness_map, transmission
from scherzer.simulate.illumination import illumination
from scherzer.simulate.image_formation import Contrast, form_contrast, particle_fields
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
    power : Tensor
        ``(n, m)``, mean squared transform of the particles' projections, as
        :func:`scherzer.simulate.ring_power.ring_power` gives it.
    film_A : ndarray
        ``(n,)``, thickness of the film where each particle lies.
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
    power: Tensor
    film_A: Array
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
    streams = np.random.SeedSequence(settings.seed, spawn_key=(1, plan.index)).spawn(8)
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
    film_at_particles_A = film_A[_nearest(particles.y_px, grid, 0), _nearest(particles.x_px, grid, 1)]
    camera = _Camera(settings, sensor, _in_the_way_A(grid, settings, film_A, faults), streams[6])
    image_px = (microscope.height_px, microscope.width_px)
    camera.receive(illumination(np.random.default_rng(streams[7]), image_px, microscope.illumination_slope))
    if faults.arriving is not None:
        camera.receive(grid.cut(faults.arriving, *image_px))
    white = np.sqrt(np.multiply(film_A, np.float32(1 / plan.thickness_A), out=film_A), out=film_A)
    with thread_pool(threads) as pool:
        still = pool.submit(_still, grid, faults)
        fields = particle_fields(pool, shapes, specimen, particles, grid, lens.wavelength_A).transforms(pool, grid)
        dose_e_per_A2 = settings.exposure.dose_e_per_A2
        contrast = form_contrast(
            pool, lens, grid, fields, still.result(), plan.thickness_A, dose_e_per_A2, camera.transfer
        )
    recording = Recording(
        grid=grid,
        track=track,
        dose_e_per_A2=dose_e_per_A2,
        voltage_kV=microscope.voltage_kV,
        water_motion_A2_per_e=settings.ice.water_motion_A2_per_e,
        white=white,
    )
    frames = _frames(contrast, recording, camera, ice, settings, threads)
    return Exposure(
        plan=plan,
        particles=particles,
        power=fields.power,
        film_A=film_at_particles_A,
        track=track,
        masks=faults.masks,
        objects=faults.objects,
        frames=frames,
    )


def _place(
    rng: np.random.Generator,
    plan: ExposurePlan,
    specimen: Specimen,
    settings: SimulationSettings,
    grid: FieldGrid,
    film_A: Array,
    faults: FieldFaults,
) -> Placement:
    room = Room(
        image_px=(settings.microscope.height_px, settings.microscope.width_px),
        margin_px=grid.margin_px,
        pixel_size_A=grid.pixel_size_A,
        film_A=film_A,
        usual_A=float(np.mean(settings.ice.thickness_A)),
        crowding=faults.crowding,
        clumps=faults.clumps,
    )
    wanted = replace(settings.particles, per_micrograph=0) if "empty" in plan.faults else settings.particles
    return place_particles(rng, wanted, specimen.radius_A, room)


def _in_the_way_A(grid: FieldGrid, settings: SimulationSettings, film_A: Array, faults: FieldFaults) -> Array:
    """Ice and what stops electrons like it, over the image."""
    shape = (settings.microscope.height_px, settings.microscope.width_px)
    total = grid.cut(film_A, *shape) + grid.cut(faults.extra_ice_A, *shape)
    if faults.absorber_A is not None:
        total += grid.cut(faults.absorber_A, *shape)
    return np.asarray(total)


def _nearest(places_px: NDArray[np.float64], grid: FieldGrid, axis: int) -> NDArray[np.intp]:
    """Rows or columns of the field in which particles lie."""
    return np.asarray(np.round(places_px).astype(np.intp) + grid.margin_px).clip(0, (grid.height, grid.width)[axis] - 1)


def _track(rng: np.random.Generator, plan: ExposurePlan, settings: SimulationSettings) -> Track:
    exposure = settings.exposure
    if "drift" in plan.faults:
        return draw_bad_track(rng, exposure.frames)
    if exposure.output == "sums" and exposure.aligned and exposure.frames == 1:
        return Track(1)  # what moved within its frames is not known
    return draw_track(rng, exposure.frames, exposure.dose_e_per_A2, exposure.drift_A)


def _still(grid: FieldGrid, faults: FieldFaults) -> ComplexArray | None:
    """Transform of the potential of all that is neither particle nor an even film."""
    return None if faults.potential_V_A is None else grid.transform(faults.potential_V_A)


class _Camera:
    """Counts electrons behind ice of a given thickness."""

    def __init__(
        self, settings: SimulationSettings, sensor: Sensor | None, film_A: Array, seed: np.random.SeedSequence
    ) -> None:
        microscope, exposure = settings.microscope, settings.exposure
        self._shape = (microscope.height_px, microscope.width_px)
        self._detector = detector_named(settings.detector.name, microscope.voltage_kV)
        self._sensor, self._seed = sensor, seed
        self._rate = settings.detector.dose_rate_e_per_px_s
        self._electrons = exposure.dose_e_per_A2 * microscope.pixel_size_A**2
        self._frames = exposure.frames
        self._is_sum = exposure.output == "sums"
        self._bright, self._sharp = transmission(film_A, microscope.voltage_kV, microscope.energy_filter)

    def receive(self, arriving: Array) -> None:
        """Let an uneven beam, or Bragg diffraction, change the electrons that arrive by a factor."""
        self._bright *= arriving

    def transfer(self, k: Tensor, pixel_size_A: float) -> Tensor:
        """What the camera leaves of a spatial frequency."""
        return signal_transfer(self._detector, k, pixel_size_A)

    def count(self, pool: ThreadPoolExecutor, number: int, grid: FieldGrid, contrast: Array) -> NDArray[Any]:
        """Return the counts of one image, whose relative contrast over the field is given."""
        intensity = grid.cut(contrast, *self._shape).copy()
        if self._sharp is not None:
            intensity *= self._sharp
        intensity += 1
        intensity *= self._bright
        electrons = self._electrons / (1 if self._is_sum else self._frames)
        counts = expose(
            child(self._seed, number), self._detector, self._sensor, electrons, self._rate, intensity, pool=pool
        )
        return self._sensor.correct(counts) if self._is_sum and self._sensor is not None else counts


def _frames(
    contrast: Contrast,
    recording: Recording,
    camera: _Camera,
    ice: np.random.Generator,
    settings: SimulationSettings,
    threads: int,
) -> Iterator[NDArray[Any]]:
    """Make the frames, or their sum; with several threads, each while its predecessors are counted and written."""
    if settings.exposure.output == "sums":
        with thread_pool(threads) as pool:
            total = record_sum(pool, ice, contrast, recording, settings.exposure.aligned)
            counts = camera.count(pool, 0, recording.grid, total)
        yield counts
        return
    with thread_pool(threads) as pool:
        images = record_frames(pool, ice, contrast, recording)
        for number, image in enumerate(one_ahead(images) if threads > 1 else images):
            yield camera.count(pool, number, recording.grid, image)
