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

OUTLINE_A = 25.0  # resolution at which the outline of a particle is taken, or the eighth of its diameter if coarser
LEVELS = 64  # of the histogram from which the threshold comes
LARGE_PART = 0.2  # of the largest bright component; smaller ones are not part of the outline
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
        Share of the variance within the mask that bright against dark explains (Otsu 1979), 0 to 1.
    """

    foreground_diameter: Tensor
    off_centre: Tensor
    rim_share: Tensor
    separation: Tensor


def measure_classes(averages: Tensor, diameter_A: float, pixel_size_A: float) -> ClassFeatures:
    """Measure ``(K, b, b)`` class averages of particles of a diameter."""
    box = averages.shape[-1]
    resolution_A = max(OUTLINE_A, diameter_A / 8)
    cut = box * pixel_size_A / resolution_A
    smooth = centred_irfft2(
        centred_rfft2(averages) * cosine_edge(rfft_radius(box, 2, averages.device), cut - 1, cut + 1)
    )
    rows = [_measure(image, diameter_A / pixel_size_A) for image in smooth.cpu().numpy()]
    columns = torch.tensor(rows, dtype=torch.float32, device=averages.device).reshape(-1, 4).unbind(1)
    return ClassFeatures(*columns)


def otsu_threshold(values: NDArray[np.float32]) -> tuple[float, float]:
    """Level that splits values into two groups of least variance, and the share of the variance the split explains."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-12:
        return high, 0.0
    counts, edges = np.histogram(values, bins=LEVELS, range=(low, high))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middle)
    means = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * (means[0] - means[1]) ** 2 / float(counts.sum()) ** 2
    best = int(np.argmax(between))
    return float(edges[best + 1]), float(between[best] / max(float(values.var()), 1e-12))


def _measure(image: NDArray[np.float32], diameter_px: float) -> tuple[float, float, float, float]:
    box = image.shape[-1]
    y, x = np.indices(image.shape) - box // 2
    radius = np.hypot(x, y) / diameter_px
    inside = radius <= 0.5
    level, separation = otsu_threshold(image[inside])
    bright = (image > level) & inside
    labels, count = ndimage.label(bright)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    if count == 0 or sizes.max() < 3:
        return 0.0, 0.0, 0.0, separation
    parts = np.isin(labels, 1 + np.flatnonzero(sizes >= LARGE_PART * sizes.max()))
    outline = _hull(np.stack((x[parts], y[parts]), axis=1), np.stack((x, y), axis=-1))
    centroid = np.hypot(x[outline].mean(), y[outline].mean())
    rim = inside & (radius >= RIM)
    return (
        float(2 * np.sqrt(outline.sum() / np.pi) / diameter_px),
        float(centroid / diameter_px),
        float(bright[rim].mean()),
        separation,
    )


def _hull(points: NDArray[np.int64], grid: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels of a ``(b, b, 2)`` grid within the convex hull of ``(p, 2)`` points, each taken as a unit square."""
    corners = np.concatenate([points + np.array(step) for step in ((0.5, 0.5), (-0.5, 0.5), (0.5, -0.5), (-0.5, -0.5))])
    planes = ConvexHull(corners).equations
    return np.asarray((grid @ planes[:, :2].T + planes[:, 2] <= 1e-9).all(-1))
