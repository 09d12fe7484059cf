"""Which defocus, astigmatism and angle explain the rings of a spectrum best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.ring_model import Aberration, FlatSpectrum

# Width of the prior on the difference of the two defoci, A (CTFFIND's expected tolerated astigmatism: 200 to 500).
ASTIGMATISM_TOLERANCE_A = 500.0
# Defoci most of which are wrong for any micrograph, A.
CHANCE_DEFOCUS_A = (2000.0, 60000.0)


@dataclass(frozen=True)
class Astigmatic:
    """A defocus that depends on direction: ``mean + cosine cos 2a + sine sin 2a``, A."""

    mean_A: float
    cosine_A: float
    sine_A: float

    def towards(self, angle_rad: Tensor) -> Tensor:
        """Return the defocus in the given directions, A."""
        return self.mean_A + self.cosine_A * torch.cos(2 * angle_rad) + self.sine_A * torch.sin(2 * angle_rad)


@dataclass(frozen=True)
class Candidate:
    """A local optimum of the search and its normalised correlation with the spectrum."""

    defocus: Astigmatic
    phase_shift_rad: float
    correlation: float


def ring_envelope(flat: FlatSpectrum, rings: Tensor | None = None) -> Tensor:
    """Estimate how deep the rings are at each frequency; ``(m,)``.

    Without a model it is the rms modulation above what noise explains, smoothed over a tenth of the band; with one,
    the smoothed projection on the model. The floor of a twentieth keeps frequencies without visible rings in play.
    """
    if rings is None:
        excess = flat.modulation.square().mean(0) - noise_variance(flat)
        depth = torch.sqrt(_smooth(excess, flat.count).clamp_min(0) * 2)
    else:
        overlap = _smooth((flat.modulation * rings).mean(0), flat.count)
        depth = overlap / _smooth(rings.square().mean(0), flat.count).clamp_min(0.05)
    return depth.clamp_min(0.05 * float(depth.max().clamp_min(1e-3)))


def noise_variance(flat: FlatSpectrum) -> Tensor:
    """Return the variance of the modulation between neighbouring bins, as expected from counts; ``(m,)``."""
    rough = (flat.modulation[:, 2:] - 2 * flat.modulation[:, 1:-1] + flat.modulation[:, :-2]).square().mean(0) / 6
    per_pixel = torch.quantile(rough * flat.count[1:-1], 0.4)
    return per_pixel / flat.count


def _smooth(values: Tensor, weight: Tensor) -> Tensor:
    """Average over a window of a tenth of the band, weighted."""
    m = len(values)
    position = torch.arange(m, device=values.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * ((position[:, None] - position) / (m / 20)).square()) * weight
    return (kernel @ values) / kernel.sum(1)


def fit_weight(flat: FlatSpectrum, envelope: Tensor) -> Tensor:
    """Return the weight of each frequency, one over the variance of what the ring model leaves; ``(m,)``.

    Besides noise, a model of strong rings is off by a share of their depth (form factor of the particles), which
    keeps a few strong rings at low frequency from outvoting the many weak ones that fix the defocus.
    """
    return 1 / (noise_variance(flat) + 0.25 * envelope.square()).clamp_min(1e-12)


def scan(flat: FlatSpectrum, optics: Aberration, defocus_A: Tensor, envelope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Correlate every direction with the rings of every defocus.

    Returns
    -------
    cross, norm : Tensor
        ``(sectors, n)`` and ``(n,)``, for ``defocus_A`` of shape ``(n,)``.
    power : Tensor
        Scalar, the spectrum's own norm over all directions.
    """
    weight = fit_weight(flat, envelope)
    models = (optics.rings(defocus_A[:, None]) * envelope) @ flat.remover.T
    return (flat.modulation * weight) @ models.T, models.square() @ weight, (flat.modulation.square() @ weight).sum()


def exhaustive_search(
    flat: FlatSpectrum,
    optics: Aberration,
    defocus_A: Tensor,
    half_astigmatism_A: Tensor,
    phase_shifts_rad: Sequence[float],
    envelope: Tensor,
    chance: float,
    candidates: int,
) -> list[Candidate]:
    """Try every phase shift, mean defocus, astigmatism and angle of a grid; return the best of each separate defocus.

    Parameters
    ----------
    optics : Aberration
        Without phase shift.
    defocus_A : Tensor
        ``(n,)``, evenly spaced.
    half_astigmatism_A : Tensor
        ``(a,)``, half differences of the two defoci to try, 0 first.
    phase_shifts_rad : sequence of float
        Phase shifts to try; one where it is known.
    envelope : Tensor
        ``(m,)``, depth of the rings.
    chance : float
        From :func:`chance_correlation`.
    """
    tried = [
        _best_astigmatism(flat, optics.shifted(shift), defocus_A, half_astigmatism_A, envelope, chance)
        for shift in phase_shifts_rad
    ]
    values, which = torch.stack([value for value, _ in tried]).max(0)
    step = float(defocus_A[1] - defocus_A[0])
    apart = max(1, round(separation_A(optics, half_astigmatism_A) / step))
    found = []
    for i in separate_peaks(values, candidates, apart):
        half, axis = tried[int(which[i])][1][i].tolist()
        defocus = Astigmatic(float(defocus_A[i]), half * math.cos(2 * axis), half * math.sin(2 * axis))
        found.append(Candidate(defocus, phase_shifts_rad[int(which[i])], float(values[i])))
    return found


def _best_astigmatism(
    flat: FlatSpectrum,
    optics: Aberration,
    defocus_A: Tensor,
    half_astigmatism_A: Tensor,
    envelope: Tensor,
    chance: float,
) -> tuple[Tensor, Tensor]:
    """Return the correlation of the best astigmatism at every mean defocus ``(n,)``, and half its size and its axis.

    The correlation of an astigmatic model is the sum over directions of one-dimensional ones, so that the whole grid
    costs one matrix product and some look-ups.
    """
    cross, norm, power = scan(flat, optics, defocus_A, envelope)
    step = float(defocus_A[1] - defocus_A[0])
    axes = torch.arange(0, torch.pi, torch.pi / 12, device=defocus_A.device)
    best = torch.full_like(defocus_A, -1)
    choice = torch.zeros(len(defocus_A), 2, device=defocus_A.device)
    grid = torch.arange(len(defocus_A), device=defocus_A.device)
    for half in half_astigmatism_A.tolist():
        for axis in axes.tolist() if half > 0 else [0.0]:
            offset = torch.round(half * torch.cos(2 * (flat.angle_rad - axis)) / step).long()
            index = (grid + offset[:, None]).clamp(0, len(grid) - 1)
            raw = torch.gather(cross, 1, index).sum(0) / torch.sqrt(norm[index].sum(0) * power).clamp_min(1e-20)
            value = raw - penalty(2 * half, raw, chance)
            better = value > best
            best = torch.where(better, value, best)
            astigmatism = torch.tensor([half, axis], device=best.device)
            choice = torch.where(better[:, None], astigmatism, choice)
    return best, choice


def chance_correlation(flat: FlatSpectrum, optics: Aberration, envelope: Tensor) -> float:
    """Return the standard deviation of the correlation with wrong defoci, from the median over all in use."""
    step_A = torch.pi / 8 / float(optics.per_defocus[-1])
    defocus_A = torch.arange(*CHANCE_DEFOCUS_A, step_A, device=envelope.device)
    cross, norm, power = scan(flat, optics, defocus_A, envelope)
    values = cross.sum(0) / torch.sqrt(norm * len(flat.angle_rad) * power).clamp_min(1e-20)
    return float(1.48 * (values - values.median()).abs().median())


def penalty(astigmatism_A: Tensor | float, correlation: Tensor, chance: float) -> Tensor:
    """Return how much correlation an astigmatism must bring to be believed.

    Minus the log of a Gaussian prior of width ``ASTIGMATISM_TOLERANCE_A``, in units of correlation: the log likelihood
    is ``correlation^2 / (2 chance^2)``. Strong rings hardly feel it; weak ones would else be fitted to noise.
    """
    prior = (astigmatism_A / ASTIGMATISM_TOLERANCE_A) ** 2 / 2
    return prior * chance**2 / correlation.detach().clamp_min(2 * chance + 1e-6)


def separation_A(optics: Aberration, half_astigmatism_A: Tensor) -> float:
    """Return how far apart the mean defoci of two different answers are, A.

    Nearer ones differ by less than half a ring at the end of the band in some direction: where drift leaves rings in
    one direction only, a different mean with a different astigmatism is the same answer.
    """
    half_ring_A = torch.pi / 2 / float(optics.per_defocus[-1])
    return half_ring_A + float(half_astigmatism_A.max())


def separate_peaks(values: Tensor, wanted: int, apart: int) -> list[int]:
    """Return the indices of the highest local maxima that lie at least so far apart, best first."""
    padded = torch.nn.functional.pad(values, (1, 1), value=-torch.inf)
    peaks = torch.nonzero((values >= padded[:-2]) & (values > padded[2:])).flatten()
    chosen: list[int] = []
    for index in peaks[torch.argsort(values[peaks], descending=True)].tolist():
        if all(abs(index - other) >= apart for other in chosen):
            chosen.append(index)
        if len(chosen) == wanted:
            break
    return chosen or [int(values.argmax())]


def refine(
    flat: FlatSpectrum,
    optics: Aberration,
    start: Candidate,
    envelope: Tensor,
    max_astigmatism_A: float,
    chance: float,
    fit_phase_shift: bool = False,
) -> Candidate:
    """Follow a candidate to its optimum in continuous defocus, astigmatism and angle, and phase shift (L-BFGS).

    A wall keeps the astigmatism below its limit, and the prior of :func:`penalty` holds it where rings are weak.
    """
    weight = fit_weight(flat, envelope)
    power = (flat.modulation.square() @ weight).sum()
    scale = 100.0
    begin = start.defocus
    parameters = torch.tensor(
        [begin.mean_A / scale, begin.cosine_A / scale, begin.sine_A / scale, start.phase_shift_rad],
        device=flat.modulation.device,
        requires_grad=True,
    )
    cosine, sine = torch.cos(2 * flat.angle_rad), torch.sin(2 * flat.angle_rad)
    optimiser = torch.optim.LBFGS([parameters], max_iter=40, line_search_fn="strong_wolfe", tolerance_change=1e-8)

    def correlation() -> Tensor:
        defocus = scale * (parameters[0] + parameters[1] * cosine + parameters[2] * sine)
        shift = parameters[3] if fit_phase_shift else parameters[3].detach()
        model = (optics.shifted(shift).rings(defocus[:, None]) * envelope) @ flat.remover.T
        overlap = ((flat.modulation * model) @ weight).sum()
        return overlap / torch.sqrt(power * (model.square() @ weight).sum() + 1e-20)

    def closure() -> Tensor:
        optimiser.zero_grad()
        # The square root of a positive number: the norm itself has no gradient at zero, where every scan may start.
        astigmatism = 2 * scale * torch.sqrt(parameters[1:3].square().sum() + 1e-6)
        excess = torch.relu(astigmatism / max_astigmatism_A - 1)
        value = correlation()
        loss = -value + penalty(astigmatism, value, chance) + 10 * excess.square()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[arg-type,no-untyped-call]
    mean, c, s, shift = parameters.detach().tolist()
    value = float(correlation().detach())
    if not all(math.isfinite(number) for number in (mean, c, s, shift, value)):
        return start
    phase_shift_rad = shift % math.pi if fit_phase_shift else start.phase_shift_rad
    return Candidate(Astigmatic(scale * mean, scale * c, scale * s), phase_shift_rad, value)
