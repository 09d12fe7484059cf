"""How far out, and in which directions, the rings of a spectrum are there and follow the fit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.ctf_search import Astigmatic
from scherzer.micrographs.ring_model import Aberration, FlatSpectrum
from scherzer.micrographs.spectrum import PolarSpectrum

# Agreement that separates fitted from lost rings: halfway between the two levels of CTFFIND's rule.
GOOD_AGREEMENT = 0.5
# Width of the window in which agreement is measured, as the sigma of a Gaussian, in rings.
WINDOW_RINGS = 0.75
WINDOW_BINS = 4.0
# Band of the power whose evenness over direction is judged, A: coarse enough to outlast a heavy drift.
DIRECTION_BAND_A = (100.0, 20.0)


@dataclass(frozen=True)
class CtfProfile:
    """A spectrum averaged along the lines of equal CTF phase, for the eye and for the fit resolution.

    Attributes
    ----------
    frequency_per_A : Tensor
        ``(m,)``, at the mean defocus.
    data : Tensor
        ``(m,)``, modulation of the log power about its background.
    model : Tensor
        ``(m,)``, fitted rings on the same scale.
    agreement : Tensor
        ``(m,)``, correlation of the two in a window of about two rings, -1 to 1.
    """

    frequency_per_A: Tensor
    data: Tensor
    model: Tensor
    agreement: Tensor


def frequency_of_equal_phase(
    frequency_per_A: Tensor, defocus_A: Tensor, other_defocus_A: Tensor, cs_wavelength2_A: float
) -> Tensor:
    """Return where, at another defocus, the CTF has the phase that it has here; shapes broadcast.

    Solves ``z q - c q^2 / 2 = Z Q - c Q^2 / 2`` for ``q = k^2``, with ``c = Cs lambda^2``, in the form that stays
    finite when Cs is zero. Where the other CTF never reaches the phase, the turning point of its phase is returned, and
    the highest of frequencies where it is overfocus without one.
    """
    k2 = frequency_per_A.square()
    phase = k2 * (defocus_A - cs_wavelength2_A * k2 / 2)
    root = torch.sqrt((other_defocus_A.square() - 2 * cs_wavelength2_A * phase).clamp_min(0))
    return torch.sqrt((2 * phase / (other_defocus_A + root).clamp_min(1.0)).clamp_min(0))


def equal_phase_average(values: Tensor, frequency_per_A: Tensor, at_per_A: Tensor) -> Tensor:
    """Average rows sampled at their own frequencies; ``(sectors, m)`` at ``(sectors, m)`` gives ``(m,)``."""
    step = frequency_per_A[1] - frequency_per_A[0]
    position = ((at_per_A - frequency_per_A[0]) / step).clamp(0, len(frequency_per_A) - 1.001)
    lower = position.long()
    share = position - lower
    sampled = torch.gather(values, 1, lower) * (1 - share) + torch.gather(values, 1, lower + 1) * share
    return sampled.mean(0)


def ring_profile(flat: FlatSpectrum, optics: Aberration, defocus: Astigmatic, cs_wavelength2_A: float) -> CtfProfile:
    """Average a flattened spectrum along the lines of equal phase and compare it with the fitted rings."""
    k = flat.frequency_per_A
    directions = defocus.towards(flat.angle_rad)
    at = frequency_of_equal_phase(k, torch.full_like(k, defocus.mean_A), directions[:, None], cs_wavelength2_A)
    rings = optics.rings(directions[:, None]) @ flat.remover.T
    data = equal_phase_average(flat.modulation, k, at)
    model = equal_phase_average(rings, k, at)
    window = _window(optics, defocus.mean_A, k)
    overlap, power, norm = window @ (data * model), window @ data.square(), window @ model.square()
    agreement = overlap / torch.sqrt(power * norm).clamp_min(1e-12)
    depth = (overlap / norm.clamp_min(1e-6)).clamp_min(0)
    return CtfProfile(k, data, model * depth, agreement)


def _window(optics: Aberration, defocus_A: float, frequency_per_A: Tensor) -> Tensor:
    """Return Gaussian windows as wide as the rings around every frequency; ``(m, m)``."""
    phase = (optics.per_defocus * defocus_A + optics.rest_rad) / torch.pi
    bins_per_ring = 1 / torch.gradient(phase)[0].abs().clamp_min(1e-4)
    width = (WINDOW_RINGS * bins_per_ring).clamp(WINDOW_BINS, len(phase) / 8)
    position = torch.arange(len(phase), device=phase.device, dtype=torch.float32)
    return torch.exp(-0.5 * ((position - position[:, None]) / width[:, None]).square())


def fit_resolution_A(profile: CtfProfile) -> float:
    """Return the resolution to which the rings follow the fit, A; the coarse end of the profile where none does.

    CTFFIND takes the first drop of the agreement. One drop at low frequency, where the particles' own form factor has
    fringes, then hides all that follows; here the end is put where the sum of (agreement - 0.5) is largest.
    """
    gain = torch.cumsum(profile.agreement - GOOD_AGREEMENT, 0)
    last = int(gain.argmax())
    if float(gain[last]) <= 0:
        last = 0
    return float(1 / profile.frequency_per_A[last])


def rings_between(optics: Aberration, defocus_A: float, frequency_per_A: Tensor, resolution_A: float) -> float:
    """Return how many rings of a defocus lie between the coarse end of the frequencies and a resolution."""
    phase = optics.per_defocus * defocus_A + optics.rest_rad
    within = phase[frequency_per_A <= 1.001 / resolution_A]
    return float((within[1:] - within[:-1]).abs().sum()) / torch.pi


def directional_loss(polar: PolarSpectrum) -> float:
    """Return how unevenly the signal is spread over direction: 0 for an even spectrum, towards 1 where it is smeared.

    Drift multiplies the spectrum by a sinc along its direction and so leaves signal only across it. Measured as the
    two-fold harmonic of the power above noise between 100 and 20 A, relative to its mean; astigmatism has little effect
    there. Needs no rings, which drift may have taken altogether. 0 where there is no signal above its own scatter,
    because an empty image is not a drifted one.

    Parameters
    ----------
    polar : PolarSpectrum
        From 100 A or coarser to the edge, whose outer fifth is taken for noise.
    """
    k = polar.frequency_per_A
    floor = polar.power[:, k > k[-1] * 0.8].mean()
    band = (k >= 1 / DIRECTION_BAND_A[0]) & (k <= 1 / DIRECTION_BAND_A[1])
    count = polar.count[:, band]
    excess = ((polar.power[:, band] - floor) * count).sum(1) / count.sum(1).clamp_min(1e-6)
    axes = torch.stack([torch.cos(2 * polar.angle_rad), torch.sin(2 * polar.angle_rad)])
    harmonic = 2 * (axes @ excess) / len(excess)
    rest = excess - excess.mean() - harmonic @ axes
    error = float(rest.std()) / len(excess) ** 0.5
    mean = float(excess.mean())
    if mean <= 3 * error:
        return 0.0
    amplitude = max(float(harmonic.square().sum()) - 4 * error**2, 0.0) ** 0.5
    return min(1.0, amplitude / mean)
