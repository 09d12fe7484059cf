"""Where the specimen is in each frame of a movie, from cross-correlations in a cropped band."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from scherzer.micrographs.trajectory import polynomial_fit, smooth

# Order of the polynomial that keeps the first, noisiest measurement in line.
FIRST_ORDER = 4
# Damping of the first measurement relative to the later ones: the reference is still smeared.
FIRST_BFACTOR = 3.0


def crop_transform(transform: Tensor, shape: tuple[int, int]) -> Tensor:
    """Crop the ``rfft2`` of an image to that of an image of a smaller even shape."""
    height, width = shape
    top, bottom = transform[: height // 2], transform[transform.shape[0] - height // 2 :]
    return torch.cat([top, bottom])[:, : width // 2 + 1]


def translation(shape: tuple[int, int], shift_yx: Tensor) -> Tensor:
    """Return the factors that move an image by a shift, on the grid of its ``rfft2``.

    Parameters
    ----------
    shape : tuple of int
        ``(h, w)`` of the image.
    shift_yx : Tensor
        ``(2,)``, as fractions of the image's height and width.
    """
    height, width = shape
    rows = torch.fft.fftfreq(height, 1 / height, device=shift_yx.device)
    columns = torch.fft.rfftfreq(width, 1 / width, device=shift_yx.device)
    turn_y, turn_x = -2 * torch.pi * rows * shift_yx[0], -2 * torch.pi * columns * shift_yx[1]
    return torch.polar(torch.ones_like(turn_y), turn_y)[:, None] * torch.polar(torch.ones_like(turn_x), turn_x)


def band_filter(shape: tuple[int, int], extent_A: tuple[float, float], bfactor_A2: float) -> Tensor:
    """Return ``exp(-B k^2 / 4)`` on the ``rfft2`` grid, zero on the axes, where detectors leave stripes."""
    ky = torch.fft.fftfreq(shape[0], 1 / shape[0])[:, None] / extent_A[0]
    kx = torch.fft.rfftfreq(shape[1], 1 / shape[1]) / extent_A[1]
    weight = torch.exp(-bfactor_A2 / 4 * (ky.square() + kx.square()))
    weight[0, :] = 0
    weight[:, 0] = 0
    return weight


def parabola_peak(below: Tensor, centre: Tensor, above: Tensor) -> Tensor:
    """Return the offset of the vertex of a parabola through three equidistant values, within half a step."""
    curvature = (2 * centre - below - above).clamp_min(1e-20)
    return ((above - below) / (2 * curvature)).clamp(-0.5, 0.5)


def peak_shift(correlation: Tensor, reach: tuple[int, int], without_centre: bool) -> Tensor:
    """Return where a correlation ``(h, w)``, zero shift at [0, 0], peaks within a reach; ``(2,)`` in pixels y, x."""
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
    return torch.stack([row - reach_y + offset_y, column - reach_x + offset_x])


def squared_slopes(shape: tuple[int, int], extent_A: tuple[float, float]) -> Tensor:
    """Return ``(2 pi k)^2`` along y and x on the ``rfft2`` grid, 1/A^2; ``(2, h, w // 2 + 1)``."""
    ky = torch.fft.fftfreq(shape[0], 1 / shape[0])[:, None] / extent_A[0]
    kx = torch.fft.rfftfreq(shape[1], 1 / shape[1]) / extent_A[1]
    squares = torch.broadcast_tensors(ky.square(), kx.square())
    return (2 * torch.pi) ** 2 * torch.stack(squares)


def shift_variance(product: Tensor, slopes: Tensor) -> Tensor:
    """Return the variance of a correlation's peak along y and x, A^2; ``(2,)``.

    The peak lies where the slope of the correlation is zero; noise in the frame adds a slope of variance
    ``sum slopes |product|^2``, which moves it by that over the curvature, ``sum slopes Re product`` (both over the half
    plane, hence the 2).
    """
    noise = (slopes * product.abs().square()).sum((1, 2))
    curvature = (slopes * product.real).sum((1, 2)).clamp_min(1e-20)
    return noise / (2 * curvature.square())


def align(
    transforms: Tensor,
    shape: tuple[int, int],
    extent_A: tuple[float, float],
    bfactor_A2: float,
    max_shift_A: float,
    tolerance_A: float,
    max_iterations: int,
) -> Tensor:
    """Find the displacement of the specimen in each frame by correlation with the sum of all others, iterated.

    Leaving the frame out of its own reference takes away the peak of its noise with itself at zero. What the frames
    share at a fixed place (gain errors) is left out in the first pass, where it would hold all frames at zero, by
    leaving out the central value; later the frames are apart and it is spread.

    Parameters
    ----------
    transforms : Tensor
        ``(n, h, w // 2 + 1)``, ``rfft2`` of the cropped frames.
    shape, extent_A
        ``(h, w)`` of the cropped frames, and their height and width in A.
    tolerance_A : float
        The iteration ends when no frame moves by more.

    Returns
    -------
    Tensor
        ``(n, 2)``, y and x, A, relative to the middle frame.

    References
    ----------
    Grant and Grigorieff 2015, eLife 4:e06980 (unblur).
    """
    device = transforms.device
    fine, coarse = (band_filter(shape, extent_A, b).to(device) for b in (bfactor_A2, FIRST_BFACTOR * bfactor_A2))
    extent = torch.tensor(extent_A, device=device)
    pixel_A = extent / torch.tensor(shape, device=device)
    reach = (int(max_shift_A / float(pixel_A[0])), int(max_shift_A / float(pixel_A[1])))
    slopes = squared_slopes(shape, extent_A).to(device)
    positions = torch.zeros(len(transforms), 2, device=device)
    for iteration in range(max_iterations):
        weight = coarse if iteration == 0 else fine
        total = torch.zeros_like(transforms[0])
        for aligned in _moved(transforms, -positions / extent, shape):
            total += aligned
        measured, variance = positions.clone(), torch.zeros_like(positions)
        for index, aligned in enumerate(_moved(transforms, -positions / extent, shape)):
            rest = total - aligned
            product = aligned * torch.conj(rest) * weight
            variance[index] = shift_variance(product, slopes)
            correlation = torch.fft.irfft2(product, s=shape)
            measured[index] += peak_shift(correlation, reach, without_centre=iteration == 0) * pixel_A
        smoothed = polynomial_fit(measured, FIRST_ORDER) if iteration == 0 else smooth(measured, variance)
        smoothed = smoothed - smoothed[len(smoothed) // 2]
        update = (smoothed - positions).norm(dim=1).max()
        positions = smoothed
        if float(update) < tolerance_A:
            break
    return positions


def _moved(transforms: Tensor, fractions_yx: Tensor, shape: tuple[int, int]) -> Iterator[Tensor]:
    for transform, fraction in zip(transforms, fractions_yx, strict=True):
        yield transform * translation(shape, fraction)
