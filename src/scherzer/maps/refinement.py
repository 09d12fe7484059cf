"""Homogeneous refinement of two independent half-sets from one start map."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from scherzer.fourier.crop import pad_or_cut, resize_volume
from scherzer.fourier.filters import lowpass
from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.geometry.point_groups import point_group
from scherzer.likelihood.local import Poses
from scherzer.likelihood.noise import image_power, merge_noise
from scherzer.likelihood.parallel import map_blocks
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.maps.fsc import FscCurves, crossing_A, fsc_curves
from scherzer.maps.half_set import RoundPlan, WeightedPoses, align, angular_step_rad, insert, residuals, shifts_for
from scherzer.maps.masks import solvent_mask
from scherzer.maps.reconstruction import solve, spherical_mask, symmetric
from scherzer.maps.settings import RefineSettings
from scherzer.maps.sharpening import Guinier, guinier, sharpen
from scherzer.maps.start_scale import scaled_start

MASK_MARGIN = 1.1  # the sphere that bounds the map, in diameters
EDGE_A = 10.0  # of that sphere
GROWTH_SHELLS = 3  # the band may reach this far beyond the present resolution
REACH_SHELLS = 6  # maps are compared this far beyond the band, where no alignment has touched the noise
SEARCH_FINEST_A = 7.0  # exhaustive search uses no finer detail: it finds the right hill, local steps its top
LATER_SHIFT_STEPS = 1.0  # after the first round shifts are searched one step around the last position

SAMPLING = 2.2  # pixels per finest detail; 2 would put it on Nyquist

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Refinement:
    """A refined map with its evidence.

    Attributes
    ----------
    volume : Tensor
        ``(b, b, b)`` mean of the half-maps.
    half_maps : Tensor
        ``(2, b, b, b)``, unmasked and unfiltered.
    sharpened, mask : Tensor
        ``(b, b, b)``.
    pixel_size_A : float
        Of the maps.
    fsc : FscCurves
        Of the half-maps.
    resolution_fsc143_A, resolution_fsc05_A : float or None
        Where the corrected curve crosses.
    guinier : Guinier
        With the B-factor.
    rotations : Tensor
        ``(n, 3, 3)`` image frame to volume frame.
    shift_A : Tensor
        ``(n, 2)`` where the particle lies from the centre of its image, x and y; RELION's origin is its negative.
    score : Tensor
        ``(n,)`` log likelihood gain over "no particle".
    history_A : list of float or None
        Resolution that each round allowed the next one's band, before the limit of the settings.
    """

    volume: Tensor
    half_maps: Tensor
    sharpened: Tensor
    mask: Tensor
    pixel_size_A: float
    fsc: FscCurves
    resolution_fsc143_A: float | None
    resolution_fsc05_A: float | None
    guinier: Guinier
    rotations: Tensor
    shift_A: Tensor
    score: Tensor
    history_A: list[float | None]


def refine(
    particles: ParticleSet,
    start: Tensor,
    start_pixel_size_A: float,
    symmetry: str,
    diameter_A: float,
    settings: RefineSettings | None = None,
    mask: Tensor | None = None,
    progress: Progress | None = None,
) -> Refinement:
    """Refine a map from particles.

    The two half-sets share the start map up to ``settings.start_resolution_A`` and nothing else.

    Parameters
    ----------
    particles : ParticleSet
        n particles, both halves present.
    start : Tensor
        ``(s, s, s)`` start map, protein positive, any grey scale.
    start_pixel_size_A : float
        Of the start map.
    symmetry : str
        Point group in RELION's setting.
    diameter_A : float
        Of the particle.
    settings : RefineSettings, optional
        Rounds, limits, seed.
    mask : Tensor, optional
        ``(b, b, b)`` fixed mask for the FSC; without it one is made from the result.
    progress : callable, optional
        Called with the finished fraction and a few words.

    Raises
    ------
    ValueError
        If the symmetry is unknown or a half-set is empty.
    """
    settings = settings or RefineSettings()
    particles = particles.resized(min(particles.box, working_box(particles.extent_A, settings)))
    group = point_group(symmetry).to(particles.transforms.device)
    halves = [torch.nonzero(particles.half == number)[:, 0] for number in (1, 2)]
    if any(len(rows) == 0 for rows in halves):
        raise ValueError("one of the two half-sets is empty: particles from at least two micrographs are needed")
    state = _start(particles, start, start_pixel_size_A, group, diameter_A, settings)
    history: list[float | None] = []
    for number in range(settings.iterations):
        state = _round(particles, halves, state, group, diameter_A, settings, number)
        history.append(state.resolution_A)
        if progress:
            progress((number + 1) / settings.iterations, f"round {number + 1}, {state.resolution_A:.1f} A")
    return _finish(particles, halves, state, group, diameter_A, settings, mask, history)


def working_box(extent_A: float, settings: RefineSettings) -> int:
    """Even box, px, that holds the finest detail asked for with room for the FSC to fall."""
    return 2 * next_fast_len(math.ceil(SAMPLING * extent_A / settings.finest_A / 2), real=True)


@dataclass(frozen=True)
class _State:
    """What one round hands to the next."""

    volumes: list[Tensor]
    noise: Tensor
    found: list[WeightedPoses]
    resolution_A: float


def _start(
    particles: ParticleSet,
    start: Tensor,
    start_pixel_size_A: float,
    group: Tensor,
    diameter_A: float,
    settings: RefineSettings,
) -> _State:
    noise = image_power(particles)
    volume = fit_sampling(
        start.to(particles.transforms.device), start_pixel_size_A, particles.box, particles.pixel_size_A
    )
    volume = lowpass(volume, particles.pixel_size_A, settings.start_resolution_A)
    volume = volume * _sphere(particles, diameter_A)
    volume = scaled_start(particles, volume, noise, group, diameter_A, settings)
    return _State([volume, volume], noise, [], settings.start_resolution_A)


def _sphere(particles: ParticleSet, diameter_A: float) -> Tensor:
    device = particles.transforms.device
    return spherical_mask(particles.box, particles.pixel_size_A, MASK_MARGIN * diameter_A, EDGE_A, device)


def _round(
    particles: ParticleSet,
    halves: list[Tensor],
    state: _State,
    group: Tensor,
    diameter_A: float,
    settings: RefineSettings,
    number: int,
) -> _State:
    """Align both halves on their own maps, reconstruct, compare, and set the next band."""
    device = particles.transforms.device
    resolution_A = max(state.resolution_A, settings.finest_A)
    radius = min(particles.extent_A / resolution_A, particles.box / 2 - 1)
    range_A = settings.shift_range_A if number == 0 else LATER_SHIFT_STEPS * resolution_A / 3
    search_A = max(resolution_A, SEARCH_FINEST_A)
    turn = torch.randn(3, generator=torch.Generator().manual_seed(settings.seed * 1000 + number))
    plan = RoundPlan(
        radius=radius,
        search_radius=min(particles.extent_A / search_A, radius),
        step_rad=angular_step_rad(search_A, diameter_A),
        shifts_px=shifts_for(search_A, particles.pixel_size_A, range_A, device),
        max_shift_px=settings.shift_range_A / particles.pixel_size_A,
        turn=turn,
    )
    reach = min(radius + REACH_SHELLS, particles.box / 2 - 1)
    parts = [particles[rows] for rows in halves]
    last = [found.best() for found in state.found] or [_no_poses(len(part), device) for part in parts]
    found = [align(parts[h], state.volumes[h], state.noise, last[h], plan, group) for h in (0, 1)]
    sums = map_blocks(lambda h: symmetric(insert(parts[h], found[h], state.noise, reach), group), (0, 1), device)
    power = torch.stack(
        map_blocks(lambda h: residuals(parts[h], state.volumes[h], found[h].best(), radius), (0, 1), device)
    ).sum(0)
    sphere = _sphere(particles, diameter_A)
    raw = [solve(part) * sphere for part in sums]
    fsc = fourier_shell_correlation(*raw)
    volumes = [solve(part, fsc) * sphere for part in sums]
    frequency = torch.arange(len(fsc)) / particles.extent_A
    reached = crossing_A(frequency[: int(reach)], fsc[: int(reach)].cpu(), 0.143) or settings.start_resolution_A
    next_A = particles.extent_A / (particles.extent_A / reached + GROWTH_SHELLS)
    next_A = min(next_A, settings.start_resolution_A)
    return _State(volumes, merge_noise(power, state.noise), found, next_A)


def _no_poses(count: int, device: torch.device) -> Poses:
    eye = torch.eye(3, device=device).expand(count, 3, 3)
    return Poses(eye, torch.zeros((count, 2), device=device), torch.full((count,), -torch.inf, device=device))


def _finish(
    particles: ParticleSet,
    halves: list[Tensor],
    state: _State,
    group: Tensor,
    diameter_A: float,
    settings: RefineSettings,
    mask: Tensor | None,
    history: list[float | None],
) -> Refinement:
    """Reconstruct to Nyquist and measure."""
    pixel_size_A = particles.pixel_size_A
    full = particles.box / 2 - 1
    device = particles.transforms.device

    def reconstruct(half: int) -> Tensor:
        return solve(symmetric(insert(particles[halves[half]], state.found[half], state.noise, full), group))

    half_maps = torch.stack(map_blocks(reconstruct, (0, 1), device))
    mean = half_maps.mean(0)
    mask = solvent_mask(mean * _sphere(particles, diameter_A), pixel_size_A, diameter_A) if mask is None else mask
    curves = fsc_curves(half_maps[0], half_maps[1], mask, pixel_size_A, settings.seed)
    at143, at05 = curves.resolution_A(0.143), curves.resolution_A(0.5)
    slope = guinier(mean * mask, pixel_size_A, curves.corrected, at143)
    poses = [found.best() for found in state.found]
    back = torch.argsort(torch.cat(halves))
    return Refinement(
        volume=mean,
        half_maps=half_maps,
        sharpened=sharpen(mean, pixel_size_A, slope.bfactor_A2, curves.corrected, at143) * mask,
        mask=mask,
        pixel_size_A=pixel_size_A,
        fsc=curves,
        resolution_fsc143_A=at143,
        resolution_fsc05_A=at05,
        guinier=slope,
        rotations=torch.cat([p.rotations for p in poses])[back],
        shift_A=torch.cat([p.shift_px for p in poses])[back] * pixel_size_A,
        score=torch.cat([p.score for p in poses])[back],
        history_A=history,
    )


def fit_sampling(volume: Tensor, pixel_size_A: float, box: int, target_pixel_size_A: float) -> Tensor:
    """Bring a map to a box and a pixel size (within the rounding of the box to even numbers)."""
    resampled = 2 * round(volume.shape[-1] * pixel_size_A / target_pixel_size_A / 2)
    return pad_or_cut(resize_volume(volume, resampled), box)
