"""One round of a refinement: align both half-sets, reconstruct, compare, and choose the next band."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scherzer.fourier.crop import even_fast_length, pad_or_cut, resize_volume
from scherzer.fourier.filters import apply_radial, lowpass
from scherzer.geometry.point_groups import point_group
from scherzer.likelihood.local import Poses
from scherzer.likelihood.noise import group_power, merge_noise, merged_groups
from scherzer.likelihood.parallel import map_blocks
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.maps.denoise import denoised
from scherzer.maps.fsc import crossing_A, fsc_curves
from scherzer.maps.half_set import Residuals, insert, residuals
from scherzer.maps.masks import reference_mask, solvent_mask
from scherzer.maps.pose_search import RoundPlan, WeightedPoses, align, angular_step_rad, shifts_for
from scherzer.maps.reconstruction import SymmetricSums, solve, spherical_mask, symmetric
from scherzer.maps.settings import RefineSettings
from scherzer.maps.start_scale import sample_of, scaled_start
from scherzer.maps.tie import Freedom, freedom_of, tie

MASK_MARGIN = 1.1  # the sphere that bounds the map, in diameters
EDGE_A = 10.0  # of that sphere
GROWTH_SHELLS = 6  # the band may reach this far beyond the present resolution
REACH_SHELLS = 6  # maps are compared this far beyond the band, where no alignment has touched the noise
# Masks follow the map closely only when it shows this much more than the start did, in units of 1 / diameter: masks
# alike, made of the same start, would make pure noise agree to about 2.5.
BEYOND_START = 3.5
SEARCH_FINEST_A = 10.0  # exhaustive search uses no finer detail: it finds the right hill, local steps its top
LATER_SHIFT_STEPS = 1.0  # after the first round shifts are searched one step around the last position
ROUND_DRAWS = 2  # of random phases for the FSC of a round; the last one takes more
SAMPLING = 2.2  # pixels per finest detail; 2 would put it on Nyquist
SCALE_SPREAD = 0.1  # expected spread of grey scale from micrograph to micrograph


@dataclass(frozen=True)
class Task:
    """What stays the same through a refinement.

    Attributes
    ----------
    halves : tuple of ParticleSet
        The two half-sets, on the working box.
    sample : ParticleSet
        Some of both, for the grey scale of the start map.
    group : Tensor
        ``(g, 3, 3)``.
    freedom : Freedom
        What the group leaves free.
    diameter_A : float
        Of the particle.
    settings : RefineSettings
        Rounds, limits, seed.
    """

    halves: tuple[ParticleSet, ParticleSet]
    sample: ParticleSet
    group: Tensor
    freedom: Freedom
    diameter_A: float
    settings: RefineSettings

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return self.group.device

    @property
    def extent_A(self) -> float:
        """Side of images and maps, A."""
        return self.halves[0].extent_A

    @property
    def nyquist_px(self) -> float:
        """Largest frequency in use, Fourier px."""
        return self.halves[0].box / 2 - 1

    def box_for(self, radius: float) -> int:
        """Even box, px, of a map that holds detail up to a radius and what the next round may ask for."""
        return min(even_fast_length(2 * (radius + GROWTH_SHELLS + 2)), self.halves[0].box)

    def sphere(self, box: int) -> Tensor:
        """Soft sphere that bounds a map of a box of the same extent, ``(b, b, b)``."""
        return spherical_mask(box, self.extent_A / box, MASK_MARGIN * self.diameter_A, EDGE_A, self.device)


@dataclass(frozen=True)
class State:
    """What one round hands to the next.

    Attributes
    ----------
    volumes : list of Tensor
        ``(b, b, b)`` of each half, of the extent of the images: filtered and masked, but as reconstructed and in
        their whole box after the last round.
    noise : Tensor
        ``(g, shells)``.
    found : list of WeightedPoses
        Of each half; empty at the start.
    scale : list of Tensor
        ``(n,)`` grey scale of each half's particles.
    resolution_A : float
        End of the next band.
    reached_A : float
        To which the halves agree: at FSC = 0.143, or the start's resolution.
    """

    volumes: list[Tensor]
    noise: Tensor
    found: list[WeightedPoses]
    scale: list[Tensor]
    resolution_A: float
    reached_A: float


def make_task(particles: ParticleSet, symmetry: str, diameter_A: float, settings: RefineSettings) -> Task:
    """Split particles into half-sets on the working box.

    Raises
    ------
    ValueError
        If the symmetry is unknown or a half-set is empty.
    """
    group = point_group(symmetry).to(particles.device)
    rows = [torch.nonzero(particles.half == number)[:, 0] for number in (1, 2)]
    if any(len(part) == 0 for part in rows):
        raise ValueError("one of the two half-sets is empty: particles from at least two micrographs are needed")
    particles = replace(particles, optics_group=merged_groups(particles.optics_group))
    box = min(particles.box, working_box(particles.extent_A, settings))
    first, second = (particles[part].resized(box) for part in rows)
    return Task((first, second), sample_of(particles).resized(box), group, freedom_of(group), diameter_A, settings)


def working_box(extent_A: float, settings: RefineSettings) -> int:
    """Even box, px, that holds the finest detail asked for with room for the FSC to fall."""
    return even_fast_length(SAMPLING * extent_A / settings.finest_A)


def first_state(task: Task, start: Tensor, start_pixel_size_A: float) -> State:
    """Low-pass the start map, bring it to the particles' grey scale, and take the first noise spectra from them."""
    resolution_A = task.settings.start_resolution_A
    box = task.box_for(task.extent_A / resolution_A + REACH_SHELLS)
    pixel_size_A = task.extent_A / box
    volume = fit_sampling(start.to(task.device), start_pixel_size_A, box, pixel_size_A)
    volume = lowpass(volume, pixel_size_A, resolution_A) * task.sphere(box)
    noise = _first_noise(task.halves)
    scale = [part.scale for part in task.halves]
    volume = scaled_start(task.sample, volume, noise, task.group, task.diameter_A, task.settings)
    return State([volume, volume], noise, [], scale, resolution_A, resolution_A)


def _first_noise(halves: tuple[ParticleSet, ParticleSet]) -> Tensor:
    groups = 1 + max(int(part.optics_group.max()) for part in halves)
    count = torch.stack([torch.bincount(part.optics_group, minlength=groups) for part in halves]).float()
    power = torch.stack([group_power(part, groups) for part in halves])
    return (power * count[..., None]).sum(0) / count.sum(0)[:, None]


def next_state(task: Task, state: State, number: int) -> State:
    """Align both halves on their own maps, reconstruct, compare, and set the next band."""
    last_round = number + 1 == task.settings.iterations
    plan = _plan(task, state.resolution_A, number)
    parts = [replace(part, scale=scale) for part, scale in zip(task.halves, state.scale, strict=True)]
    last = [found.best() for found in state.found] or [no_poses(len(part), task.device) for part in parts]
    found = [align(parts[h], state.volumes[h], state.noise, last[h], plan, task.group) for h in (0, 1)]

    def compare(h: int) -> Residuals:
        return residuals(parts[h], state.volumes[h], state.noise, found[h].best(), plan.radius)

    left = [compare(h) for h in (0, 1)]
    noise = merge_noise(left[0].power + left[1].power, state.noise)
    scale = _scales(parts, left)
    reach = task.nyquist_px if last_round else min(plan.radius + REACH_SHELLS, task.nyquist_px)
    box = task.box_for(reach)

    def reconstruct(h: int) -> SymmetricSums:
        return symmetric(insert(parts[h], found[h], state.noise, reach, box=box), task.group)

    sums = map_blocks(reconstruct, (0, 1), task.device)
    sphere = task.sphere(box)
    raw = [solve(part) for part in sums]
    move = tie(raw[0] * sphere, raw[1] * sphere, task.freedom, task.extent_A)
    if move is not None:
        found[1] = move.of_poses(found[1], task.halves[0].box / box)
        sums[1] = reconstruct(1)
        raw[1] = solve(sums[1])
    pixel_size_A = task.extent_A / box
    mask = solvent_mask((raw[0] + raw[1]) / 2 * sphere, pixel_size_A, task.diameter_A, state.reached_A)
    curves = fsc_curves(raw[0], raw[1], mask, pixel_size_A, task.settings.seed, ROUND_DRAWS)
    compared = slice(int(reach))
    start_A = task.settings.start_resolution_A
    reached_A = crossing_A(curves.frequency_per_A[compared], curves.corrected[compared].cpu(), 0.143) or start_A
    volumes = raw if last_round else _references(task, sums, curves.corrected, reach, reached_A)
    next_A = task.extent_A / (task.extent_A / reached_A + GROWTH_SHELLS)
    return State(volumes, noise, found, scale, min(next_A, start_A), reached_A)


def _references(task: Task, sums: list[SymmetricSums], fsc: Tensor, reach: float, reached_A: float) -> list[Tensor]:
    """Maps that images are aligned to: filtered, and masked where they show more than the start did."""
    box = sums[0].grid.box
    pixel_size_A, sphere = task.extent_A / box, task.sphere(box)
    filtered = [denoised(solve(part, fsc), pixel_size_A, task.diameter_A, reached_A) * sphere for part in sums]
    if 1 / reached_A - 1 / task.settings.start_resolution_A > BEYOND_START / task.diameter_A:
        # Each is masked by itself, so that the mask carries nothing from one half to the other.
        filtered = [volume * reference_mask(volume, pixel_size_A, task.diameter_A, reached_A) for volume in filtered]
    # Masks have edges finer than what they were made of; where the halves do not agree, these must not come in.
    shells = torch.arange(len(fsc), device=task.device)
    agreed = torch.where(shells <= reach, (fsc / 0.143).clamp(0, 1), 0)
    return [apply_radial(volume, agreed) for volume in filtered]


def _plan(task: Task, resolution_A: float, number: int) -> RoundPlan:
    settings, pixel_size_A = task.settings, task.halves[0].pixel_size_A
    resolution_A = max(resolution_A, settings.finest_A)
    radius = min(task.extent_A / resolution_A, task.nyquist_px)
    search_A = max(resolution_A, SEARCH_FINEST_A)
    range_A = settings.shift_range_A if number == 0 else LATER_SHIFT_STEPS * search_A / 3
    return RoundPlan(
        radius=radius,
        search_radius=min(task.extent_A / search_A, radius),
        step_rad=angular_step_rad(search_A, task.diameter_A),
        shifts_px=shifts_for(search_A, pixel_size_A, range_A, task.device),
        max_shift_px=settings.shift_range_A / pixel_size_A,
        turn=torch.randn(3, generator=torch.Generator().manual_seed(settings.seed * 1000 + number)),
    )


def _scales(parts: list[ParticleSet], left: list[Residuals]) -> list[Tensor]:
    """Grey scale of each particle, one value a micrograph, 1 on average."""
    scale = [
        part.scale * micrograph_scale(part.micrograph, found.cross, found.square)
        for part, found in zip(parts, left, strict=True)
    ]
    mean = torch.cat(scale).mean()
    return [values / mean for values in scale]


def micrograph_scale(micrograph: Tensor, cross: Tensor, square: Tensor) -> Tensor:
    """Factor on the model that fits each micrograph's particles best, shrunk towards 1.

    A micrograph's likelihood is that of a normal distribution about ``sum(cross) / sum(square)`` with the precision
    ``2 sum(square)``; the prior is one about 1.

    Parameters
    ----------
    micrograph : Tensor
        ``(n,)`` int64.
    cross, square : Tensor
        ``(n,)`` of :class:`Residuals`.

    Returns
    -------
    Tensor
        ``(n,)``.
    """
    prior = 1 / (2 * SCALE_SPREAD**2)
    count = int(micrograph.max()) + 1
    sums = torch.zeros((2, count), dtype=torch.float64, device=cross.device)
    sums.index_add_(1, micrograph, torch.stack((cross, square)).double())
    return ((sums[0] + prior) / (sums[1] + prior)).float().clamp(min=0.1)[micrograph]


def no_poses(count: int, device: torch.device) -> Poses:
    """Poses of particles of which nothing is known yet."""
    eye = torch.eye(3, device=device).expand(count, 3, 3)
    return Poses(eye, torch.zeros((count, 2), device=device), torch.full((count,), -torch.inf, device=device))


def fit_sampling(volume: Tensor, pixel_size_A: float, box: int, target_pixel_size_A: float) -> Tensor:
    """Bring a map to a box and a pixel size (within the rounding of the box to even numbers)."""
    resampled = 2 * round(volume.shape[-1] * pixel_size_A / target_pixel_size_A / 2)
    return pad_or_cut(resize_volume(volume, resampled), box)
