"""All faults of one exposure put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scherzer.physics.ctf import electron_wavelength_A
from scherzer.physics.envelopes import interaction_rad_per_V_A
from scherzer.physics.scattering import ice_potential_V
from scherzer.simulate.faults.aggregates import aggregates
from scherzer.simulate.faults.broken_film import broken_film
from scherzer.simulate.faults.carbon import ICE_EQUIVALENT, MEAN_POTENTIAL_V, carbon_edge, carbon_structure_V_A
from scherzer.simulate.faults.crystalline import Beam, crystalline_ice
from scherzer.simulate.faults.ice_grains import VISIBLE_A, frost, ice_balls
from scherzer.simulate.faults.maps import Float32Array, Nodes
from scherzer.simulate.faults.phase import phase_only
from scherzer.simulate.plan import ExposurePlan
from scherzer.simulate.settings import SimulationSettings

# No particle is usable under so much ice, A.
HIDING_A = 150.0


@dataclass(frozen=True)
class FaultObject:
    """One thing that spoils a micrograph.

    Attributes
    ----------
    kind : str
        As in the names of the masks.
    x_px, y_px : float
        Its middle, in pixels of the image; may lie outside.
    radius_A : float
        Mean radius.
    """

    kind: str
    x_px: float
    y_px: float
    radius_A: float


@dataclass(frozen=True)
class FieldFaults:
    """What spoils an exposure, over the field: the image and the margin around it.

    Attributes
    ----------
    extra_ice_A : ndarray
        ``(H, W)`` thickness of the ice that lies on the film.
    film : ndarray or None
        ``(H, W)`` factor of the film's thickness; 0 where there is vacuum.
    potential_V_A : ndarray or None
        ``(H, W)`` projected potential of all that is neither particle nor even film: ice on it, the steps of its
        thickness, carbon, crystals, denatured protein. That of large bodies is `phase_only`.
    absorber_A : ndarray or None
        ``(H, W)`` thickness of ice that costs as many electrons as the carbon does.
    arriving : ndarray or None
        ``(H, W)`` factor of the electrons that arrive, by Bragg diffraction.
    crowding : ndarray or None
        ``(H, W)`` factor of the number of particles, 0 where none lie.
    clumps : ndarray of bool or None
        ``(H, W)``: particles have aggregated here.
    masks : dict
        ``(h, w)`` bool arrays over the image by kind: vacuum, crystalline, ice_balls, carbon, aggregation, frost.
        A kind of which nothing lies in the image has none.
    objects : tuple of FaultObject
        What lies at least partly in the image.
    """

    extra_ice_A: Float32Array
    film: Float32Array | None = None
    potential_V_A: Float32Array | None = None
    absorber_A: Float32Array | None = None
    arriving: Float32Array | None = None
    crowding: Float32Array | None = None
    clumps: NDArray[np.bool_] | None = None
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    objects: tuple[FaultObject, ...] = ()


def field_faults(
    rng: np.random.Generator,
    plan: ExposurePlan,
    settings: SimulationSettings,
    shape: tuple[int, int],
    margin_px: int,
    pixel_size_A: float,
) -> FieldFaults:
    """Draw what spoils one exposure, and the frost that lies on any film.

    Each kind has its own stream of random numbers: what one looks like does not depend on the others.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    plan : ExposurePlan
        Which faults, and the exposure's thickness and defocus.
    settings : SimulationSettings
        Of the session.
    shape : tuple of int
        ``(H, W)`` of the field.
    margin_px : int
        From the field's first row and column to the image's.
    pixel_size_A : float
        Pixel size.
    """
    streams = dict(zip(("frost", "balls", "crystals", "carbon", "vacuum", "clumps"), rng.spawn(6), strict=True))
    view = _View(shape, margin_px, pixel_size_A, settings.microscope.height_px, settings.microscope.width_px)
    margin_A = margin_px * pixel_size_A
    torn = broken_film(streams["vacuum"], shape, pixel_size_A, margin_A) if "vacuum" in plan.faults else None
    carbon = carbon_edge(streams["carbon"], shape, pixel_size_A, margin_A) if "carbon_edge" in plan.faults else None
    film = _times(None if carbon is None else carbon.film, None if torn is None else torn.film)
    there = np.float32(1) if film is None else np.minimum(film, 1)
    potential = None if film is None else (film - 1) * np.float32(plan.thickness_A * ice_potential_V())
    absorber = arriving = crowding = clumped = None
    masks: dict[str, NDArray[np.bool_]] = {}
    objects: list[FaultObject] = []
    if carbon is not None:
        potential = _plus(potential, np.float32(MEAN_POTENTIAL_V) * carbon.carbon_A)
        absorber, crowding = ICE_EQUIVALENT * carbon.carbon_A, carbon.crowding
        masks["carbon"] = view.image(carbon.carbon_A) > 0.5 * carbon.carbon_A.max()
        objects += view.objects("carbon", [carbon.hole_A])
    if torn is not None:
        # Where the film has curled its thickness is not that of a film in which particles lie.
        crowding = _times(crowding, ((torn.film > 0.9) & (torn.film < 1.2)).astype(np.float32))
        masks["vacuum"] = view.image(torn.film) < 0.5
        objects += view.objects("vacuum", [torn.hole_A or view.whole_A])
    heights = np.zeros(shape, np.float32)
    drawn = {"frost": frost(streams["frost"], shape, pixel_size_A, settings.ice.frost_per_um2)}
    if "ice_balls" in plan.faults:
        drawn["ice_balls"] = ice_balls(streams["balls"], shape, pixel_size_A)
    for kind, (height_A, grains_A) in drawn.items():
        if film is not None:
            height_A *= film > 0.5  # there is nothing to lie on in vacuum
        heights += height_A
        masks[kind] = view.image(height_A) > VISIBLE_A
        objects += view.objects(kind, grains_A)
    if heights.any():
        potential = _plus(potential, heights * np.float32(ice_potential_V()))
    if "ice_balls" in plan.faults:
        crowding = _times(crowding, (heights < HIDING_A).astype(np.float32))
    if film is not None or "ice_balls" in plan.faults:
        assert potential is not None
        potential = phase_only(Nodes.over(shape, pixel_size_A), potential, plan.parameters(settings))
    if carbon is not None:
        potential = _plus(potential, carbon_structure_V_A(streams["carbon"], carbon.carbon_A, pixel_size_A))
    if "crystalline" in plan.faults:
        crystals = crystalline_ice(streams["crystals"], shape, pixel_size_A, plan.thickness_A, _beam(plan, settings))
        potential = _plus(potential, crystals.potential_V_A * there)
        arriving = 1 + (crystals.arriving - 1) * there
        masks["crystalline"] = view.image(crystals.inside) & view.has_ice(film)
        objects += view.objects("crystalline", crystals.grains_A)
    if "aggregation" in plan.faults:
        lumps = aggregates(streams["clumps"], shape, pixel_size_A, margin_A, plan.thickness_A)
        potential = _plus(potential, lumps.potential_V_A * there)
        clumped = lumps.inside
        crowding = _times(crowding, np.where(lumps.inside, np.float32(0), np.float32(lumps.left_over)))
        masks["aggregation"] = view.image(lumps.inside) & view.has_ice(film)
        objects += view.objects("aggregation", lumps.clumps_A)
    masks = {kind: mask for kind, mask in masks.items() if mask.any()}
    seen = tuple(thing for thing in objects if thing.kind in masks)
    return FieldFaults(heights, film, potential, absorber, arriving, crowding, clumped, masks, seen)


@dataclass(frozen=True)
class _View:
    """Where the image lies in the field."""

    shape: tuple[int, int]
    margin_px: int
    pixel_size_A: float
    height_px: int
    width_px: int

    @property
    def whole_A(self) -> tuple[float, float, float]:
        """Row, column and radius of the circle around the field."""
        height_A, width_A = (side * self.pixel_size_A for side in self.shape)
        return height_A / 2, width_A / 2, float(np.hypot(height_A, width_A)) / 2

    def image(self, values: NDArray[Any]) -> NDArray[Any]:
        m = self.margin_px
        return values[m : m + self.height_px, m : m + self.width_px]

    def has_ice(self, film: Float32Array | None) -> NDArray[np.bool_] | np.bool_:
        return np.True_ if film is None else self.image(film) > 0.5

    def objects(self, kind: str, circles_A: list[tuple[float, float, float]]) -> list[FaultObject]:
        """Return those of the circles (row, column and radius in the field, A) that reach into the image."""
        found = []
        for row_A, column_A, radius_A in circles_A:
            y, x = (place / self.pixel_size_A - self.margin_px for place in (row_A, column_A))
            beyond = np.hypot(x - np.clip(x, 0, self.width_px - 1), y - np.clip(y, 0, self.height_px - 1))
            if beyond * self.pixel_size_A < radius_A:
                found.append(FaultObject(kind, float(x), float(y), float(radius_A)))
        return found


def _beam(plan: ExposurePlan, settings: SimulationSettings) -> Beam:
    voltage_kV = settings.microscope.voltage_kV
    return Beam(
        wavelength_A=float(electron_wavelength_A(voltage_kV)),
        rad_per_V_A=interaction_rad_per_V_A(voltage_kV),
        defocus_A=(plan.defocus_u_A + plan.defocus_v_A) / 2,
    )


def _plus(first: Float32Array | None, second: Float32Array) -> Float32Array:
    return second if first is None else first + second


def _times(first: Float32Array | None, second: Float32Array | None) -> Float32Array | None:
    if first is None or second is None:
        return second if first is None else first
    return first * second
