"""The contrast transfer function of a micrograph, estimated from the rings in its power spectrum."""

from __future__ import annotations

import cmath
import math
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from scherzer.micrographs.ctf_cells import cell_numbers, layout
from scherzer.micrographs.ctf_confidence import NO_CONFIDENCE, Standing, confidence
from scherzer.micrographs.ctf_fit import CtfFit, CtfSettings
from scherzer.micrographs.ctf_polish import Polished, polish
from scherzer.micrographs.ctf_search import (
    ASTIGMATISM_TOLERANCE_A,
    Astigmatic,
    Candidate,
    chance_correlation,
    exhaustive_search,
    refine,
    ring_envelope,
    separation_A,
)
from scherzer.micrographs.ctf_tilt import estimate_tilt
from scherzer.micrographs.fit_resolution import (
    DIRECTION_BAND_A,
    CtfProfile,
    directional_loss,
    fit_resolution_A,
    ring_profile,
    rings_between,
)
from scherzer.micrographs.ring_model import FlatSpectrum, aberration_of, flatten
from scherzer.micrographs.ring_picture import ring_picture
from scherzer.micrographs.spectrum import (
    Band,
    Spectrum,
    band,
    given_spectrum,
    level,
    mean_spectrum,
    polar_average,
    power_spectrum,
)
from scherzer.micrographs.threads import one_thread
from scherzer.physics.ctf import electron_wavelength_A
from scherzer.physics.optics import MM_TO_A, Optics

# Sectors of direction over the half turn: at 1000 A of astigmatism and 4 A, the phase changes by 0.2 rad in one.
SECTORS = 36
# Frequencies end a little inside the edge of the spectrum, where detectors and resampling leave their marks.
USABLE_EDGE = 0.95
# Peaks followed to their optimum. The second gives the confidence.
CANDIDATES = 4
# Phase shifts tried over half a turn where it is to be found.
PHASE_SHIFTS = 12
# Fits with fewer rings between the coarse end and the fit resolution follow the background.
MIN_RINGS = 1.0
# Least that a fit needs: pixels along a side, bins of frequency, and a band this much wider than its coarse end.
MIN_SIDE_PX, MIN_BINS, MIN_BAND = 64, 16, 1.3


def estimate_ctf(image: Tensor, optics: Optics, settings: CtfSettings | None = None) -> CtfFit:
    """Estimate the CTF of a micrograph (not dose-weighted) from its power spectrum.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``; or ``(g, h, w)``, sums of groups of frames, whose spectra are averaged: for frames that cannot be
        aligned, because the sum of aligned ones is fitted better. Values that are not finite count as the mean of the
        others.
    optics : Optics
        With the pixel size of the image.

    Returns
    -------
    CtfFit
        Always finite. An image without rings, whatever it is, gets a ``problem`` and the coarse end as fit resolution.

    Raises
    ------
    ValueError
        When the image has neither two nor three dimensions.

    References
    ----------
    Rohou and Grigorieff 2015, J. Struct. Biol. 192, 216, for the model and the fit resolution. The search differs: the
    background is fitted together with the rings, and the grid over astigmatism is exhaustive.
    """
    settings = settings or CtfSettings()
    if image.ndim not in (2, 3):
        raise ValueError(f"a CTF needs an image (h, w) or groups of frames (g, h, w), not {tuple(image.shape)}")
    groups = image if image.ndim == 3 else image[None]
    if min(groups.shape) == 0 or min(groups.shape[1:]) < MIN_SIDE_PX:
        return _no_fit(f"the image has {' x '.join(map(str, image.shape))} pixels, too few", optics, settings)
    with one_thread():
        return _fit_images(groups, optics, settings)


def _fit_images(groups: Tensor, optics: Optics, settings: CtfSettings) -> CtfFit:
    spectra = []
    for group in groups:
        filled = _finite(group)
        if filled is None:
            return _no_fit("the image is constant or has no finite values", optics, settings)
        levelled = level(filled, optics.pixel_size_A)
        spectra.append(power_spectrum(levelled, optics.pixel_size_A, settings.finest_pixel_A))
    fit = _fit(mean_spectrum(spectra), optics, settings)
    if not (settings.fit_tilt and fit.reliable and len(groups) == 1):
        return fit
    half = cmath.rect(fit.astigmatism_A / 2, 2 * fit.defocus_angle_rad)
    defocus = Astigmatic(fit.mean_defocus_A, half.real, half.imag)
    tilt = estimate_tilt(levelled, optics, defocus, fit.phase_shift_rad, settings.min_resolution_A)
    return replace(fit, tilt=tilt)


def _finite(image: Tensor) -> Tensor | None:
    """Return an image with the mean in place of what is not finite; None if nothing or no variation is left."""
    image = image.float()
    low, high = (float(value) for value in torch.aminmax(image))
    if not math.isfinite(high - low):
        finite = torch.isfinite(image)
        if not bool(finite.any()):
            return None
        image = torch.where(finite, image, image[finite].double().mean().float())
        low, high = (float(value) for value in torch.aminmax(image))
    if not high > low:
        return None
    # Squares of very large and very small values leave the range of single precision.
    extreme = not 1e-12 < high - low < 1e12
    return ((image.double() - low) / (high - low)).float() if extreme else image


def fit_power_spectrum(
    spectrum: Tensor,
    optics: Optics,
    settings: CtfSettings | None = None,
    kind: Literal["amplitude", "power"] = "amplitude",
) -> CtfFit:
    """Fit the CTF to a given spectrum, with its background.

    Parameters
    ----------
    spectrum : Tensor
        ``(s, s)``, zero frequency at ``[s // 2, s // 2]``, as RELION, CTFFIND and MotionCor2 write them.
    optics : Optics
        With the pixel size as which the spectrum is sampled.
    kind : {"amplitude", "power"}
        Whether the values are roots of the power.

    Returns
    -------
    CtfFit
        As :func:`estimate_ctf`, which differs only in making the spectrum itself.

    Raises
    ------
    ValueError
        When the spectrum is not square, or its values are negative or not finite.
    """
    size = spectrum.shape[-1]
    if spectrum.shape != (size, size) or size < MIN_SIDE_PX:
        raise ValueError(f"a spectrum is square, of at least {MIN_SIDE_PX} pixels a side, not {tuple(spectrum.shape)}")
    if not bool((torch.isfinite(spectrum) & (spectrum >= 0)).all()):
        raise ValueError("the values of a spectrum are finite and not negative; give it with its background")
    power = spectrum.float().square() if kind == "amplitude" else spectrum.float()
    settings = settings or CtfSettings()
    if float(power.max()) == float(power.min()):
        return _no_fit("the spectrum is constant", optics, settings)
    with one_thread():
        return _fit(given_spectrum(power, optics.pixel_size_A), optics, settings)


def _fit(spectrum: Spectrum, optics: Optics, settings: CtfSettings) -> CtfFit:
    edge = USABLE_EDGE * spectrum.edge_per_A
    coarse = 1 / settings.min_resolution_A
    if edge < MIN_BAND * coarse:
        return _no_fit(
            f"rings finer than {settings.min_resolution_A:.0f} A are beyond the pixel size", optics, settings
        )
    pixels = band(spectrum, 0.9 / DIRECTION_BAND_A[0], spectrum.edge_per_A)
    polar = polar_average(spectrum, pixels, 1 / DIRECTION_BAND_A[0], edge, SECTORS)
    everything = flatten(polar.between(coarse, edge))
    if len(everything.frequency_per_A) < MIN_BINS:
        return _no_fit("the image is too small for its pixel size", optics, settings)
    best, standing = _search(flatten(polar.between(coarse, 1 / settings.search_resolution_A)), optics, settings)
    if not math.isfinite(best.correlation + best.defocus.mean_A):
        return _no_fit("the power spectrum cannot be fitted", optics, settings)
    sure = confidence(standing)
    weak = f"no rings stand out of the power spectrum (confidence {sure:.2f}, {settings.rings_confidence:.2f} needed)"
    problem = "" if sure >= settings.rings_confidence else weak
    polished = None if problem else _polished(spectrum, pixels, best, optics, settings)
    defocus = polished.defocus if polished else best.defocus
    shift = polished.phase_shift_rad if polished else best.phase_shift_rad
    rings = aberration_of(everything.frequency_per_A, optics).shifted(shift)
    cs_wavelength2_A = optics.cs_mm * MM_TO_A * float(electron_wavelength_A(optics.voltage_kV)) ** 2
    profile = ring_profile(everything, rings, defocus, cs_wavelength2_A)
    coarse_end_A = float(1 / profile.frequency_per_A[0])
    resolution_A = coarse_end_A if problem else fit_resolution_A(profile)
    if not problem:
        followed = rings_between(rings, defocus.mean_A, profile.frequency_per_A, resolution_A)
        problem = _doubt(polished, followed, settings)
        if problem:
            polished, resolution_A, sure = None, coarse_end_A, NO_CONFIDENCE
    picture = ring_picture(spectrum, everything, profile, rings, defocus, cs_wavelength2_A, resolution_A)
    half_difference = math.hypot(defocus.cosine_A, defocus.sine_A)
    return CtfFit(
        defocus_u_A=defocus.mean_A + half_difference,
        defocus_v_A=defocus.mean_A - half_difference,
        defocus_angle_rad=(math.atan2(defocus.sine_A, defocus.cosine_A) / 2) % math.pi,
        phase_shift_rad=shift,
        score=max(0.0, best.correlation),
        fit_resolution_A=resolution_A,
        confidence=sure,
        problem=problem,
        defocus_error_A=polished.defocus_error_A if polished else math.inf,
        astigmatism_error_A=polished.astigmatism_error_A if polished else math.inf,
        phase_shift_error_rad=polished.phase_shift_error_rad if polished else math.inf,
        directional_loss=directional_loss(polar),
        spectrum=picture.values,
        spectrum_pixel_size_A=picture.pixel_size_A,
        profile=profile,
    )


def _search(flat: FlatSpectrum, optics: Optics, settings: CtfSettings) -> tuple[Candidate, Standing]:
    """Return the best fit and how it stands out."""
    rings = aberration_of(flat.frequency_per_A, optics)
    device = flat.modulation.device
    # Steps turn the ring phase by an eighth at the band's end.
    step_A = math.pi / 8 / float(rings.per_defocus[-1])
    means = torch.arange(settings.min_defocus_A, settings.max_defocus_A + step_A, step_A, device=device)
    halves = torch.arange(0, settings.max_astigmatism_A / 2 + step_A, step_A, device=device)
    shifts = [settings.phase_shift_rad]
    if settings.fit_phase_shift:
        shifts = [math.pi * index / PHASE_SHIFTS for index in range(PHASE_SHIFTS)]
    envelope = ring_envelope(flat)
    chance = chance_correlation(flat, rings, envelope)
    found = []
    for candidate in exhaustive_search(flat, rings, means, halves, shifts, envelope, chance, CANDIDATES):
        refined = refine(flat, rings, candidate, envelope, settings.max_astigmatism_A, chance, settings.fit_phase_shift)
        # What runs out of the range asked for is not followed there.
        inside = settings.min_defocus_A <= refined.defocus.mean_A <= settings.max_defocus_A
        found.append(refined if inside else candidate)
    found.sort(key=lambda candidate: candidate.correlation, reverse=True)
    apart_A = separation_A(rings, halves) - float(halves[1])
    rivals = [c.correlation for c in found if abs(c.defocus.mean_A - found[0].defocus.mean_A) >= apart_A]
    return found[0], Standing(found[0].correlation, max(rivals, default=0.0), chance)


def _polished(
    spectrum: Spectrum, pixels: Band, best: Candidate, optics: Optics, settings: CtfSettings
) -> Polished | None:
    """Fit the whole band with its fine detail, from the best fit of the search."""
    low, high = 1 / settings.min_resolution_A, min(1 / settings.max_resolution_A, USABLE_EDGE * spectrum.edge_per_A)
    wavelength_A = float(electron_wavelength_A(optics.voltage_kV))
    astigmatism_A = 2 * math.hypot(best.defocus.cosine_A, best.defocus.sine_A)
    numbers = cell_numbers(spectrum, low, high, wavelength_A, best.defocus.mean_A, astigmatism_A)
    fine = layout(pixels, low, high, *numbers).cells(spectrum.power)
    phases = aberration_of(torch.sqrt(fine.k2), optics)
    return polish(fine, phases, best.defocus, best.phase_shift_rad, ASTIGMATISM_TOLERANCE_A, settings.fit_phase_shift)


def _doubt(polished: Polished | None, rings: float, settings: CtfSettings) -> str:
    """Say why a fit that stands out is none all the same, or nothing."""
    if polished is None:
        return "the fit does not settle"
    # A defocus at the very end of the range may be found a little beyond.
    beyond_A = max(settings.min_defocus_A - polished.defocus.mean_A, polished.defocus.mean_A - settings.max_defocus_A)
    if beyond_A > 3 * polished.defocus_error_A:
        return f"the defocus leaves the range of {settings.min_defocus_A:.0f} to {settings.max_defocus_A:.0f} A"
    if rings < MIN_RINGS:
        return "the rings do not follow the fit"
    return ""


def _no_fit(problem: str, optics: Optics, settings: CtfSettings) -> CtfFit:
    """Return a fit of nothing, for what has no spectrum."""
    blank = torch.zeros(8)
    coarse_end = torch.full((8,), 1 / settings.min_resolution_A)
    return CtfFit(
        defocus_u_A=0.0,
        defocus_v_A=0.0,
        defocus_angle_rad=0.0,
        phase_shift_rad=0.0,
        score=0.0,
        fit_resolution_A=settings.min_resolution_A,
        confidence=0.0,
        problem=problem,
        defocus_error_A=math.inf,
        astigmatism_error_A=math.inf,
        phase_shift_error_rad=math.inf,
        directional_loss=0.0,
        spectrum=torch.full((MIN_SIDE_PX, MIN_SIDE_PX), 0.5),
        spectrum_pixel_size_A=max(optics.pixel_size_A, settings.finest_pixel_A),
        profile=CtfProfile(coarse_end, blank, blank, blank),
    )
