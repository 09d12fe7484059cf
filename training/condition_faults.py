"""What spoils micrographs and :mod:`scherzer.simulate` does not make, painted onto pictures of counts.

The kinds are such as people label (the examples of MicAssess among others); shapes, strengths and sizes are parametric
choices, fitted to no micrograph.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Picture = NDArray[np.float32]


def smear(rng: np.random.Generator, picture: Picture, length_px: float) -> Picture:
    """Move a picture along a straight line while it is recorded, at an uneven pace; nothing is added to its noise."""
    height, width = picture.shape
    angle = rng.uniform(0, np.pi)
    ky, kx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    along = (kx * np.cos(angle) + ky * np.sin(angle)) * length_px
    # The pace rises or falls by up to a half.
    moments = (np.arange(33) + 0.5) / 33
    uneven = rng.uniform(-0.5, 0.5)
    places = moments + uneven * moments * (1 - moments) - 0.5
    factor = sum(np.exp(-2j * np.pi * along * place) for place in places) / len(places)
    return np.fft.irfft2(np.fft.rfft2(picture) * factor, s=picture.shape).astype(np.float32)


def field(rng: np.random.Generator, shape: tuple[int, int], length_px: float, stretch: float = 1.0) -> Picture:
    """Smooth random field of unit variance; stretched along a random axis of the picture."""
    lengths = (length_px, length_px * stretch) if rng.random() < 0.5 else (length_px * stretch, length_px)
    smooth = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), lengths, mode="reflect")
    return np.asarray((smooth - smooth.mean()) / smooth.std(), dtype=np.float32)


def dark_edge(rng: np.random.Generator, picture: Picture) -> tuple[Picture, NDArray[np.bool_]]:
    """Cover one side by something thick: a support with ice upon it, or a bar of the grid.

    Returns
    -------
    ndarray
        The picture.
    ndarray of bool
        Where it is covered.
    """
    height, width = picture.shape
    angle, side = rng.uniform(0, 2 * np.pi), min(height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    across = (x - width / 2) * np.cos(angle) + (y - height / 2) * np.sin(angle)
    inside = across - rng.uniform(0.1, 0.42) * side
    inside += rng.uniform(2, 8) * field(rng, picture.shape, 25) + rng.uniform(0.3, 2) * field(rng, picture.shape, 5)
    covered = inside > 0
    opaque = rng.uniform(0.25, 0.85) * np.clip(1 + 0.35 * field(rng, picture.shape, rng.uniform(6, 25)), 0.2, 1.15)
    # What lies deep or thick is out of focus: a light fringe outside the edge, a dark one inside.
    fringe_px = rng.uniform(1, 3)
    fringe = rng.uniform(0.1, 0.6) * (
        np.exp(-(((inside + fringe_px) / fringe_px) ** 2)) - np.exp(-(((inside - fringe_px) / fringe_px) ** 2))
    )
    # Behind it electrons are few, so the noise is lower too.
    through = np.where(covered, 1 - opaque * (1 - np.exp(-np.clip(inside, 0, None) / 3)), 1.0)
    return (picture * (through + fringe * (1 - opaque * covered))).astype(np.float32), covered


def leaves(rng: np.random.Generator, picture: Picture) -> Picture:
    """Lay uneven thickness over a picture: soft dark leaves and streaks, a wedge, a bright corner."""
    weight = np.zeros(picture.shape, np.float32)
    for _ in range(rng.integers(1, 4)):
        one = field(rng, picture.shape, rng.uniform(8, 40), rng.uniform(1, 4))
        weight += rng.uniform(0.2, 1.0) * np.maximum(one - rng.uniform(-0.5, 1.5), 0)
    weight /= max(float(weight.std()), 1e-6)
    strength = np.exp(rng.uniform(np.log(0.2), np.log(1.2))) * float(picture.std() / picture.mean())
    sign = -1 if rng.random() < 0.75 else 1
    return (picture * np.clip(1 + sign * strength * weight, 0.1, 4)).astype(np.float32)


def cracks(rng: np.random.Generator, picture: Picture) -> tuple[Picture, NDArray[np.bool_]]:
    """Break the film: light lines with dark rims that wander across the picture.

    Returns
    -------
    ndarray
        The picture.
    ndarray of bool
        Where it is cracked.
    """
    height, width = picture.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    change, cracked = np.zeros(picture.shape, np.float32), np.zeros(picture.shape, bool)
    for _ in range(rng.integers(1, 4)):
        angle = rng.uniform(0, np.pi)
        offset = rng.uniform(-0.35, 0.35) * min(height, width)
        distance = (x - width / 2) * np.cos(angle) + (y - height / 2) * np.sin(angle) - offset
        distance += rng.uniform(5, 25) * field(rng, picture.shape, rng.uniform(20, 60))
        wide_px, light = rng.uniform(2, 14), rng.uniform(1.5, 6) * float(picture.std() / picture.mean())
        inside = np.exp(-((distance / wide_px) ** 4))
        rims = np.exp(-(((np.abs(distance) - 1.3 * wide_px) / (0.35 * wide_px)) ** 2))
        change += light * (inside - rng.uniform(0.3, 0.8) * rims)
        cracked |= np.abs(distance) < 1.5 * wide_px
    return (picture * np.clip(1 + change, 0.1, 4)).astype(np.float32), cracked


def film_of_disk(rng: np.random.Generator, picture: Picture) -> NDArray[np.uint8]:
    """Bring a picture to eight bits as pictures are kept for people: blurred, bent and stretched by chance."""
    values = picture
    if rng.random() < 0.25:
        values = gaussian_filter(values, rng.uniform(0.3, 0.7))
    if rng.random() < 0.6:
        # Beam and film are seldom even.
        angle, slope = rng.uniform(0, 2 * np.pi), rng.exponential(0.4) * float(values.std())
        y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in values.shape)
        values = values + slope * (np.sin(angle) * y[:, None] + np.cos(angle) * x[None, :])
    if rng.random() < 0.5:
        low, high = float(values.min()), float(values.max())
    else:
        spread = float(values.std())
        low, high = float(values.mean()) - rng.uniform(3, 8) * spread, float(values.mean()) + rng.uniform(3, 8) * spread
    level = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    if rng.random() < 0.3:
        level = level ** rng.uniform(0.7, 1.4)
    return np.round(255 * level).astype(np.uint8)
