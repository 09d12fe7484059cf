"""What spoils micrographs: ice contamination and crystalline ice."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Reflections of hexagonal ice, A.
HEXAGONAL_ICE_A = (3.90, 3.67, 3.44)
# Path of a micrograph that no motion correction saves: it smears every frame.
BAD_DRIFT_A = 260.0


def contamination_heights_A(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size_A: float, large: bool
) -> NDArray[np.float32]:
    """Height of frost on the film, A, ``(h, w)``: a few small grains as nearly everywhere, or large ones."""
    height, width = shape
    area_um2 = height * width * pixel_size_A**2 * 1e-8
    count = rng.poisson((25.0 if large else 8.0) * area_um2) + (2 if large else 0)
    result = np.zeros(shape, np.float32)
    for _ in range(count):
        radius_px = (rng.uniform(150, 420) if large else rng.uniform(30, 90)) / pixel_size_A
        y0, x0 = rng.uniform(0, height), rng.uniform(0, width)
        phases, sizes = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0, 0.12, 4)
        thick_A = rng.uniform(0.5, 1.2) * radius_px * pixel_size_A
        reach = int(1.6 * radius_px) + 4
        rows = slice(max(0, int(y0) - reach), min(height, int(y0) + reach))
        columns = slice(max(0, int(x0) - reach), min(width, int(x0) + reach))
        dy = np.arange(rows.start, rows.stop)[:, None] - y0
        dx = np.arange(columns.start, columns.stop)[None, :] - x0
        angle = np.arctan2(dy, dx)
        outline = 1 + sum(
            size * np.cos(n * angle + phase) for n, (size, phase) in enumerate(zip(sizes, phases, strict=True), 2)
        )
        inside = np.clip(1 - (np.hypot(dx, dy) / (radius_px * outline)) ** 2, 0, None)
        result[rows, columns] += (thick_A * np.sqrt(inside)).astype(np.float32)
    return result


def crystalline_potential_V_A(rng: np.random.Generator, shape: tuple[int, int], pixel_size_A: float) -> Tensor:
    """Projected potential of grains of hexagonal ice, ``(h, w)``, V A: lattice waves within each grain."""
    height, width = shape
    result = torch.zeros(shape)
    y = torch.arange(height)[:, None] * pixel_size_A
    x = torch.arange(width)[None, :] * pixel_size_A
    grains = 6 + int(height * width * pixel_size_A**2 * 4e-6)
    for _ in range(grains):
        y0, x0 = rng.uniform(0, height * pixel_size_A), rng.uniform(0, width * pixel_size_A)
        size_A = rng.uniform(150, 500)
        window_y = torch.exp(-(((y - y0) / size_A) ** 2))
        window_x = torch.exp(-(((x - x0) / size_A) ** 2))
        for spacing_A in HEXAGONAL_ICE_A:
            if spacing_A < 2.2 * pixel_size_A:
                continue  # beyond Nyquist
            angle, phase = rng.uniform(0, 2 * np.pi, 2)
            wave = torch.cos(2 * np.pi / spacing_A * (x * np.cos(angle) + y * np.sin(angle)) + phase)
            result += rng.uniform(40, 120) * window_y * window_x * wave
    return result
