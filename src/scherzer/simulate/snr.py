"""The true signal-to-noise ratio of every particle, from the formulas by which its image is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.physics.dose import mean_survival
from scherzer.physics.visibility import detectability, own_band_A
from scherzer.simulate.detector import detector_named, signal_transfer
from scherzer.simulate.ice import mean_power, slab_spectrum, transmission, water_decay_per_e, water_noise_density
from scherzer.simulate.lens import Lens
from scherzer.simulate.placement import Placement
from scherzer.simulate.plan import ExposurePlan
from scherzer.simulate.ring_power import RING_PER_A, ring_frequencies, ring_power
from scherzer.simulate.settings import SimulationSettings
from scherzer.simulate.specimen import Specimen, project

# Bands whose ratios are told, A; an image has those that lie within its Nyquist frequency.
BANDS_A = ((100, 30), (30, 15), (15, 8), (8, 5), (5, 4), (4, 3), (3, 2))
SEARCH_BAND_A = (100.0, 20.0)
# With astigmatism the CTF changes along a ring; it is sampled in so many directions.
DIRECTIONS = 6
BATCH = 32


def snr_columns(pixel_size_A: float) -> dict[str, tuple[int, int]]:
    """Return the columns of ratios that images of a pixel size have, with their bands in A."""
    return {f"sczSnr{low}To{high}": (low, high) for low, high in BANDS_A if high >= 2 * pixel_size_A}


def view_power(specimen: Specimen, rotations: Tensor, pixel_size_A: float) -> Tensor:
    """Return the power of whole particles in their usual shape, as `ring_power` gives it."""
    box = specimen.box_px(pixel_size_A)
    parts = [
        ring_power(project(specimen, some, torch.zeros(len(some), 2), box, pixel_size_A), pixel_size_A)
        for some in rotations.split(BATCH)
    ]
    return torch.cat(parts)


def particle_snr(
    specimen: Specimen,
    placement: Placement,
    plan: ExposurePlan,
    settings: SimulationSettings,
    power: Tensor | None = None,
    film_A: NDArray[np.float32] | None = None,
) -> pd.DataFrame:
    """Signal-to-noise ratio by bands, and detectability, of particles in the plain sum of an exposure's frames.

    With S(k) the transform of a particle's own relative contrast as it reaches the counts (CTF at its height,
    envelopes, fading, camera, electrons out of focus) and N(k) the power spectral density of the noise (electrons
    counted, and the structure of the moving ice behind the same lens and camera), both averaged over directions,

        SNR(band) = integral over the band of |S|^2 d^2k / (A integral over the band of N d^2k),
        d'^2 = integral of |S|^2 / N d^2k,

    A being the area of a circle of the particle's diameter: the ratio of the powers that signal and noise have there.
    The specimen is taken to be at rest; neighbours and the disorder of damaged particles are left out.

    Parameters
    ----------
    specimen : Specimen
        The particle.
    placement : Placement
        The particles that are asked for.
    plan : ExposurePlan
        Defocus and thickness.
    settings : SimulationSettings
        All else.
    power : Tensor, optional
        ``(n, m)`` from :func:`scherzer.simulate.ring_power.ring_power`, of the particles as they are, deformed or
        broken. Without it whole particles are projected, which takes longer than all else, and the rows of broken ones
        hold NaN.
    film_A : ndarray, optional
        ``(n,)``, thickness of the film where each particle lies; without it the mean.

    Returns
    -------
    DataFrame
        ``n`` rows: `snr_columns`, and ``sczDetectability`` in the specimen's own band, that contrast classes are cut by
        (:func:`scherzer.physics.visibility.own_band_A`), ``sczDetectability100To20`` and ``sczDetectabilityTotal``, to
        Nyquist.
    """
    pixel_size_A = settings.microscope.pixel_size_A
    columns = snr_columns(pixel_size_A)
    labels = [*columns, "sczDetectability", "sczDetectability100To20", "sczDetectabilityTotal"]
    if not len(placement):
        return pd.DataFrame(columns=labels, dtype=np.float64)
    film = np.full(len(placement), plan.thickness_A) if film_A is None else film_A
    views = view_power(specimen, placement.rotations, pixel_size_A) if power is None else power
    k = ring_frequencies(pixel_size_A)
    if views.shape[1:] != k.shape:
        raise ValueError(f"powers are given at {views.shape[1]} frequencies, the rings are {len(k)}")
    imaging = _imaging(plan, settings, torch.from_numpy(np.asarray(film, dtype=np.float32)), k)
    ctf2 = _squared_ctf(plan, settings, torch.from_numpy(placement.height_A), k)
    signal = views.double() * pixel_size_A**4 * imaging.transfer2 * imaging.left2 * ctf2
    noise = imaging.shot_A2 + imaging.ice_A2
    area_A2 = math.pi * specimen.radius_A**2

    found = {
        label: (signal * _ring_areas(k, *band)).sum(1) / (area_A2 * (noise * _ring_areas(k, *band)).sum(1))
        for label, band in columns.items()
    }
    bands = (own_band_A(2 * specimen.radius_A), SEARCH_BAND_A, (math.inf, pixel_size_A))
    for label, ends in zip(labels[-3:], bands, strict=True):
        found[label] = detectability(signal, noise, _ring_areas(k, *ends))
    table = pd.DataFrame({label: values.numpy() for label, values in found.items()})
    if power is None:
        table.loc[placement.broken] = np.nan
    return table


def _ring_areas(k: Tensor, low_A: float, high_A: float) -> Tensor:
    """Area of the Fourier plane that each ring has within a band, 1/A^2."""
    inner, outer = (k - RING_PER_A / 2).clamp(min=1 / low_A), (k + RING_PER_A / 2).clamp(max=1 / high_A)
    return 2 * math.pi * k * (outer - inner).clamp(min=0)


def _squared_ctf(plan: ExposurePlan, settings: SimulationSettings, height_A: Tensor, k: Tensor) -> Tensor:
    """Mean over directions of the squared CTF at n heights: ``(n, m)``."""
    parameters = plan.parameters(settings)
    wavelength_A, cs_A = float(parameters.wavelength_A), float(parameters.cs_A)
    offset = float(parameters.phase_shift_rad + torch.asin(parameters.amplitude_contrast))
    mean_A, half_A = (plan.defocus_u_A + plan.defocus_v_A) / 2, (plan.defocus_u_A - plan.defocus_v_A) / 2
    total = torch.zeros(len(height_A), len(k), dtype=torch.float64)
    for direction in range(DIRECTIONS):
        defocus_A = mean_A + half_A * math.cos(math.pi * (direction + 0.5) / DIRECTIONS) + height_A[:, None]
        phase = math.pi * wavelength_A * k**2 * (defocus_A - cs_A * wavelength_A**2 * k**2 / 2) + offset
        total += torch.sin(phase) ** 2
    return total / DIRECTIONS


@dataclass(frozen=True)
class _Imaging:
    """What becomes of signal and noise at m frequencies, ``(m,)``, ``(n, m)`` or ``(n, 1)`` for n thicknesses.

    Attributes
    ----------
    transfer2 : Tensor
        Square of relative intensity over potential, without the CTF.
    left2 : Tensor
        Square of what radiation leaves of the particles' amplitude.
    ice_A2, shot_A2 : Tensor
        Densities of the noise of ice and of counting.
    """

    transfer2: Tensor
    left2: Tensor
    ice_A2: Tensor
    shot_A2: Tensor


def _imaging(plan: ExposurePlan, settings: SimulationSettings, film_A: Tensor, k: Tensor) -> _Imaging:
    microscope, dose_e_per_A2 = settings.microscope, settings.exposure.dose_e_per_A2
    lens = Lens(microscope, plan.parameters(settings))
    camera = detector_named(settings.detector.name, microscope.voltage_kV)
    bright, sharp = transmission(film_A.numpy(), microscope.voltage_kV, microscope.energy_filter)
    transfer = lens.contrast_per_V_A(k) * signal_transfer(camera, k, microscope.pixel_size_A)
    if sharp is not None:
        transfer = transfer * torch.from_numpy(sharp)[:, None]
    decays = water_decay_per_e(k, settings.ice.water_motion_A2_per_e) * dose_e_per_A2
    water = water_noise_density(k, 1.0) * mean_power(decays) * film_A[:, None]
    constant, slope = slab_spectrum(k, lens.wavelength_A, plan.thickness_A)
    slab = constant + slope * _squared_ctf(plan, settings, torch.zeros(1), k)
    counted = dose_e_per_A2 * camera.counted(settings.detector.dose_rate_e_per_px_s) * torch.from_numpy(bright)
    return _Imaging(
        transfer2=transfer**2,
        left2=mean_survival(k, 0.0, dose_e_per_A2, microscope.voltage_kV) ** 2,
        ice_A2=transfer**2 * water * slab,
        shot_A2=1 / counted[:, None],
    )
