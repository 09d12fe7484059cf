"""What a micrograph's own particles look like in any view and at any angle, to place their centres.

The mean over angles places round particles well, others badly: it snaps to whatever part is strong. The views vary in a
few ways only, which the covariance of the windows shows, and since in-plane angles are random it falls apart by angular
frequency into small radial matrices (steerable principal components: Zhao, Shkolnisky and Singer 2016, IEEE Trans.
Comput. Imaging 2, 1; for picking: Eldar, Landa and Shkolnisky, the KLT picker, 2020, J. Struct. Biol. 210, 107473). The
likelihood of a window under that model against noise is highest where it is centred.

What is left is not noise: with its true view as template a centre is off by 2 A rms (simulated beta-galactosidase and a
phantom of 133 kDa, 1.2 to 1.8 um), but nobody knows the view yet, which leaves 6 to 8 A. 2D classes do know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample

ANGLES = 48
# Higher angular frequencies hold little within a fifth of a diameter, and few windows cannot teach them. Odd ones are
# what a wrong centre looks like: were they learnt, a centre could wander off with its own evidence.
FREQUENCIES = (0, 2, 4)
# Components must exceed what so few windows of pure noise would show (Marchenko and Pastur 1967) by this variance.
CLEAR_OF_NOISE = 5.0
# Added to the noise's covariance, as a share of its mean variance: radii far inside the band are nearly dependent.
RIDGE = 0.02


@dataclass(frozen=True)
class SteerableModel:
    """Filters whose answers to a window, put together, are the logarithm of its likelihood ratio.

    Attributes
    ----------
    mean : Tensor
        ``(b, b)``, its answer counts as it is.
    real, imaginary : Tensor
        ``(c, b, b)``, the squared modulus of their answers counts, times ``weight``.
    weight : Tensor
        ``(c,)``.
    """

    mean: Tensor
    real: Tensor
    imaginary: Tensor
    weight: Tensor


def learn(particles: Tensor, noise: Tensor, radius_px: float) -> SteerableModel:
    """Learn a model from rings about particles and in noise.

    Parameters
    ----------
    particles, noise : Tensor
        ``(n, r, ANGLES)`` and ``(m, r, ANGLES)`` from :func:`rings`.
    radius_px : float
        Of the outermost ring.
    """
    radii = particles.shape[1]
    # Squared sums over rings are integrals over the disc when each ring counts by its circumference.
    weight = _ring_radii(radii, radius_px, particles).sqrt()
    signal = torch.fft.rfft(particles, dim=-1) / ANGLES * weight[:, None]
    ground = torch.fft.rfft(noise, dim=-1) / ANGLES * weight[:, None]
    edge = (1 + math.sqrt(radii / len(particles))) ** 2 + CLEAR_OF_NOISE
    half = math.ceil(radius_px)
    identity = torch.eye(radii, dtype=signal.dtype, device=signal.device)
    mean = particles.new_zeros(2 * half + 1, 2 * half + 1)
    filters, weights = [], []
    for frequency in FREQUENCIES:
        own, other = signal[:, :, frequency], ground[:, :, frequency]
        centre = own.mean(0) if frequency == 0 else torch.zeros_like(own[0])
        covariance = _covariance(other - other.mean(0))
        covariance = covariance + RIDGE * covariance.diagonal().real.mean() * identity
        whiten = torch.linalg.inv(torch.linalg.cholesky(covariance))
        spread = whiten @ _covariance(own - centre) @ whiten.conj().T
        value, vector = torch.linalg.eigh((spread + spread.conj().T) / 2)
        clear = value > edge
        if frequency == 0:
            # How particles differ in their rings' means is noise to the place of their centre.
            differ = vector[:, clear] @ torch.diag(value[clear] - 1).to(vector.dtype) @ vector[:, clear].conj().T
            best = torch.linalg.solve(identity + differ, whiten @ centre)
            mean = _filter(whiten.conj().T @ best * weight, 0, half, radius_px).real
            continue
        for index in torch.nonzero(clear).flatten().tolist():
            filters.append(_filter(whiten.conj().T @ vector[:, index] * weight, frequency, half, radius_px))
            weights.append(1 - 1 / float(value[index]))
    stack = torch.stack(filters) if filters else mean.new_zeros(0, *mean.shape, dtype=torch.complex64)
    return SteerableModel(mean, stack.real, stack.imag, mean.new_tensor(weights))


def rings(image: Tensor, rows: Tensor, columns: Tensor, radius_px: float) -> Tensor:
    """Read an image ``(h, w)`` on rings about points ``(n,)``; returns ``(n, int(radius_px), ANGLES)``."""
    radius = _ring_radii(int(radius_px), radius_px, image)
    angle = torch.arange(ANGLES, device=image.device) * (2 * math.pi / ANGLES)
    y = rows.float()[:, None, None] + radius[:, None] * torch.sin(angle)
    x = columns.float()[:, None, None] + radius[:, None] * torch.cos(angle)
    h, w = image.shape
    grid = torch.stack([2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1], dim=-1).reshape(1, len(rows), -1, 2)
    read: Tensor = grid_sample(image[None, None], grid, align_corners=True, padding_mode="border")
    return read.reshape(len(rows), len(radius), ANGLES)


def centred(
    image: Tensor, rows: Tensor, columns: Tensor, model: SteerableModel, reach_px: int, spread_px: float
) -> tuple[Tensor, Tensor]:
    """Move points to where the model makes them likeliest within a square about them.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``.
    rows, columns : Tensor
        ``(n,)`` long.
    model : SteerableModel
        Of side b.
    reach_px : int
        Half of the square's side.
    spread_px : float
        Standard deviation, along each axis, of the true centres about the points.

    Returns
    -------
    rows, columns : Tensor
        ``(n,)`` with fractions. A point whose likelihood only rises towards the rim of its square stays.
    """
    half = len(model.mean) // 2 + reach_px
    offset = torch.arange(-half, half + 1, device=image.device)
    windows = image[
        (rows[:, None, None] + offset[:, None]) % image.shape[0], (columns[:, None, None] + offset) % image.shape[1]
    ][:, None]
    likelihood = conv2d(windows, model.mean[None, None])[:, 0]
    if len(model.weight):
        answer = conv2d(windows, model.real[:, None]) ** 2 + conv2d(windows, model.imaginary[:, None]) ** 2
        likelihood = likelihood + (answer * model.weight[:, None, None]).sum(1)
    side = 2 * reach_px + 1
    far = torch.arange(-reach_px, reach_px + 1, device=image.device).square()
    likelihood = likelihood - (far[:, None] + far) / (2 * spread_px**2)
    best = likelihood.flatten(1).argmax(1)
    row, column = best // side, best % side
    inside = (row > 0) & (row < side - 1) & (column > 0) & (column < side - 1)
    row, column = row.clamp(1, side - 2), column.clamp(1, side - 2)
    index = torch.arange(len(rows), device=image.device)

    def vertex(before: Tensor, at: Tensor, after: Tensor) -> Tensor:
        bend = (2 * at - before - after).clamp(min=1e-9)
        return (0.5 * (after - before) / bend).clamp(-0.5, 0.5)

    at = likelihood[index, row, column]
    down = vertex(likelihood[index, row - 1, column], at, likelihood[index, row + 1, column])
    right = vertex(likelihood[index, row, column - 1], at, likelihood[index, row, column + 1])
    return (
        torch.where(inside, rows + row - reach_px + down, rows.to(down.dtype)),
        torch.where(inside, columns + column - reach_px + right, columns.to(right.dtype)),
    )


def _ring_radii(count: int, radius_px: float, like: Tensor) -> Tensor:
    return (torch.arange(count, device=like.device) + 0.5) * (radius_px / count)


def _covariance(values: Tensor) -> Tensor:
    return values.T @ values.conj() / len(values)


def _filter(radial: Tensor, frequency: int, half: int, radius_px: float) -> Tensor:
    """Return the image ``(b, b)`` whose product with a window is that of ``radial`` with the window's rings."""
    offset = torch.arange(-half, half + 1, device=radial.device).float()
    radius, angle = torch.hypot(offset[:, None], offset), torch.atan2(offset[:, None], offset[None])
    step = radius_px / len(radial)
    position = (radius / step - 0.5).clamp(0, len(radial) - 1)
    low = position.floor().long().clamp(max=len(radial) - 2)
    fraction = position - low
    profile = radial[low] * (1 - fraction) + radial[low + 1] * fraction
    turn = torch.polar(torch.ones_like(angle), frequency * angle)
    inside = (radius <= radius_px) / (2 * math.pi * radius.clamp(min=0.5) * step)
    return (profile * turn * inside).conj()
