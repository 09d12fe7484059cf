"""What can be measured on a class average without knowing the specimen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from torch import Tensor

from scherzer.fourier.filters import cosine_edge
from scherzer.fourier.grids import centred_irfft2, centred_rfft2, rfft_radius
from scherzer.fourier.threshold import otsu_threshold

OUTLINE_A = 25.0  # resolution at which the outline of a particle is taken, or the eighth of its diameter if coarser
LARGE_PART = 0.2  # of the largest bright component; smaller ones are not part of the outline
EXTREME = 0.01  # share of the pixels that count as the darkest, and as the brightest
RIM = 0.45  # inner radius of the rim in diameters: what reaches it is cut by the mask


@dataclass(frozen=True)
class ClassFeatures:
    """Features of K class averages, each ``(K,)`` float32.

    Attributes
    ----------
    foreground_diameter : Tensor
        Diameter of a disc as large as the convex outline of the bright parts (a ring may be broken), in particle
        diameters; 0 if there are none.
    off_centre : Tensor
        Distance of that outline's centroid from the centre, in particle diameters.
    rim_share : Tensor
        Share of the mask's rim that is bright.
    separation : Tensor
        Share of the variance within the mask that bright against dark explains, 0 to 1.
    darkness : Tensor
        How far the darkest parts lie below the level around the particle, in units of how far the brightest lie above
        it. Protein is denser than ice: what is dark is the fringe of an edge, or what lies between two objects.
    """

    foreground_diameter: Tensor
    off_centre: Tensor
    rim_share: Tensor
    separation: Tensor
    darkness: Tensor


def measure_classes(averages: Tensor, diameter_A: float, pixel_size_A: float) -> ClassFeatures:
    """Measure ``(K, b, b)`` class averages of particles of a diameter."""
    box = averages.shape[-1]
    resolution_A = max(OUTLINE_A, diameter_A / 8)
    cut = box * pixel_size_A / resolution_A
    smooth = centred_irfft2(
        centred_rfft2(averages) * cosine_edge(rfft_radius(box, 2, averages.device), cut - 1, cut + 1)
    )
    rows = [_measure(image, diameter_A / pixel_size_A) for image in smooth.cpu().numpy()]
    columns = torch.tensor(rows, dtype=torch.float32, device=averages.device).reshape(-1, 5).unbind(1)
    return ClassFeatures(*columns)


def _measure(image: NDArray[np.float32], diameter_px: float) -> tuple[float, float, float, float, float]:
    box = image.shape[-1]
    y, x = np.indices(image.shape) - box // 2
    radius = np.hypot(x, y) / diameter_px
    inside = radius <= 0.5
    level, separation = otsu_threshold(image[inside])
    darkest, brightest = np.quantile(image[inside], (EXTREME, 1 - EXTREME))
    darkness = float(max(0.0, -darkest) / brightest) if brightest > 0 else 0.0
    bright = (image > level) & inside
    labels, count = ndimage.label(bright)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    if count == 0 or sizes.max() < 3:
        return 0.0, 0.0, 0.0, separation, darkness
    parts = np.isin(labels, 1 + np.flatnonzero(sizes >= LARGE_PART * sizes.max()))
    outline = _hull(np.stack((x[parts], y[parts]), axis=1), np.stack((x, y), axis=-1))
    centroid = np.hypot(x[outline].mean(), y[outline].mean())
    rim = inside & (radius >= RIM)
    return (
        float(2 * np.sqrt(outline.sum() / np.pi) / diameter_px),
        float(centroid / diameter_px),
        float(bright[rim].mean()),
        separation,
        darkness,
    )


def _hull(points: NDArray[np.int64], grid: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels of a ``(b, b, 2)`` grid within the convex hull of ``(p, 2)`` points, each taken as a unit square."""
    corners = np.concatenate([points + np.array(step) for step in ((0.5, 0.5), (-0.5, 0.5), (0.5, -0.5), (-0.5, -0.5))])
    planes = ConvexHull(corners).equations
    return np.asarray((grid @ planes[:, :2].T + planes[:, 2] <= 1e-9).all(-1))
