"""Images that no one should call a micrograph in ice: what the out-of-domain score is held against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.cbook import get_sample_data
from matplotlib.image import imread
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

Image = NDArray[np.float32]
SIDE_PX = 960


def photograph(rng: np.random.Generator, micrograph: Image) -> Image:
    """Cut a part of one of Matplotlib's sample pictures, a relief or a medical image, at any scale."""
    name = ("grace_hopper.jpg", "Minduka_Present_Blue_Pack.png", "topobathy.npz", "jacksboro_fault_dem.npz", "s1045")[
        rng.integers(5)
    ]
    if name.endswith(".npz"):
        data = get_sample_data(name)
        values = np.asarray(data["topo" if "topo" in name else "elevation"], np.float32)
    elif name == "s1045":
        values = np.frombuffer(get_sample_data("s1045.ima.gz").read(), np.uint16).reshape(256, 256).astype(np.float32)
    else:
        with get_sample_data(name, asfileobj=True) as file:
            values = np.asarray(imread(file, format=name[-3:]), np.float32)
        values = values[..., :3].mean(2) if values.ndim == 3 else values
    part = [int(side * rng.uniform(0.5, 1)) for side in values.shape]
    y, x = (int(rng.integers(0, side - length + 1)) for side, length in zip(values.shape, part, strict=True))
    values = values[y : y + part[0], x : x + part[1]]
    large = zoom(values, SIDE_PX / min(part), order=1)[:SIDE_PX, :SIDE_PX]
    spread = float(large.std()) or 1.0
    return (large + rng.uniform(0, 0.05) * spread * rng.standard_normal(large.shape)).astype(np.float32)


def negative_stain(rng: np.random.Generator, micrograph: Image) -> Image:
    """Light particles in pools of a dark, grainy stain that thins out between them."""
    shape = micrograph.shape
    pixel = rng.uniform(8, 20)  # radius of a particle, px
    stain, light = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for _ in range(int(0.15 * shape[0] * shape[1] / (np.pi * pixel**2))):
        y, x = (int(rng.integers(0, side)) for side in shape)
        light[y, x] += 1
    halo = gaussian_filter(light, 1.6 * pixel) * (2 * np.pi * (1.6 * pixel) ** 2)
    core = gaussian_filter(light, 0.6 * pixel) * (2 * np.pi * (0.6 * pixel) ** 2)
    grains = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 1.5)
    grains /= grains.std()
    pools = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 6 * pixel)
    pools /= pools.std()
    stain = np.clip(halo, 0, 1.5) * (1 - np.clip(core, 0, 0.9)) * (1 + 0.25 * grains) + 0.3 * pools + 0.08 * grains
    through = np.exp(-rng.uniform(0.5, 1.2) * np.clip(stain + 0.4, 0, None))
    electrons = rng.uniform(15, 60)
    return rng.poisson(electrons * through).astype(np.float32)


def blank(rng: np.random.Generator, micrograph: Image) -> Image:
    """Record next to nothing: a closed shutter with some hot pixels, or a handful of electrons."""
    if rng.random() < 0.5:
        values = np.full(micrograph.shape, float(rng.integers(0, 100)), np.float32)
        values[rng.random(values.shape) < 1e-4] += rng.uniform(5, 100)
        return values
    return rng.poisson(rng.uniform(1e-4, 3e-3), micrograph.shape).astype(np.float32)


def stripes(rng: np.random.Generator, micrograph: Image) -> Image:
    """Give every row, or column, a level of its own."""
    shape = (micrograph.shape[0], 1) if rng.random() < 0.5 else (1, micrograph.shape[1])
    return micrograph + rng.uniform(0.3, 1) * micrograph.std() * rng.standard_normal(shape, dtype=np.float32)


def dead_quadrant(rng: np.random.Generator, micrograph: Image) -> Image:
    """Lose a quarter of the camera."""
    values = micrograph.copy()
    half = [side // 2 for side in values.shape]
    rows, columns = (slice(0, h) if rng.random() < 0.5 else slice(h, None) for h in half)
    values[rows, columns] = 0 if rng.random() < 0.5 else values.mean()
    return values


def checkerboard(rng: np.random.Generator, micrograph: Image) -> Image:
    """Lift every second pixel, or block of pixels."""
    side = int(rng.choice([1, 2, 4]))
    y, x = np.mgrid[: micrograph.shape[0], : micrograph.shape[1]] // side
    return (micrograph + ((y + x) % 2) * micrograph.std() * rng.uniform(0.3, 1)).astype(np.float32)


STRANGE: dict[str, Callable[[np.random.Generator, Image], Image]] = {
    "photograph": photograph,
    "negative stain": negative_stain,
    "blank": blank,
    "stripes": stripes,
    "dead quadrant": dead_quadrant,
    "checkerboard": checkerboard,
}
