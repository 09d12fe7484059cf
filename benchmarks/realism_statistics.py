"""Figures that describe one micrograph and that do not depend on its grey levels.

Everything is measured alike on real and simulated micrographs: the same CTF fit, the same picker, the same bands.
Powers are in units of the power between 5 and 4 A, where shot noise is nearly all there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import cKDTree

from scherzer.micrographs.ctf_estimation import estimate_ctf
from scherzer.micrographs.ctf_fit import CtfFit
from scherzer.particles.picking import pick_blobs
from scherzer.physics.ctf import CtfParameters, ctf
from scherzer.physics.optics import Optics

Array = NDArray[np.float64]

NOISE_BAND_A = (5.0, 4.0)
POWER_BANDS_A = (
    (500.0, 200.0),
    (200.0, 100.0),
    (100.0, 60.0),
    (60.0, 30.0),
    (30.0, 15.0),
    (15.0, 8.0),
    (8.0, 5.0),
    (4.0, 3.3),
    (3.3, 3.05),
)
RING_BANDS_A = ((20.0, 12.0), (12.0, 8.0), (8.0, 6.0), (6.0, 5.0), (5.0, 4.0))
PARTICLE_BAND_A = (100.0, 30.0)
# Local variance is that of the picture between these two, over about half a particle.
TEXTURE_BAND_A = (100.0, 15.0)
LOCAL_SIGMA_A = 30.0
VARIANCE_BANDS_A = ((1000.0, 500.0), (500.0, 250.0), (250.0, 140.0))
# Pixels of the transform's axes left out: the image's edges and the detector's rows and columns leave marks there.
CROSS_PX = 2
# Degree of the background under the rings within one band.
BACKGROUND_DEGREE = 2
DIRECTION_BAND_A = (20.0, 7.0)
SECTORS = 12


@dataclass(frozen=True)
class Specimen:
    """What the person at the microscope knows of the particle.

    Attributes
    ----------
    diameter_A : float
        As the picker is told.
    shell_A : tuple of float
        Inner and outer radius of the ring that its projections show.
    """

    diameter_A: float
    shell_A: tuple[float, float]


APOFERRITIN = Specimen(diameter_A=130.0, shell_A=(38.0, 58.0))


@dataclass(frozen=True)
class Described:
    """One micrograph in figures.

    Attributes
    ----------
    figures : dict of float
        By name; NaN where one could not be measured.
    spectrum : ndarray
        ``(2, m)``: frequency (1/A) and power in units of the noise, rotationally averaged.
    profile : ndarray
        ``(2, m)``: radius (A) and grey level of the mean particle between 1000 and 15 A, in standard deviations of a
        pixel from the level between the particles.
    """

    figures: dict[str, float]
    spectrum: Array
    profile: Array


def describe(image: NDArray[np.float32], optics: Optics, specimen: Specimen = APOFERRITIN) -> Described:
    """Measure one micrograph, ``(h, w)``, dark protein."""
    values = _standardised(image)
    transform = _Transform.of(values, optics.pixel_size_A)
    noise = transform.mean_power(*NOISE_BAND_A)
    tensor = torch.from_numpy(values).float()
    fit = estimate_ctf(tensor, optics)
    parameters = optics.ctf_parameters(fit.defocus_u_A, fit.defocus_v_A, fit.defocus_angle_rad)
    picks = pick_blobs(tensor, optics, parameters, specimen.diameter_A)
    centres = torch.stack((picks.x_px, picks.y_px), dim=1).double().numpy()
    figures = {f"power {a:g}-{b:g} A": transform.mean_power(a, b) / noise for a, b in POWER_BANDS_A}
    figures |= {
        f"ring modulation {a:g}-{b:g} A, %": 100 * ring_modulation(transform, parameters, a, b) for a, b in RING_BANDS_A
    }
    figures["ring anisotropy 20-7 A"] = ring_anisotropy(transform, parameters)
    figures |= _ctf_figures(fit)
    figures |= _contrast(values, centres, optics.pixel_size_A, specimen)
    figures |= _placement(centres, values.shape, optics.pixel_size_A)
    figures |= _histogram(values, optics.pixel_size_A)
    figures |= local_variance_spectrum(values, optics.pixel_size_A)
    figures |= _unevenness(values, optics.pixel_size_A)
    profile = _particle_profile(values, centres, optics.pixel_size_A, specimen)
    return Described(figures, transform.radial(noise), profile)


@dataclass(frozen=True)
class _Transform:
    """Tapered power of a whole image over the half plane, with its frequencies."""

    power: Array
    kx: Array
    ky: Array
    k: Array
    usable: NDArray[np.bool_]

    @classmethod
    def of(cls, values: Array, pixel_size_A: float) -> _Transform:
        h, w = values.shape
        taper = np.sin(np.pi * (np.arange(h) + 0.5) / h)[:, None] * np.sin(np.pi * (np.arange(w) + 0.5) / w)
        # The taper must not turn a gradient of the background into power, nor the mean.
        power = np.abs(np.fft.rfft2((values - (values * taper).sum() / taper.sum()) * taper)) ** 2 / (taper**2).sum()
        rows, columns = np.fft.fftfreq(h, 1 / h)[:, None], np.arange(w // 2 + 1)[None, :]
        ky, kx = np.broadcast_arrays(rows / (h * pixel_size_A), columns / (w * pixel_size_A))
        usable = (np.abs(rows) > CROSS_PX) & (columns > CROSS_PX)
        return cls(power, kx, ky, np.hypot(kx, ky), usable)

    def between(self, coarse_A: float, fine_A: float) -> NDArray[np.bool_]:
        return self.usable & (self.k >= 1 / coarse_A) & (self.k < 1 / fine_A)

    def mean_power(self, coarse_A: float, fine_A: float) -> float:
        return float(self.power[self.between(coarse_A, fine_A)].mean())

    def radial(self, noise: float, step_per_A: float = 1 / 900) -> Array:
        bins = (self.k[self.usable] / step_per_A).astype(int)
        count = np.bincount(bins)
        power = np.bincount(bins, self.power[self.usable]) / np.maximum(count, 1) / noise
        return np.stack(((np.arange(len(count)) + 0.5) * step_per_A, power))[:, count > 0]


def _standardised(image: NDArray[np.float32]) -> Array:
    values = image.astype(np.float64)
    return (values - values.mean()) / values.std()


def ring_modulation(
    transform: _Transform,
    parameters: CtfParameters,
    coarse_A: float,
    fine_A: float,
    where: NDArray[np.bool_] | None = None,
) -> float:
    """Return the amplitude of the rings over the background in a band, from a regression on the two-dimensional power.

    The model is ``background(k) (1 - m cos 2 chi)`` with a parabola for the background. It is solved by least squares
    weighted with the inverse square of the mean power, since a pixel of a spectrum scatters as much as it measures.
    """
    band = transform.between(coarse_A, fine_A)
    if where is not None:
        band &= where
    kx, ky = (torch.from_numpy(axis[band]).float() for axis in (transform.kx, transform.ky))
    rings = 2 * ctf(parameters, kx, ky)[0].double().numpy() ** 2 - 1
    power = transform.power[band]
    position = (transform.k[band] * coarse_A - 1) / (coarse_A / fine_A - 1) * 2 - 1
    smooth = np.polynomial.legendre.legvander(position, BACKGROUND_DEGREE)
    weight = np.ones_like(power)
    for _ in range(3):
        columns = np.column_stack((smooth, rings * weight)) / weight[:, None]
        solution, *_ = np.linalg.lstsq(columns, power / weight, rcond=None)
        weight = np.maximum(smooth @ solution[:-1], 1e-3 * power.mean())
    return float(solution[-1])


def ring_anisotropy(transform: _Transform, parameters: CtfParameters) -> float:
    """Return the two-fold harmonic of the rings' modulation over direction, relative to its mean: 0 without drift."""
    angle = np.arctan2(transform.ky, transform.kx) % np.pi
    centres = (np.arange(SECTORS) + 0.5) * np.pi / SECTORS
    depth = np.array(
        [
            ring_modulation(transform, parameters, *DIRECTION_BAND_A, np.abs(angle - c) <= np.pi / SECTORS / 2)
            for c in centres
        ]
    )
    return float(2 * abs((depth * np.exp(2j * centres)).mean()) / depth.mean()) if depth.mean() > 0 else math.nan


def _ctf_figures(fit: CtfFit) -> dict[str, float]:
    return {
        "CTF fit resolution, A": fit.fit_resolution_A,
        "CTF score": fit.score,
        "directional loss": fit.directional_loss,
        "defocus, um": fit.mean_defocus_A * 1e-4,
        "astigmatism, A": fit.astigmatism_A,
    }


def band_passed(values: Array, pixel_size_A: float, coarse_A: float, fine_A: float) -> Array:
    """Return the part of an image between two spacings, with soft edges (fourth-order Butterworth)."""
    h, w = values.shape
    k = np.hypot(np.fft.fftfreq(h, pixel_size_A)[:, None], np.fft.rfftfreq(w, pixel_size_A))
    keep = 1 / (1 + (k * fine_A) ** 8) * (1 - 1 / (1 + (k * coarse_A) ** 8))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(values) * keep, s=(h, w)))


def _distance_A(centres: Array, shape: tuple[int, ...], pixel_size_A: float) -> Array:
    """Distance of every pixel from the nearest pick."""
    free = np.ones(shape, dtype=bool)
    rows, columns = (np.clip(np.rint(centres[:, 1 - axis]).astype(int), 0, shape[axis] - 1) for axis in (0, 1))
    free[rows, columns] = False
    return np.asarray(distance_transform_edt(free) * pixel_size_A)


def _contrast(values: Array, centres: Array, pixel_size_A: float, specimen: Specimen) -> dict[str, float]:
    """Compare the particles' ring with what lies between particles, in the particle band."""
    names = ("contrast-to-noise 100-30 A", "fringe-to-noise 100-30 A", "sd in / between particles, 100-30 A")
    if len(centres) < 10:
        return dict.fromkeys(names, math.nan)
    band = band_passed(values, pixel_size_A, *PARTICLE_BAND_A)
    distance = _distance_A(centres, values.shape, pixel_size_A)
    outer = specimen.shell_A[1]
    between = band[distance > 1.5 * outer]
    spread = 0.7413 * float(np.subtract(*np.percentile(between, [75, 25])))
    level = float(np.median(between))
    ring = band[(distance > specimen.shell_A[0]) & (distance < outer)]
    fringe = band[(distance > outer + 7) & (distance < outer + 20)]
    whole = band[distance < outer]
    found = ((level - ring.mean()) / spread, (fringe.mean() - level) / spread, whole.std() / spread)
    return dict(zip(names, map(float, found), strict=True))


def _particle_profile(values: Array, centres: Array, pixel_size_A: float, specimen: Specimen) -> Array:
    """Average the grey level by distance from the nearest pick."""
    smooth = band_passed(values, pixel_size_A, 1000.0, TEXTURE_BAND_A[1])
    distance = _distance_A(centres, values.shape, pixel_size_A) if len(centres) else np.full(values.shape, np.inf)
    edges = np.arange(0, 1.6 * specimen.diameter_A, 3.0)
    bins = np.digitize(distance, edges) - 1
    inside = bins < len(edges) - 1
    count = np.bincount(bins[inside], minlength=len(edges) - 1)
    total = np.bincount(bins[inside], smooth[inside], minlength=len(edges) - 1)
    level = float(np.median(smooth[distance > 1.5 * specimen.shell_A[1]])) if (~inside).any() else 0.0
    return np.stack(((edges[1:] + edges[:-1]) / 2, total / np.maximum(count, 1) - level))


def _placement(centres: Array, shape: tuple[int, ...], pixel_size_A: float) -> dict[str, float]:
    nearest = cKDTree(centres).query(centres, k=2)[0][:, 1] * pixel_size_A if len(centres) > 1 else np.array([math.nan])
    distance = _distance_A(centres, shape, pixel_size_A) if len(centres) else np.full(shape, np.inf)
    return {
        "particles": float(len(centres)),
        "nearest neighbour (median), A": float(np.median(nearest)),
        "nearest neighbour (5 %), A": float(np.percentile(nearest, 5)),
        "area over 110 A from any particle, %": 100 * float((distance > 110).mean()),
    }


def _moments(values: Array) -> tuple[float, float]:
    z = (values - values.mean()) / values.std()
    return float((z**3).mean()), float((z**4).mean() - 3)


def _histogram(values: Array, pixel_size_A: float) -> dict[str, float]:
    # The real images' grey levels end at five standard deviations, so all are cut there.
    raw = _moments(values.clip(-5, 5))
    band = _moments(band_passed(values, pixel_size_A, *PARTICLE_BAND_A))
    return {
        "skewness of pixels": raw[0],
        "excess kurtosis of pixels": raw[1],
        "skewness, 100-30 A": band[0],
        "excess kurtosis, 100-30 A": band[1],
    }


def local_variance_spectrum(values: Array, pixel_size_A: float) -> dict[str, float]:
    """Spread of the local variance, relative to its mean, in bands of its own spatial frequency.

    Local variance is that of the picture between 100 and 15 A under a Gaussian of 30 A.
    """
    texture = band_passed(values, pixel_size_A, *TEXTURE_BAND_A)
    local = gaussian_filter(texture**2, LOCAL_SIGMA_A / pixel_size_A, mode="reflect")
    local = local / local.mean() - 1
    return {
        f"local variance {a:g}-{b:g} A, sd": float(band_passed(local, pixel_size_A, a, b).std())
        for a, b in VARIANCE_BANDS_A
    }


def _unevenness(values: Array, pixel_size_A: float) -> dict[str, float]:
    """Slope of the background and how much of the image is far darker than the rest."""
    smooth = gaussian_filter(values, 60 / pixel_size_A, mode="reflect")
    h, w = values.shape
    y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    plane = np.column_stack((np.ones(h * w), x.ravel(), y.ravel()))
    slope = np.linalg.lstsq(plane, smooth.ravel(), rcond=None)[0]
    rest = smooth - (plane @ slope).reshape(h, w)
    detail = gaussian_filter(values - (plane @ slope).reshape(h, w), 20 / pixel_size_A, mode="reflect")
    spread = 0.7413 * float(np.subtract(*np.percentile(detail, [75, 25])))
    return {
        "slope across the image, pixel sd": float(2 * np.hypot(slope[1], slope[2])),
        "background beside the slope, pixel sd": float(rest.std()),
        "dark spots, % of area": 100 * float((detail < np.median(detail) - 4 * spread).mean()),
    }
