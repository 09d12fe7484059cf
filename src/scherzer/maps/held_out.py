"""What a map is worth for particles that had no part in it: likelihood marginalised over every pose.

The mean over poses, unlike the best pose, rewards nothing for trying many: if the images do not show the map, its
expected gain over "there is no particle" is below 0, however the map came about (Jensen's inequality).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scherzer.fourier.crop import resize_volume
from scherzer.fourier.filters import apply_radial
from scherzer.fourier.grids import centred_irfftn, centred_rfftn, real_radius, rfft_radius
from scherzer.fourier.shells import shell_mean
from scherzer.fourier.shifts import phase_ramp
from scherzer.fourier.slices import SliceTable, slice_table
from scherzer.geometry.rotations import random_rotations
from scherzer.geometry.sphere import orientation_grid
from scherzer.likelihood.band import Band, make_band
from scherzer.likelihood.noise import image_power
from scherzer.likelihood.parallel import map_blocks
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import ScoredImages, prepare
from scherzer.likelihood.search import ReferenceBank
from scherzer.maps.fsc import randomise_phases
from scherzer.maps.pose_search import angular_step_rad, shifts_for, slice_bank
from scherzer.maps.symmetrise import symmetrise_volume

FLOPS = 4e11  # for one map: a few seconds; fewer particles are scored where it does not suffice
LEAST_PARTICLES, MOST_PARTICLES = 200, 2000
SAMPLING = 2.6  # pixels per finest detail of the band: room for interpolation
BALL_PASSES = 4
SCORE_ENTRIES = 2**22  # entries of one block of scores, 16 MiB in float32


@dataclass(frozen=True)
class Gain:
    """Mean gain in log likelihood of a particle, nats, with its standard error over micrographs."""

    mean: float
    error: float

    @property
    def sigma(self) -> float:
        """Mean in standard errors."""
        return self.mean / self.error if self.error > 0 else 0.0


@dataclass(frozen=True)
class HeldOut:
    """How much better particles of one half are explained by the other half's map.

    Attributes
    ----------
    over_nothing, over_ball, over_scrambled : Gain
        Better than "there is no particle"; than the map's spherical average; than that average with other detail of
        the same power.
    if_shown : float
        By how much images simulated from the maps, as noisy as the particles, are better explained than by the ball.
    particles : int
        How many were scored.
    resolution_A : float
        Edge of the band.
    """

    over_nothing: Gain
    over_ball: Gain
    over_scrambled: Gain
    if_shown: float
    particles: int
    resolution_A: float

    @property
    def fulfilled(self) -> float:
        """What is gained over the ball, as a part of what particles would gain that show the map; at most 1."""
        return min(self.over_ball.mean / self.if_shown, 1.0) if self.if_shown > 0 else 1.0

    @property
    def least_sigma(self) -> float:
        """The weakest of the three comparisons, in standard errors."""
        return min(gain.sigma for gain in (self.over_nothing, self.over_ball, self.over_scrambled))


def held_out(
    particles: ParticleSet,
    half_maps: Tensor,
    fsc: Tensor,
    group: Tensor,
    diameter_A: float,
    resolution_A: float,
    shift_range_A: float,
    seed: int = 0,
) -> HeldOut:
    """Score particles of each half against the other half's map.

    Parameters
    ----------
    particles : ParticleSet
        n particles, in the sampling of the maps.
    half_maps : Tensor
        ``(2, b, b, b)`` on the images' scale, masked.
    fsc : Tensor
        ``(b // 2 + 1,)`` of the half-maps: what part of each shell's amplitude to expect.
    group : Tensor
        ``(g, 3, 3)``.
    diameter_A : float
        Of the particle.
    resolution_A : float
        Edge of the band.
    shift_range_A : float
        How far a particle may lie from the centre of its image.
    seed : int
        Of the scrambled detail.
    """
    device = particles.device
    particles, half_maps = sampled(particles, half_maps, SAMPLING * particles.extent_A / resolution_A)
    fsc = fsc[: particles.box // 2 + 1].clamp(0, 1)
    band = make_band(particles.box, min(particles.extent_A / resolution_A, particles.box / 2 - 1), device=device)
    grid = orientation_grid(angular_step_rad(resolution_A, diameter_A), group.cpu()).to(device)
    shifts = shifts_for(resolution_A, particles.pixel_size_A, shift_range_A, device)
    affordable = int(FLOPS / (4.0 * len(shifts) * len(band) * len(grid)))
    count = min(max(affordable, LEAST_PARTICLES), MOST_PARTICLES, len(particles))
    noise = image_power(particles)
    gains, members, shown = [], [], []
    draws = np.random.default_rng(seed)
    for number, other in ((1, 1), (2, 0)):
        rows = torch.nonzero(particles.half == number)[:, 0]
        rows = rows[torch.linspace(0, len(rows) - 1, max(1, min(len(rows), count // 2)), device=device).long()]
        images = prepare(particles[rows], band, noise)
        volume = apply_radial(half_maps[other], fsc)
        ball = spherical_average(volume)
        scrambled = ball + scramble(volume - ball, group, seed)
        parts = (volume, grid), (scrambled, grid), (ball, grid[:1])
        banks = [_bank(part, views, band) for part, views in parts]
        gains.append(torch.stack([marginal(images, bank, shifts) for bank in banks]))
        simulated = _images_of(volume, images, shift_range_A / particles.pixel_size_A, draws)
        shown.append(marginal(simulated, banks[0], shifts) - marginal(simulated, banks[2], shifts))
        members.append(particles.micrograph[rows])
    own, scrambled_score, ball_score = torch.cat(gains, dim=1).double()
    member = torch.cat(members)
    return HeldOut(
        over_nothing=gain_of(own, member),
        over_ball=gain_of(own - ball_score, member),
        over_scrambled=gain_of(own - scrambled_score, member),
        if_shown=float(torch.cat(shown).double().mean()),
        particles=len(own),
        resolution_A=resolution_A,
    )


def sampled(particles: ParticleSet, half_maps: Tensor, box: float) -> tuple[ParticleSet, Tensor]:
    """Return particles and their maps in a box, px, even and no larger than theirs, on one scale as before."""
    own = particles.box
    small = min(own, 2 * math.ceil(box / 2))
    if small == own:
        return particles, half_maps
    # Images keep the standard deviation of their noise, and with it a projection must keep its scale.
    return particles.resized(small), resize_volume(half_maps, small) * (own / small) ** 2


def _table(volume: Tensor, band: Band) -> SliceTable:
    return slice_table(volume, float(torch.hypot(band.kx, band.ky).max()) + 1)


def _bank(volume: Tensor, grid: Tensor, band: Band) -> ReferenceBank:
    return slice_bank(_table(volume, band), grid, band)


def marginal(images: ScoredImages, references: ReferenceBank, shifts_px: Tensor) -> Tensor:
    """Log of the mean likelihood ratio over all references and shifts, ``(n,)`` nats.

    Parameters
    ----------
    images : ScoredImages
        n images.
    references : ReferenceBank
        r references on the images' band, equally probable.
    shifts_px : Tensor
        ``(t, 2)``, equally probable.
    """
    band, dtype, count = images.band, references.matrix.dtype, len(shifts_px)
    ramps = phase_ramp(-shifts_px / band.box, band.kx, band.ky)
    size = max(1, SCORE_ENTRIES // (count * len(references)))

    def average(rows: Tensor) -> Tensor:
        moved = images.data[rows][:, None, :] * ramps
        left = torch.cat((moved.real, moved.imag), dim=-1).to(dtype).reshape(-1, 2 * len(band))
        square = (images.power[rows].to(dtype) @ references.square).float()
        scores = (left @ references.matrix).float().reshape(-1, count, len(references)) - square[:, None]
        return torch.logsumexp(scores.flatten(1), dim=1) - math.log(count * len(references))

    blocks = torch.arange(len(images), device=shifts_px.device).split(size)
    return torch.cat(map_blocks(average, blocks, shifts_px.device))


def _images_of(volume: Tensor, images: ScoredImages, range_px: float, draws: np.random.Generator) -> ScoredImages:
    """Images of a map at random poses, with CTFs and noise like given ones."""
    band, shape, device = images.band, images.data.shape, volume.device
    rotations = random_rotations(len(images), draws).to(device)
    angle, away_px = draws.uniform(0, 2 * np.pi, len(images)), range_px * draws.uniform(0, 1, len(images)) ** 0.5
    shift_px = torch.from_numpy(away_px[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)).float().to(device)
    noise = torch.view_as_complex(torch.from_numpy(draws.standard_normal((*shape, 2), dtype=np.float32))).to(device)
    seen = _table(volume, band).slices(rotations, band.kx, band.ky)
    seen = seen * phase_ramp(shift_px / band.box, band.kx, band.ky) * images.power
    return ScoredImages(band, seen + (images.power / 2).sqrt() * noise, images.power)


def gain_of(values: Tensor, micrograph: Tensor) -> Gain:
    """Mean of ``(n,)`` values, and its standard error from the sums of micrographs, which share what is in them."""
    mean = values.mean()
    names, member = torch.unique(micrograph, return_inverse=True)
    sums = torch.zeros(len(names), dtype=torch.float64, device=values.device)
    sums.index_add_(0, member, values.double() - mean)
    if len(names) < 2:
        return Gain(float(mean), float("inf"))
    error = torch.sqrt((sums**2).sum() * len(names) / (len(names) - 1)) / len(values)
    return Gain(float(mean), float(error))


def spherical_average(volume: Tensor) -> Tensor:
    """Return the featureless ball of the same radial profile as a ``(b, b, b)`` map; a ball gives itself."""
    ball = torch.zeros_like(volume)
    for _ in range(BALL_PASSES):  # one pass smooths the profile by the width of a pixel
        ball = ball + _averaged_once(volume - ball)
    return ball


def _averaged_once(volume: Tensor) -> Tensor:
    radius = real_radius(volume.shape[-1], 3, volume.device)
    low = radius.floor().long()
    part = radius - low
    size = int(low.max()) + 2
    sums, weights = (torch.zeros(size, dtype=torch.float64, device=volume.device) for _ in range(2))
    for index, share in ((low, 1 - part), (low + 1, part)):
        sums.index_add_(0, index.flatten(), (volume * share).double().flatten())
        weights.index_add_(0, index.flatten(), share.double().flatten())
    profile = (sums / weights.clamp(min=1e-9)).float()
    return torch.lerp(profile[low], profile[low + 1], part)


def scramble(volume: Tensor, group: Tensor, seed: int) -> Tensor:
    """Return other detail of the same power in every shell, of the same symmetry and within the same sphere."""
    box = volume.shape[-1]
    inside = real_radius(box, 3, volume.device) <= box / 2 - 1
    support = spherical_average(volume.abs())
    support = (support / support.max().clamp(min=1e-20)).clamp(min=0)
    fresh = symmetrise_volume(randomise_phases(volume, 0, torch.Generator().manual_seed(seed)), group)
    fresh = fresh * inside * support
    transform, wanted = centred_rfftn(fresh), centred_rfftn(volume)
    ratio = shell_mean(wanted.abs() ** 2, 3) / shell_mean(transform.abs() ** 2, 3).clamp(min=1e-30)
    shell = torch.round(rfft_radius(box, 3, volume.device)).long()
    factor = torch.cat((ratio.sqrt().float(), ratio.new_zeros(1).float()))[shell.clamp(max=len(ratio))]
    return centred_irfftn(transform * factor)
