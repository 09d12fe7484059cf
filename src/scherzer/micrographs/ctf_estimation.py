"""The contrast transfer function of a micrograph, estimated from the rings in its power spectrum."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.ctf_polish import polish
from scherzer.micrographs.ctf_search import (
    Candidate,
    chance_correlation,
    exhaustive_search,
    refine,
    ring_envelope,
    separation_A,
)
from scherzer.micrographs.fit_resolution import (
    DIRECTION_BAND_A,
    CtfProfile,
    directional_loss,
    fit_resolution_A,
    ring_profile,
)
from scherzer.micrographs.ring_model import Aberration, FlatSpectrum, aberration, flatten
from scherzer.micrographs.ring_picture import ring_picture
from scherzer.micrographs.spectrum import PolarSpectrum, Spectrum, polar_average, power_spectrum
from scherzer.physics.ctf import electron_wavelength_A
from scherzer.physics.optics import MM_TO_A, Optics

# Sectors of direction over the half turn: at 1000 A of astigmatism and 4 A, the phase changes by 0.2 rad in one.
SECTORS = 36
# Frequencies end a little inside the edge of the spectrum, where detectors and resampling leave their marks.
USABLE_EDGE = 0.95
# Peaks followed to their optimum. The second gives the confidence.
CANDIDATES = 4


@dataclass(frozen=True)
class CtfSettings:
    """How a spectrum is made and searched.

    Attributes
    ----------
    min_defocus_A, max_defocus_A : float
        Range of the mean defocus.
    max_astigmatism_A : float
        Largest difference of the two defoci.
    min_resolution_A, max_resolution_A : float
        Band of the final fit.
    search_resolution_A : float
        End of the band in the search before it, where most spectra still have rings.
    phase_shift_rad : float
        Known phase shift of a phase plate.
    smallest_tile_A, largest_tile_A : float
        Bounds of the side of the tiles whose spectra are averaged.
    finest_pixel_A : float
        Finer images are cut off at this pixel's Nyquist frequency.
    rings_confidence : float
        Confidence below which no rings are seen and the fit resolution is the coarse end.
    """

    min_defocus_A: float = 3000.0
    max_defocus_A: float = 50000.0
    max_astigmatism_A: float = 1500.0
    min_resolution_A: float = 30.0
    max_resolution_A: float = 4.0
    search_resolution_A: float = 5.0
    phase_shift_rad: float = 0.0
    smallest_tile_A: float = 717.0
    largest_tile_A: float = 1434.0
    finest_pixel_A: float = 1.4
    rings_confidence: float = 0.55


@dataclass(frozen=True)
class CtfFit:
    """The CTF of one micrograph and how far it can be trusted.

    Attributes
    ----------
    defocus_u_A, defocus_v_A : float
        Largest and smallest defocus, underfocus positive.
    defocus_angle_rad : float
        From the x axis to the direction of ``defocus_u_A``, in [0, pi).
    phase_shift_rad : float
        As given.
    score : float
        Normalised correlation of the rings with the model over the search band, 0 to 1.
    fit_resolution_A : float
        Where the rings stop following the fit; the coarse end of the band where there are no rings.
    confidence : float
        How far the best fit stands out from the next separate one: 1 - second score / score. Near 0.1 in noise.
    directional_loss : float
        0 where the signal reaches equally far in all directions, towards 1 where drift has smeared it.
    spectrum : Tensor
        ``(s, s)`` in 0 to 1 for display, zero frequency at the centre: left half data, upper right
        quarter their average along lines of equal phase, lower right the fit.
    spectrum_pixel_size_A : float
        The spectrum's edge is at ``1 / (2 spectrum_pixel_size_A)``.
    profile : CtfProfile
        The average along lines of equal phase.
    """

    defocus_u_A: float
    defocus_v_A: float
    defocus_angle_rad: float
    phase_shift_rad: float
    score: float
    fit_resolution_A: float
    confidence: float
    directional_loss: float
    spectrum: Tensor
    spectrum_pixel_size_A: float
    profile: CtfProfile

    @property
    def mean_defocus_A(self) -> float:
        """Mean of the two defoci, A."""
        return (self.defocus_u_A + self.defocus_v_A) / 2

    @property
    def astigmatism_A(self) -> float:
        """Difference of the two defoci, A."""
        return self.defocus_u_A - self.defocus_v_A


def estimate_ctf(image: Tensor, optics: Optics, settings: CtfSettings | None = None) -> CtfFit:
    """Estimate the CTF of a micrograph (not dose-weighted) from its power spectrum.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``.
    optics : Optics
        With the pixel size of the image.

    Returns
    -------
    CtfFit
        Always finite. An image without rings gets a low confidence and the coarse end as fit resolution.

    Raises
    ------
    ValueError
        When the image is too small for a spectrum, constant, or not finite.

    References
    ----------
    Rohou and Grigorieff 2015, J. Struct. Biol. 192, 216, for the model and the fit resolution. The search differs: the
    background is fitted together with the rings, and the grid over astigmatism is exhaustive.
    """
    settings = settings or CtfSettings()
    if image.ndim != 2 or min(image.shape) < 64:
        raise ValueError(f"a CTF needs an image of at least 64 x 64 pixels, not {tuple(image.shape)}")
    spread = float(image.float().std())
    if not math.isfinite(spread) or spread == 0:
        raise ValueError("a CTF needs an image with finite and varying values")
    spectrum = power_spectrum(
        image, optics.pixel_size_A, settings.smallest_tile_A, settings.largest_tile_A, settings.finest_pixel_A
    )
    return _fit(spectrum, optics, settings)


def fit_spectrum(amplitude_spectrum: Tensor, optics: Optics, settings: CtfSettings | None = None) -> CtfFit:
    """Fit the CTF to a given amplitude spectrum.

    Parameters
    ----------
    amplitude_spectrum : Tensor
        ``(s, s)``, s even, zero frequency at ``[s // 2, s // 2]``.
    optics : Optics
        With the pixel size as which the spectrum is sampled.

    Returns
    -------
    CtfFit
        As :func:`estimate_ctf`, which differs only in making the spectrum itself.

    Raises
    ------
    ValueError
        When the spectrum is not square with an even side, or not finite.
    """
    size = amplitude_spectrum.shape[-1]
    if amplitude_spectrum.shape != (size, size) or size % 2 or size < 64:
        raise ValueError(f"a spectrum is square with an even side, not {tuple(amplitude_spectrum.shape)}")
    if not bool(torch.isfinite(amplitude_spectrum).all()):
        raise ValueError("a spectrum needs finite values")
    return _fit(Spectrum(amplitude_spectrum.float().square(), optics.pixel_size_A), optics, settings or CtfSettings())


def _fit(spectrum: Spectrum, optics: Optics, settings: CtfSettings) -> CtfFit:
    flat, rings = _band(spectrum, optics, settings, settings.search_resolution_A)
    best, second = _search(flat, rings, settings)
    confidence = max(0.0, 1 - max(second, 0.0) / best.correlation) if best.correlation > 0 else 0.0
    seen = confidence >= settings.rings_confidence
    defocus = best.defocus
    if seen:
        defocus = polish(
            *_band(spectrum, optics, settings, settings.max_resolution_A), defocus, settings.max_astigmatism_A
        )

    everything, rings = _band(spectrum, optics, settings, 2 * spectrum.pixel_size_A)
    cs_wavelength2_A = optics.cs_mm * MM_TO_A * float(electron_wavelength_A(optics.voltage_kV)) ** 2
    profile = ring_profile(everything, rings, defocus, cs_wavelength2_A)
    coarse_end_A = float(1 / profile.frequency_per_A[0])
    resolution_A = fit_resolution_A(profile) if seen else coarse_end_A
    picture = ring_picture(spectrum, everything, profile, rings, defocus, cs_wavelength2_A, resolution_A)
    half_difference = math.hypot(defocus.cosine_A, defocus.sine_A)
    return CtfFit(
        defocus_u_A=defocus.mean_A + half_difference,
        defocus_v_A=defocus.mean_A - half_difference,
        defocus_angle_rad=(math.atan2(defocus.sine_A, defocus.cosine_A) / 2) % math.pi,
        phase_shift_rad=settings.phase_shift_rad,
        score=max(0.0, best.correlation),
        fit_resolution_A=resolution_A,
        confidence=confidence,
        directional_loss=directional_loss(_polar(spectrum, DIRECTION_BAND_A[0], 2 * spectrum.pixel_size_A)),
        spectrum=picture.values,
        spectrum_pixel_size_A=picture.pixel_size_A,
        profile=profile,
    )


def _polar(spectrum: Spectrum, coarse_A: float, fine_A: float) -> PolarSpectrum:
    edge = USABLE_EDGE / (2 * spectrum.pixel_size_A)
    return polar_average(spectrum, 1 / coarse_A, min(1 / fine_A, edge), SECTORS)


def _band(spectrum: Spectrum, optics: Optics, settings: CtfSettings, fine_A: float) -> tuple[FlatSpectrum, Aberration]:
    """Return the flattened spectrum from the coarse end to a resolution, and the phases of its rings."""
    flat = flatten(_polar(spectrum, settings.min_resolution_A, fine_A))
    phases = aberration(
        flat.frequency_per_A,
        float(electron_wavelength_A(optics.voltage_kV)),
        optics.cs_mm * MM_TO_A,
        optics.amplitude_contrast,
        settings.phase_shift_rad,
    )
    return flat, phases


def _defocus_grid(rings: Aberration, settings: CtfSettings, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the mean defoci and half astigmatisms to try; steps turn the ring phase by an eighth at the band's end."""
    step_A = math.pi / 8 / float(rings.per_defocus[-1])
    means = torch.arange(settings.min_defocus_A, settings.max_defocus_A + step_A, step_A, device=device)
    return means, torch.arange(0, settings.max_astigmatism_A / 2 + step_A, step_A, device=device)


def _search(flat: FlatSpectrum, rings: Aberration, settings: CtfSettings) -> tuple[Candidate, float]:
    """Return the best fit and the correlation of the best one apart from it."""
    means, halves = _defocus_grid(rings, settings, flat.modulation.device)
    envelope = ring_envelope(flat)
    chance = chance_correlation(flat, rings, means, envelope)
    found = []
    for candidate in exhaustive_search(flat, rings, means, halves, CANDIDATES):
        refined = refine(flat, rings, candidate.defocus, envelope, settings.max_astigmatism_A, chance)
        # What runs out of the range asked for is not followed there.
        inside = settings.min_defocus_A <= refined.defocus.mean_A <= settings.max_defocus_A
        found.append(refined if inside else candidate)
    found.sort(key=lambda candidate: candidate.correlation, reverse=True)
    apart_A = separation_A(rings, halves) - float(halves[1])
    rivals = [c.correlation for c in found if abs(c.defocus.mean_A - found[0].defocus.mean_A) >= apart_A]
    return found[0], max(rivals, default=0.0)
