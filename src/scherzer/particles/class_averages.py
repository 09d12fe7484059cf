"""Class averages from weighted particles: the sums, their two halves, and the filtered averages."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.filters import cosine_edge
from scherzer.fourier.grids import centred_irfft2, centred_rfft2, real_radius, rfft_radius
from scherzer.fourier.shells import shell_sum
from scherzer.fourier.shifts import phase_ramp
from scherzer.likelihood.score import ScoredImages
from scherzer.particles.image_rotation import RotatedBand

HALVES = 2
CHUNK = 1024  # candidates added at a time
SIGNIFICANT_FRC = 0.5  # a shell below it is more noise than signal in each half
PRIOR_FACTOR = 2.0  # what the signal's prior variance is multiplied by in 2D (RELION's "T")
NODE = 4  # shells: a dip shorter than it is a zero of the particle's transform
LEAST_POWER = 1e-4  # of the strongest shell's, below which a shell has not been measured
MASK_EDGE = 0.08  # width of the mask's soft edge, in particle diameters
WINDOW = 1.6  # shells on each side that steady a correlation: one class has few independent pixels in a shell


@dataclass(frozen=True)
class ClassSums:
    """Sums over particles, split by half-set, from which averages follow.

    Attributes
    ----------
    signal : Tensor
        ``(2, k, b, b // 2 + 1)`` complex64: sum of ``w c X / sigma^2``, turned and shifted onto the class.
    power : Tensor
        ``(2, k, b // 2 + 1)`` float32: sum of ``w c^2 / sigma^2``, averaged over shells.
    weight : Tensor
        ``(2, k)`` float32: sum of ``w``, the population.
    """

    signal: Tensor
    power: Tensor
    weight: Tensor

    @property
    def box(self) -> int:
        """Box of the averages, px."""
        return self.signal.shape[-2]

    def faded(self, keep: float) -> ClassSums:
        """Return the sums times a factor."""
        return ClassSums(self.signal * keep, self.power * keep, self.weight * keep)

    def plus(self, other: ClassSums) -> ClassSums:
        """Return the sums of both sets of particles."""
        return ClassSums(self.signal + other.signal, self.power + other.power, self.weight + other.weight)

    def moved(self, shift_px: Tensor) -> ClassSums:
        """Return the sums with each class moved by ``(k, 2)`` px."""
        frequency = torch.fft.fftfreq(self.box, device=shift_px.device)
        ky, kx = torch.meshgrid(frequency, frequency[: self.box // 2 + 1].abs(), indexing="ij")
        ramp = phase_ramp(shift_px, kx.flatten(), ky.flatten()).reshape(-1, *kx.shape)
        return ClassSums(self.signal * ramp, self.power, self.weight)


def add_particles(
    images: ScoredImages,
    half: Tensor,
    classes: Tensor,
    angles: Tensor,
    shift_px: Tensor,
    weight: Tensor,
    class_count: int,
    rotated: RotatedBand,
) -> ClassSums:
    """Add particles to their classes.

    Images that share class and angle are added up before they are turned, so the turning costs the same for any
    number of particles.

    Parameters
    ----------
    images : ScoredImages
        n images.
    half : Tensor
        ``(n,)``, 1 or 2.
    classes, angles : Tensor
        ``(n, c)`` int64: class and number of the angle of c candidates.
    shift_px : Tensor
        ``(n, c, 2)`` where the particle lies.
    weight : Tensor
        ``(n, c)``; candidates of weight 0 cost nothing.
    class_count : int
        k.
    rotated : RotatedBand
        The angles, on the images' band.
    """
    by_shell = images.power @ _shell_average(images)
    parts = []
    for number in range(HALVES):  # one after the other: the sums by class and angle are the largest array here
        row, candidate = torch.nonzero((weight > 0) & (half == number + 1)[:, None], as_tuple=True)
        share = weight[row, candidate]
        values = _add_by_angle(
            images, row, classes[row, candidate], angles[row, candidate], shift_px[row, candidate], share,
            class_count, rotated.angles,
        )  # fmt: skip
        signal = centred_rfft2(rotated.add_up(values) * (2 / images.band.box**2))
        power = by_shell.new_zeros((class_count, by_shell.shape[1]))
        population = by_shell.new_zeros(class_count)
        for rows, of, part in zip(
            row.split(CHUNK), classes[row, candidate].split(CHUNK), share.split(CHUNK), strict=True
        ):
            power.index_add_(0, of, by_shell[rows] * part[:, None])
            population.index_add_(0, of, part)
        parts.append((signal, power, population))
    return ClassSums(*(torch.stack(part) for part in zip(*parts, strict=True)))


def _add_by_angle(
    images: ScoredImages,
    row: Tensor,
    classes: Tensor,
    angles: Tensor,
    shift_px: Tensor,
    share: Tensor,
    class_count: int,
    angle_count: int,
) -> Tensor:
    """Add the centred images ``row`` (e,) up by class and angle: ``(k, p, m)`` complex64."""
    band = images.band
    groups = torch.zeros((class_count * angle_count, 2 * len(band)), device=images.data.device)
    # candidates come from a grid of shifts, so few ramps serve all of them
    distinct, number = torch.unique(shift_px, dim=0, return_inverse=True)
    ramps = phase_ramp(-distinct / band.box, band.kx, band.ky) if len(distinct) < len(row) // 4 else None
    for at in torch.arange(len(row), device=row.device).split(CHUNK):
        ramp = phase_ramp(-shift_px[at] / band.box, band.kx, band.ky) if ramps is None else ramps[number[at]]
        centred = images.data[row[at]] * ramp * share[at, None]
        groups.index_add_(0, classes[at] * angle_count + angles[at], torch.view_as_real(centred).flatten(1))
    return torch.view_as_complex(groups.reshape(class_count, angle_count, len(band), 2))


def _shell_average(images: ScoredImages) -> Tensor:
    """Matrix ``(m, b // 2 + 1)`` that averages the pixels of a band over shells."""
    matrix = torch.nn.functional.one_hot(images.band.shell, images.band.box // 2 + 1).float()
    return matrix / matrix.sum(0).clamp(min=1)


@dataclass(frozen=True)
class Averages:
    """Filtered class averages.

    Attributes
    ----------
    joined : Tensor
        ``(k, b, b)`` float32 from all particles: what is looked at.
    halves : Tensor
        ``(2, k, b, b)`` from each half-set: what its particles are compared with.
    correlation : Tensor
        ``(k, b // 2 + 1)`` Fourier ring correlation of the halves within the mask.
    first_shell : int
        The first that is finer than the mask, which decides what is in those before it.
    """

    joined: Tensor
    halves: Tensor
    correlation: Tensor
    first_shell: int

    def resolution_A(self, pixel_size_A: float, level: float = SIGNIFICANT_FRC) -> Tensor:
        """Where the ring correlation falls below a level for good, A, ``(k,)``; the diameter if it never was above."""
        extent_A = (self.correlation.shape[-1] - 1) * 2 * pixel_size_A
        shells = [reached_shell(curve, level, self.first_shell) for curve in self.correlation.cpu()]
        return extent_A / torch.tensor(shells, device=self.correlation.device)


def reached_shell(curve: Tensor, level: float, first: int) -> float:
    """Shell, with a fraction, where a curve over shells falls below a level for good.

    For good means for ``NODE`` shells in a row: the transform of a hollow particle passes through zero long before its
    signal ends. Shells before ``first`` are not looked at.
    """
    above = [bool(value >= level) for value in curve]
    for at in range(first, len(above)):
        if not any(above[at : at + NODE]):
            if at == first:
                return float(first)
            before, after = float(curve[at - 1]), float(curve[at])
            return at - (level - after) / max(before - after, 1e-6)
    return float(len(above) - 1)


def make_averages(sums: ClassSums, diameter_px: float, shared_shells: float, finest_shell: float) -> Averages:
    """Filter and mask the averages of sums.

    Parameters
    ----------
    sums : ClassSums
        Of k classes.
    diameter_px : float
        Of the circular mask.
    shared_shells : float
        Up to this shell the halves hold the joined average: it ties their angles and centres together.
    finest_shell : float
        Nothing beyond it is kept.

    Notes
    -----
    The Wiener filter is ``s / (1 + s)`` with the ratio of signal to noise ``s = f / (1 - f)`` of a half and
    ``2 f / (1 - f)`` of the whole, f being the ring correlation of the halves (Scheres 2012, J. Struct. Biol. 180,
    eq. 8; Rosenthal and Henderson 2003). Each half is compared with its own average above the shared shells, so that
    noise cannot grow by being aligned to itself.
    """
    box, device = sums.box, sums.signal.device
    radius = rfft_radius(box, 2, device)
    shell = torch.round(radius).long().clamp(max=box // 2)
    plain = _divided(sums.signal, sums.power, shell)
    mask = circular_mask(box, diameter_px, device)
    masked = centred_rfft2(masked_images(centred_irfft2(plain), mask))
    correlation = ring_correlation(masked[0], masked[1])
    f = correlation.clamp(0, 0.98).float()
    cut = cosine_edge(torch.arange(box // 2 + 1, device=device).float(), finest_shell - 1, finest_shell + 1)
    ratio = PRIOR_FACTOR * f / (1 - f) * cut
    joined_filter, half_filter = (2 * ratio / (1 + 2 * ratio))[..., shell], (ratio / (1 + ratio))[..., shell]
    joined = _divided(sums.signal.sum(0), sums.power.sum(0), shell) * joined_filter
    share = cosine_edge(radius, shared_shells - 1, shared_shells + 1)
    halves = joined * share + plain * half_filter * (1 - share)
    return Averages(
        masked_images(centred_irfft2(joined), mask),
        masked_images(centred_irfft2(halves), mask),
        correlation.float(),
        math.ceil(box / diameter_px),
    )


def _divided(signal: Tensor, power: Tensor, shell: Tensor) -> Tensor:
    """Signal over power, 0 on shells that hold next to nothing."""
    floor = LEAST_POWER * power.amax(-1, keepdim=True) + 1e-30
    quotient = signal / torch.maximum(power, floor)[..., shell]
    return torch.where((power > floor)[..., shell], quotient, torch.zeros_like(quotient))


def circular_mask(box: int, diameter_px: float, device: torch.device | str = "cpu") -> Tensor:
    """Soft disc ``(b, b)``: 1 inside the diameter, 0 outside its edge."""
    radius = diameter_px / 2
    return cosine_edge(real_radius(box, 2, device), radius, min(radius + MASK_EDGE * diameter_px, box / 2))


def masked_images(images: Tensor, mask: Tensor) -> Tensor:
    """Set what lies outside the mask to 0 and the level at its edge to 0, for ``(..., b, b)`` images."""
    edge = (mask * (1 - mask)).clamp(min=0)
    level = (images * edge).sum((-2, -1), keepdim=True) / edge.sum().clamp(min=1e-6)
    return (images - level) * mask


def ring_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Fourier ring correlation of ``(..., b, b // 2 + 1)`` transforms, steadied over neighbouring shells."""
    cross = shell_sum((first * second.conj()).real, 2)
    powers = shell_sum(first.abs() ** 2, 2) * shell_sum(second.abs() ** 2, 2)
    # Each shell is normalised before the window, or the strong low shells would lend their correlation to the next.
    curve = torch.where(powers > 0, cross / powers.clamp(min=1e-30).sqrt(), torch.zeros_like(cross))
    shells = torch.arange(curve.shape[-1], device=curve.device, dtype=curve.dtype)
    window = torch.exp(-0.5 * ((shells[:, None] - shells) / (WINDOW / 2)) ** 2) * (shells > 0) * shells
    return curve @ (window / window.sum(1, keepdim=True)).T
