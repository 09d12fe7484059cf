"""Which parts of a micrograph are not the even ice of the rest: supports, contamination, holes, edges."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, median_filter
from torch import Tensor

from scherzer.micrographs.contrast.whitening import WORKING_PIXEL_A
from scherzer.micrographs.local_spectra import LocalSpectra

Array = NDArray[np.float64]

# Side of the squares whose mean grey level is taken, A: smaller than contaminants, and electrons enough for 0.3 %.
LEVEL_CELL_A = 64.0
# Squares apart whose difference gives the slope: its median is not moved by steps.
SLOPE_CELLS = 3
# Two groups of levels are two, and no smaller than a share of the image, when their medians lie so many of their own
# scatters apart. One normal distribution cut in two gives 2.0 to 3.0 (sound images, simulated and real).
APART, SMALLEST = 3.3, 0.03
# Whoever leaves parts out must be surer: clumps of large particles part the levels by up to 3.6, aggregates by 9.
APART_TO_LEAVE_OUT = 5.0
# Rings are twice as strong on carbon, and this is the least product of that factor with the distance of the two groups;
# up to 7.5 in simulated micrographs without carbon, from 11 in those with it.
CARBON_FACTOR, CARBON_CLEAR = 2.0, 9.0
# Where most of the field has the stronger rings, crowded particles beside empty ice are as likely: nothing is left out.
MOST_CARBON = 0.5
# Vacuum shows less than this above noise: between 20 and 8 A, and in the particle band.
VACUUM_DETAIL, VACUUM_POWER = 0.025, 0.5
# Fresnel fringes: brighter than so many robust standard deviations of the band. For skewness the limit is stricter, as
# particles' own light halos do it no harm; for what fringes and bodies do to the spectrum both signs count.
EDGE_SIGMA, EDGE_SIGMA_SKEWNESS = 5.0, 4.0
EDGE_REACH_A = 96.0


@dataclass(frozen=True)
class Areas:
    """Shares of a micrograph.

    Attributes
    ----------
    thicker_fraction, thinner_fraction : float
        Darker than the rest by a step in the mean level, slopes apart: contamination, aggregates, a support, Bragg
        contrast; brighter: thin ice or a hole. One of them is 0; both are where the levels are one group, and where
        there is carbon, whose step it is.
    carbon_fraction : float
        Tiles whose rings are at least twice as strong as those of the others, as on carbon. NaN where the pixels are
        too coarse to tell (above 2.4 A).
    edge_fraction : float
        Within 96 A of light fringes stronger than particles cast: rims of contaminants, cracks and holes.
    spoilt_fraction : float
        Thicker, thinner or at such an edge.
    ice_level : float
        Mean grey level of the rest, without carbon.
    left_out : ndarray of bool or None
        ``(h', w')`` over the whole field: carbon of less than half, and what is thicker or thinner without doubt, in
        which no particle is to be looked for; None where there is nothing of it.
    """

    thicker_fraction: float
    thinner_fraction: float
    carbon_fraction: float
    edge_fraction: float
    spoilt_fraction: float
    ice_level: float
    left_out: NDArray[np.bool_] | None = field(default=None, compare=False)


def find_areas(image: Tensor, pixel_size_A: float, band: Tensor, band_noise: float, spectra: LocalSpectra) -> Areas:
    """Divide a micrograph.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``, protein dark.
    pixel_size_A : float
        Pixel size.
    band : Tensor
        Its particle band at `WORKING_PIXEL_A`.
    band_noise : float
        Variance of that band in vacuum.
    spectra : LocalSpectra
        Of its tiles.
    """
    levels = _levels(image, pixel_size_A)
    dark, apart = _two_groups(levels)
    edges = near_edges(band).cpu()
    carbon = _carbon(spectra)
    odd = np.zeros_like(dark)
    is_thinner = False
    if apart >= APART and (carbon is None or not carbon.any()):
        light = band.cpu()[_resized(~dark, edges.shape) & ~edges]
        is_thinner = bool((~dark).mean() < 0.5) or (
            len(light) > 0 and float(light.square().mean()) < (1 + VACUUM_POWER) * band_noise and _bare(~dark, spectra)
        )
        odd = ~dark if is_thinner else dark
    ice = ~odd if carbon is None else ~odd & ~_resized(carbon, levels.shape).numpy()
    share = float(odd.mean())
    left_out = binary_dilation(odd) if apart >= APART_TO_LEAVE_OUT else np.zeros_like(odd)
    if carbon is not None and carbon.mean() < MOST_CARBON:
        left_out = left_out | _resized(carbon, levels.shape).numpy()
    return Areas(
        thicker_fraction=0.0 if is_thinner else share,
        thinner_fraction=share if is_thinner else 0.0,
        carbon_fraction=math.nan if carbon is None else float(carbon.mean()),
        edge_fraction=float(edges.float().mean()),
        spoilt_fraction=float((odd | _resized(edges, levels.shape).numpy()).mean()),
        ice_level=float(np.median(levels[ice if ice.any() else ~odd])),
        left_out=left_out if left_out.any() else None,
    )


def near_edges(band: Tensor, sigmas: float = EDGE_SIGMA, both_signs: bool = False) -> Tensor:
    """Return where the particle band is near a light fringe, or with both signs near anything strong; bool, its shape.

    Parameters
    ----------
    band : Tensor
        ``(h, w)`` at `WORKING_PIXEL_A`.
    sigmas : float
        Limit, in robust standard deviations.
    both_signs : bool
        Whether dark spots count as well.
    """
    centred = band - band.median()
    sigma = 1.4826 * centred.abs().median()
    strong = (centred.abs() if both_signs else centred) > sigmas * sigma
    reach = round(EDGE_REACH_A / WORKING_PIXEL_A)
    # A square's maximum is its rows' maximum along the columns.
    near = torch.nn.functional.max_pool2d(strong.float()[None, None], (2 * reach + 1, 1), 1, (reach, 0))
    return torch.nn.functional.max_pool2d(near, (1, 2 * reach + 1), 1, (0, reach))[0, 0] > 0.5


def _levels(image: Tensor, pixel_size_A: float) -> Array:
    """Mean levels of squares, without the slope of the illumination and of the film; single odd ones are smoothed."""
    side = min(max(1, round(LEVEL_CELL_A / pixel_size_A)), *image.shape)
    means = torch.nn.functional.avg_pool2d(image[None, None], side)[0, 0].double().cpu().numpy()
    levels = np.asarray(gaussian_filter(median_filter(means, 3, mode="nearest"), 0.7, mode="nearest"))
    for axis in (0, 1):
        if levels.shape[axis] <= SLOPE_CELLS:
            continue
        along = np.moveaxis(levels, axis, 0)
        slope = np.median(along[SLOPE_CELLS:] - along[:-SLOPE_CELLS]) / SLOPE_CELLS
        position = np.arange(len(along)) - (len(along) - 1) / 2
        levels = levels - slope * (position[:, None] if axis == 0 else position[None, :])
    return levels


def _two_groups(values: Array) -> tuple[NDArray[np.bool_], float]:
    """Cut values where the two groups scatter least (Otsu 1979): the lower group, and how far apart the two are.

    The distance is that of the medians in units of the groups' own robust standard deviation.
    """
    ordered = np.sort(values, axis=None)
    count = len(ordered)
    least = max(1, math.ceil(SMALLEST * count))
    if count < 2 * least + 1:
        return np.zeros(values.shape, dtype=bool), 0.0
    lower = np.cumsum(ordered)[:-1]
    below = np.arange(1, count)
    gap = (ordered.sum() - lower) / (count - below) - lower / below
    between = (below * (count - below) * gap**2)[least - 1 : count - least]
    low = values <= ordered[least - 1 + int(between.argmax())]
    if low.all():
        return np.zeros(values.shape, dtype=bool), 0.0
    groups = [values[low], values[~low]]
    scatter = sum(len(group) * _robust_std(group) ** 2 for group in groups) / count
    return low, float((np.median(groups[1]) - np.median(groups[0])) / math.sqrt(max(scatter, 1e-30)))


def _robust_std(values: Array) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _excess(spectra: LocalSpectra) -> Array:
    """Power between 20 and 8 A over noise of each tile, less 1."""
    return np.asarray((spectra.detail / spectra.noise - 1).double().cpu().numpy())


def _resized(mask: Tensor | NDArray[np.bool_], shape: tuple[int, ...]) -> Tensor:
    """Bring a mask to another grid over the same field; a square is in where any part of it is."""
    values = torch.as_tensor(mask).float()[None, None]
    return torch.nn.functional.adaptive_max_pool2d(values, shape[-2:])[0, 0] > 0.5


def _bare(bright: NDArray[np.bool_], spectra: LocalSpectra) -> bool:
    """Whether the tiles that lie wholly in the bright group have no rings."""
    excess = _excess(spectra)
    here = excess[~_resized(~bright, excess.shape).numpy()]
    return len(here) > 0 and bool(here.mean() < VACUUM_DETAIL)


def _carbon(spectra: LocalSpectra) -> NDArray[np.bool_] | None:
    """Return the tiles on carbon, or None where that cannot be told."""
    excess = _excess(spectra)
    if not np.isfinite(excess).all():
        return None
    padded = torch.nn.functional.pad(torch.from_numpy(excess)[None, None], (1, 1, 1, 1), mode="replicate")
    smooth = np.asarray(torch.nn.functional.avg_pool2d(padded, 3, 1)[0, 0].numpy())
    low, apart = _two_groups(smooth)
    weak, strong = (float(np.median(smooth[part])) for part in (low, ~low))
    # Beside vacuum any ice has strong rings.
    if weak > VACUUM_DETAIL and strong > CARBON_FACTOR * weak and apart * strong / weak > CARBON_CLEAR:
        return ~low
    return np.zeros_like(low)
