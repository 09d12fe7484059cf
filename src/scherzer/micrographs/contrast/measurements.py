"""A micrograph in numbers that a person could check by eye or by ruler."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.contrast.areas import EDGE_SIGMA_SKEWNESS, Areas, find_areas, near_edges
from scherzer.micrographs.contrast.smearing import smearing, smearing_between_edges
from scherzer.micrographs.contrast.whitening import (
    WORKING_PIXEL_A,
    TileSpectrum,
    WhitenedImage,
    tile_spectrum,
    whiten,
)
from scherzer.micrographs.ctf_fit import CtfFit
from scherzer.micrographs.ice import Ice, state_of_ice
from scherzer.micrographs.local_spectra import DETAIL_BAND_A, local_spectra
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import Optics

# Particles of 80 to 250 A have their power in this band; their detail and most rings lie in the detail band.
PARTICLE_BAND_A = (300.0, 30.0)
# Side of the squares in which local power is measured: about two particles.
BLOCK_A = 256.0
# A square is empty when its power in the particle band exceeds that of shot noise by less than this factor.
EMPTY_FACTOR = 1.5


@dataclass(frozen=True)
class CtfNumbers:
    """What the CTF fit of a micrograph says about its quality.

    Attributes
    ----------
    defocus_A : float
        Mean of the two defoci, underfocus positive; without meaning where there is a problem.
    phase_shift_rad : float
        Of a phase plate.
    fit_resolution_A, score, directional_loss : float
        As in :class:`scherzer.micrographs.ctf_fit.CtfFit`.
    problem : str
        Why there is no reliable fit; empty where there is one.
    """

    defocus_A: float
    phase_shift_rad: float
    fit_resolution_A: float
    score: float
    directional_loss: float
    problem: str = ""

    @classmethod
    def of(cls, fit: CtfFit) -> CtfNumbers:
        """Take them from a fit."""
        return cls(
            fit.mean_defocus_A,
            fit.phase_shift_rad,
            fit.fit_resolution_A,
            fit.score,
            fit.directional_loss,
            fit.problem,
        )


@dataclass(frozen=True)
class Measurements:
    """Physical measurements of one micrograph; NaN where one cannot be made.

    Attributes
    ----------
    particle_band_power : float
        Power between 300 and 30 A above that of the noise, in units of the noise.
    band_ratio : float
        Power between 300 and 30 A over that between 20 and 8 A.
    thon_amplitude : float
        Height of the CTF's rings between 20 and 8 A, in units of the noise. Needs the CTF.
    fit_resolution_A : float
        Resolution to which the rings follow the fit. Needs the CTF.
    skewness, clear_skewness : float
        Of the image in the particle band; negative where sparse dark particles stand on light ice. The second leaves
        out what is near light edges.
    skewness_error : float
        Standard error that noise gives the second.
    power_spread : float
        Standard deviation of the logarithm of local power in the particle band: uneven where there is contamination, an
        edge of carbon or a gradient of thickness.
    empty_fraction : float
        Share of squares of 256 A that hold little but noise in the particle band.
    directional_loss : float
        0 where signal is spread evenly over directions, towards 1 where drift has smeared it, with and without what is
        near strong edges, which have a direction of their own; see :mod:`scherzer.micrographs.contrast.smearing`.
    gradient : float
        Change of the mean grey level across the image, in standard deviations of a pixel.
    mean_level : float
        Mean grey level over the standard deviation of the noise; with counts, the root of the dose per pixel. NaN
        where the file's grey levels have been shifted to zero or below.
    noise_per_level : float
        Variance of the noise over the mean grey level: near 1 where grey levels are counted electrons. NaN likewise.
    ice : Ice
        State of the ice.
    areas : Areas
        What is not even ice.
    """

    particle_band_power: float
    band_ratio: float
    thon_amplitude: float
    fit_resolution_A: float
    skewness: float
    clear_skewness: float
    skewness_error: float
    power_spread: float
    empty_fraction: float
    directional_loss: float
    gradient: float
    mean_level: float
    noise_per_level: float
    ice: Ice
    areas: Areas


def measure(image: Tensor, optics: Optics, ctf_numbers: CtfNumbers | None = None) -> Measurements:
    """Measure a micrograph.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``, protein dark, not dose-weighted or with the noise power restored.
    optics : Optics
        With the pixel size of the image.
    ctf_numbers : CtfNumbers, optional
        Without them the two measurements that need them are NaN; so is the rings' amplitude without a reliable fit.

    Raises
    ------
    ValueError
        When the image is smaller than 64 px, constant, or not finite.
    """
    image = checked(image)
    spectrum = tile_spectrum(image, optics.pixel_size_A)
    return measure_whitened(image, optics, spectrum, whiten(image, optics.pixel_size_A, spectrum), ctf_numbers)


def checked(image: Tensor) -> Tensor:
    """Return an image as float32, or say why it cannot be measured."""
    if image.ndim != 2 or min(image.shape) < 64:
        raise ValueError(f"contrast needs an image of at least 64 x 64 pixels, not {tuple(image.shape)}")
    image = image.float()
    spread = float(image.std())
    if not math.isfinite(spread) or spread == 0:
        raise ValueError("contrast needs an image with finite and varying values")
    return image


def measure_whitened(
    image: Tensor, optics: Optics, spectrum: TileSpectrum, whitened: WhitenedImage, ctf_numbers: CtfNumbers | None
) -> Measurements:
    """Measure a micrograph whose spectrum and whitened image are at hand; see :func:`measure`."""
    floor = whitened.noise_floor
    band = _band_pass(whitened.values, *PARTICLE_BAND_A)
    noise_power = _noise_share(*PARTICLE_BAND_A)
    power = float(band.square().mean()) / noise_power
    detail = spectrum.mean_between(*DETAIL_BAND_A) / floor
    local = _block_means(band.square())
    levels = _block_means(image, max(1, min(image.shape) // 8))
    mean, noise = float(image.mean()), floor**0.5
    tiles = local_spectra(image, optics.pixel_size_A)
    clear = band[~near_edges(band, EDGE_SIGMA_SKEWNESS)]
    return Measurements(
        particle_band_power=power - 1,
        band_ratio=power / detail,
        thon_amplitude=_thon_amplitude(spectrum, optics, floor, ctf_numbers),
        fit_resolution_A=ctf_numbers.fit_resolution_A if ctf_numbers else math.nan,
        skewness=_skewness(band),
        clear_skewness=_skewness(clear),
        # A band leaves so many of the pixels independent.
        skewness_error=math.sqrt(6 / max(clear.numel() * noise_power, 1)),
        power_spread=float(local.clamp(min=1e-6).log().std()) if local.numel() > 1 else 0.0,
        empty_fraction=float((local < EMPTY_FACTOR * noise_power).float().mean()),
        directional_loss=min(smearing(spectrum, floor), smearing_between_edges(whitened.values, band)),
        gradient=float(levels.max() - levels.min()) / float(image.std()) if levels.numel() > 1 else 0.0,
        mean_level=mean / noise if mean > noise else math.nan,
        noise_per_level=floor / mean if mean > 0 else math.nan,
        ice=state_of_ice(tiles),
        areas=find_areas(image, optics.pixel_size_A, band, noise_power, tiles),
    )


def _skewness(values: Tensor) -> float:
    """Skewness about zero; NaN where there are hardly any values."""
    return float((values / values.std()).pow(3).mean()) if values.numel() > 100 else math.nan


def _band_pass(values: Tensor, coarse_A: float, fine_A: float) -> Tensor:
    height, width = values.shape
    ky = torch.fft.fftfreq(height, WORKING_PIXEL_A, device=values.device)
    kx = torch.arange(width // 2 + 1, device=values.device) / (width * WORKING_PIXEL_A)
    k = torch.hypot(ky[:, None], kx[None, :])
    inside = (k >= 1 / coarse_A) & (k <= 1 / fine_A)
    return torch.fft.irfft2(torch.fft.rfft2(values) * inside, s=(height, width))


def _noise_share(coarse_A: float, fine_A: float) -> float:
    """Variance that a band leaves of white noise of variance 1 at the working pixel."""
    return math.pi * WORKING_PIXEL_A**2 * (1 / fine_A**2 - 1 / coarse_A**2)


def _block_means(values: Tensor, side: int = round(BLOCK_A / WORKING_PIXEL_A)) -> Tensor:
    side = min(side, *values.shape)
    return torch.nn.functional.avg_pool2d(values[None, None], side)[0, 0]


def _thon_amplitude(spectrum: TileSpectrum, optics: Optics, floor: float, numbers: CtfNumbers | None) -> float:
    """Fit the power between 20 and 8 A by a smooth background plus rings at the mean defocus."""
    if numbers is None or numbers.problem:
        return math.nan
    k_all = spectrum.frequency_per_A
    step = 1.0 / (spectrum.power.shape[0] * 0.5 / spectrum.nyquist_per_A)
    shells = (k_all / step).round().long().flatten()
    count = torch.bincount(shells).clamp(min=1)
    radial = torch.bincount(shells, weights=spectrum.power.flatten().double()) / count
    k = torch.arange(len(radial), device=radial.device) * step
    inside = (k >= 1 / DETAIL_BAND_A[0]) & (k <= min(1 / DETAIL_BAND_A[1], 0.95 * spectrum.nyquist_per_A))
    if int(inside.sum()) < 8:
        return math.nan
    k, data, weight = k[inside].float(), (radial[inside] / floor).float(), count[inside].float().sqrt()
    parameters = optics.ctf_parameters(numbers.defocus_A, numbers.defocus_A, 0.0, numbers.phase_shift_rad)
    rings = ctf(parameters.to(k.device), k, torch.zeros_like(k))[0].square()
    x = (k - k.mean()) / k.std()
    # Rings fade outward with the signal; a falling weight lets one amplitude stand for all.
    fade = torch.exp(-2 * (k - k[0]) / (k[-1] - k[0]))
    basis = torch.stack([torch.ones_like(x), x, x**2, x**3, rings * fade], 1)
    solution = torch.linalg.lstsq(basis * weight[:, None], (data * weight)[:, None]).solution
    return float(solution[-1, 0])
