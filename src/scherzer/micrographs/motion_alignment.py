"""Where the specimen is in each frame, roughly: peaks of cross-correlations at low resolution."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.micrographs.trajectory import FloatArray, most_probable_path, polynomial_fit

# Damps the fine detail of the correlations, as in unblur; three times more in the first pass, while the reference is
# still smeared.
BFACTOR_A2, FIRST_BFACTOR = 1500.0, 3.0
# Order of the polynomial that keeps the first, noisiest measurement in line.
FIRST_ORDER = 4
# Passes end when no frame moves by more than this share of a pixel of the crop, or after so many.
TOLERANCE_PX, MOST_PASSES = 0.25, 3
# A peak lower than so many standard deviations of its correlation says nothing: of movies of noise alone, of 2 to 30
# frames, the highest had 2.2 to 4.5.
LEAST_PEAK = 5.0


def translation(shape: tuple[int, int], shift_yx: Tensor) -> Tensor:
    """Return the factors that move an image by a shift, on the grid of its ``rfft2``.

    Parameters
    ----------
    shape : tuple of int
        ``(h, w)`` of the image.
    shift_yx : Tensor
        ``(2,)``, as fractions of the image's height and width.
    """
    along_y, along_x = translation_factors(shape, shift_yx)
    return along_y[:, None] * along_x


def translation_factors(shape: tuple[int, int], shift_yx: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two factors, ``(h,)`` and ``(w // 2 + 1,)``, whose product is :func:`translation`."""
    height, width = shape
    rows = torch.fft.fftfreq(height, 1 / height, device=shift_yx.device)
    columns = torch.fft.rfftfreq(width, 1 / width, device=shift_yx.device)
    turn_y, turn_x = -2 * torch.pi * rows * shift_yx[0], -2 * torch.pi * columns * shift_yx[1]
    return torch.polar(torch.ones_like(turn_y), turn_y), torch.polar(torch.ones_like(turn_x), turn_x)


def band_filter(shape: tuple[int, int], extent_A: tuple[float, float], bfactor_A2: float) -> Tensor:
    """Return ``exp(-B k^2 / 4)`` on the ``rfft2`` grid, zero on the axes, where detectors leave stripes."""
    weight = torch.exp(-bfactor_A2 / 4 * squared_frequencies(shape, extent_A).sum(0))
    weight[0, :] = 0
    weight[:, 0] = 0
    return weight


def squared_frequencies(shape: tuple[int, int], extent_A: tuple[float, float]) -> Tensor:
    """Return ``k^2`` along y and x on the ``rfft2`` grid, 1/A^2; ``(2, h, w // 2 + 1)``."""
    ky = torch.fft.fftfreq(shape[0], 1 / shape[0])[:, None] / extent_A[0]
    kx = torch.fft.rfftfreq(shape[1], 1 / shape[1]) / extent_A[1]
    return torch.stack(torch.broadcast_tensors(ky.square(), kx.square()))


def parabola_peak(below: Tensor, centre: Tensor, above: Tensor) -> Tensor:
    """Return the offset of the vertex of a parabola through three equidistant values, within half a step."""
    curvature = (2 * centre - below - above).clamp_min(1e-20)
    return ((above - below) / (2 * curvature)).clamp(-0.5, 0.5)


def peak_shift(correlation: Tensor, reach: tuple[int, int], without_centre: bool) -> tuple[Tensor, float]:
    """Return where a correlation ``(h, w)`` peaks within a reach of zero shift at [0, 0], and how high.

    The place is ``(2,)``, y and x in pixels.
    """
    reach_y = min(reach[0], correlation.shape[0] // 2 - 1)
    reach_x = min(reach[1], correlation.shape[1] // 2 - 1)
    window = torch.roll(correlation, (reach_y + 1, reach_x + 1), (0, 1))[: 2 * reach_y + 3, : 2 * reach_x + 3]
    inner = window[1:-1, 1:-1].clone()
    if without_centre:
        inner[reach_y, reach_x] = -torch.inf
    row, column = divmod(int(inner.argmax()), inner.shape[1])
    y, x = row + 1, column + 1
    offset_y = parabola_peak(window[y - 1, x], window[y, x], window[y + 1, x])
    offset_x = parabola_peak(window[y, x - 1], window[y, x], window[y, x + 1])
    shift = torch.stack([row - reach_y + offset_y, column - reach_x + offset_x])
    return shift, float(window[y, x])


def shift_information(product: Tensor, squares: Tensor) -> Tensor:
    """Return one over the variance of a correlation's peak, mean of both axes, 1/A^2.

    The peak lies where the slope of the correlation is zero; noise in the frame adds a slope of variance
    ``sum (2 pi k)^2 |product|^2``, which moves it by that over the curvature, ``sum (2 pi k)^2 Re product`` (both over
    the half plane, hence the 2).
    """
    slopes = (2 * torch.pi) ** 2 * squares
    noise = (slopes * product.abs().square()).sum((1, 2))
    curvature = (slopes * product.real).sum((1, 2)).clamp_min(0)
    return (2 * curvature.square() / noise.clamp_min(1e-30)).mean()


def coarse_path(
    transforms: Tensor,
    shape: tuple[int, int],
    extent_A: tuple[float, float],
    max_shift_A: float,
    seen: NDArray[np.int64],
    dose_e_per_A2: FloatArray,
) -> FloatArray:
    """Find the displacement of the specimen in each frame by correlation with the sum of all others, iterated.

    Leaving the frame out of its own reference takes away the peak of its noise with itself at zero. What the frames
    share at a fixed place (gain errors) is left out in the first pass, where it would hold all frames at zero, by
    leaving out the central value; later the frames are apart and it is spread.

    Parameters
    ----------
    transforms : Tensor
        ``(m, h, w // 2 + 1)``, ``rfft2`` of the cropped frames.
    shape, extent_A
        ``(h, w)`` of the cropped frames, and their height and width in A.
    max_shift_A : float
        Largest displacement found in one pass.
    seen : ndarray
        ``(m,)``, their numbers among all frames.
    dose_e_per_A2 : ndarray
        ``(n,)``, exposure when each of all frames was recorded.

    Returns
    -------
    ndarray
        ``(n, 2)``, y and x, A.

    References
    ----------
    Grant and Grigorieff 2015, eLife 4:e06980 (unblur).
    """
    device = transforms.device
    squares = squared_frequencies(shape, extent_A).to(device)
    fine, rough = (band_filter(shape, extent_A, b).to(device) for b in (BFACTOR_A2, FIRST_BFACTOR * BFACTOR_A2))
    extent = torch.tensor(extent_A, device=device)
    pixel_A = extent / torch.tensor(shape, device=device)
    reach = (int(max_shift_A / float(pixel_A[0])), int(max_shift_A / float(pixel_A[1])))
    path_A = np.zeros((len(dose_e_per_A2), 2))
    for iteration in range(MOST_PASSES):
        weight = rough if iteration == 0 else fine
        positions = torch.from_numpy(path_A[seen]).to(extent)
        total = _sum(_moved(transforms, -positions / extent, shape))
        measured, information = positions.clone(), np.zeros(len(seen))
        for index, aligned in enumerate(_moved(transforms, -positions / extent, shape)):
            product = aligned * torch.conj(total - aligned) * weight
            correlation = torch.fft.irfft2(product, s=shape)
            shift, height = peak_shift(correlation, reach, without_centre=iteration == 0)
            if height > LEAST_PEAK * float(correlation.std()):
                measured[index] += shift * pixel_A
                information[index] = shift_information(product, squares)
        sure = information > 0
        if sure.sum() < 2:
            break
        found = measured.double().cpu().numpy()[sure]
        if iteration == 0:
            smooth = polynomial_fit(found, seen[sure], len(path_A), FIRST_ORDER)
        else:
            smooth = most_probable_path(found, np.diag(information[sure]), seen[sure], dose_e_per_A2).positions_A
        update = np.abs(smooth - path_A - (smooth - path_A).mean(axis=0)).max()
        path_A = smooth
        if update < TOLERANCE_PX * float(pixel_A.min()):
            break
    return path_A


def _sum(images: Iterator[Tensor]) -> Tensor:
    total = next(images)
    for image in images:
        total += image
    return total


def _moved(transforms: Tensor, fractions_yx: Tensor, shape: tuple[int, int]) -> Iterator[Tensor]:
    for transform, fraction in zip(transforms, fractions_yx, strict=True):
        yield transform * translation(shape, fraction)
