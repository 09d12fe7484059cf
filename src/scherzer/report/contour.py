"""The contour of a map for its picture, chosen from the map and its mask, and the map made ready to draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scherzer.fourier.threshold import otsu_threshold

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Drawable:
    """A map cropped, finely sampled and freed of dust.

    Attributes
    ----------
    volume : numpy.ndarray
        ``(b, b, b)``, centre kept at ``b // 2``.
    level : float
        Contour in the map's own units.
    level_sd : float or None
        Contour in standard deviations of the solvent; None where no solvent could be told apart.
    half_width_voxels : float
        Half the side of a picture that holds the particle with a margin.
    pixel_size_A : float
        Of the cropped, finely sampled map.
    finer : int
        Samples for each voxel of the map as it was.
    """

    volume: Float
    level: float
    level_sd: float | None
    half_width_voxels: float
    pixel_size_A: float
    finer: int


def solvent_sd(volume: Float, mask: Float | None) -> float | None:
    """Standard deviation of the density outside the mask and inside the box's sphere; None where it was masked away."""
    radius = _radius(volume.shape)
    outside = radius < 0.48 * min(volume.shape)
    outside &= (mask <= 0) if mask is not None else (radius > 0.42 * min(volume.shape))
    values = volume[outside]
    return float(values.std()) if len(values) > 100 and values.std() > 0 else None


def choose_contour(volume: Float, mask: Float | None = None) -> float:
    """Return the contour that parts protein from solvent.

    Otsu's threshold of the values inside the mask, or inside the box's
    sphere where there is no mask, but never below three standard deviations of the solvent.
    """
    inside = mask > 0.5 if mask is not None and (mask > 0.5).any() else _radius(volume.shape) < 0.48 * min(volume.shape)
    level, _ = otsu_threshold(volume[inside])
    sd = solvent_sd(volume, mask)
    outside_mean = 0.0 if mask is None or not (mask < 0.01).any() else float(volume[mask < 0.01].mean())
    floor = outside_mean + 3 * sd if sd is not None else level
    # A floor above nearly all density would leave nothing to draw: noise with a mask around it.
    return max(level, min(floor, float(np.quantile(volume[inside], 0.98))))


def prepare(volume: Float, pixel_size_A: float, mask: Float | None = None, target_voxels: int = 150) -> Drawable:
    """Choose the contour, drop dust, crop to the particle and sample it finely by zero-padding its transform.

    Connected pieces smaller than 2 % of the largest are dust, as in Chimera's "hide dust".
    """
    level = choose_contour(volume, mask)
    sd = solvent_sd(volume, mask)
    clean = _without_dust(volume, level)
    above = np.argwhere(clean >= level)
    centre = np.array(volume.shape) // 2
    reach = float(np.sqrt(((above - centre) ** 2).sum(axis=1).max())) if len(above) else 0.45 * min(volume.shape)
    half = min(int(np.ceil(reach)) + 4, min(volume.shape) // 2)
    crop = clean[tuple(slice(c - half, c + half) for c in centre)]
    fine = max(1, min(3, round(target_voxels / (2 * half))))
    drawn = _fourier_upsample(crop, fine)
    return Drawable(drawn, level, level / sd if sd else None, (reach + 2.0) * fine, pixel_size_A / fine, fine)


def _radius(shape: tuple[int, ...]) -> Float:
    axes = [np.arange(n, dtype=np.float32) - n // 2 for n in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.sqrt(z**2 + y**2 + x**2)


def _without_dust(volume: Float, level: float) -> Float:
    labels, count = ndimage.label(volume >= level)
    if count <= 1:
        return volume
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    dust = sizes < 0.02 * sizes.max()
    dust[0] = False
    # The voxels around a speck carry its foot; without them the fine sampling would bring the speck back.
    specks = ndimage.binary_dilation(dust[labels], iterations=1) & ~(
        np.isin(labels, np.flatnonzero(~dust)) & (labels > 0)
    )
    return np.where(specks, np.minimum(volume, 0.0), volume).astype(np.float32)


def _fourier_upsample(volume: Float, factor: int) -> Float:
    """Sample an even-sided map ``factor`` times finer; voxel ``n // 2`` stays the centre."""
    if factor == 1:
        return volume
    size = volume.shape[0]
    # Tapered edges: the crop is not periodic, and a step at its faces would ring across the whole picture.
    window = np.clip((np.minimum(np.arange(size), np.arange(size)[::-1]) + 1) / 4.0, 0, 1).astype(np.float32)
    tapered = volume * window[:, None, None] * window[None, :, None] * window[None, None, :]
    spectrum = np.fft.fftshift(np.fft.fftn(tapered))
    pad = (factor - 1) * size // 2
    padded = np.pad(spectrum, pad)
    fine = np.fft.ifftn(np.fft.ifftshift(padded)).real * factor**3
    return fine.astype(np.float32)
