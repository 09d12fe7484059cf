"""The last step of a CTF fit: rings whose depth falls off with frequency, by least squares."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.micrographs.ctf_search import Astigmatic, fit_weight, ring_envelope
from scherzer.micrographs.ring_model import Aberration, FlatSpectrum

# Unit of the optimiser's defocus parameters, A, so that all its parameters are of order one.
DEFOCUS_UNIT_A = 100.0


def polish(flat: FlatSpectrum, optics: Aberration, start: Astigmatic, max_astigmatism_A: float) -> Astigmatic:
    """Fit defocus, astigmatism, angle and the fall-off of the rings together.

    The model of the log power is ``background + log(1 + exp(a - b k^2) sin^2 chi)``: signal over noise with a Gaussian
    envelope. The correlation of the search knows neither the fall-off within a ring nor that strong rings are not
    cosines in the logarithm; both shift the few wide rings of a small defocus by up to 5 %.

    Parameters
    ----------
    start : Astigmatic
        Within half a ring of the answer.
    """
    k2 = (flat.frequency_per_A / flat.frequency_per_A[-1]).square()
    cosine, sine = torch.cos(2 * flat.angle_rad), torch.sin(2 * flat.angle_rad)
    rings = optics.rings(start.towards(flat.angle_rad)[:, None]) @ flat.remover.T
    envelope = ring_envelope(flat, rings)
    weight = fit_weight(flat, envelope)
    depth = float((2 * envelope[: len(envelope) // 4]).mean().clamp_min(1e-3).log())
    parameters = torch.tensor(
        [start.mean_A / DEFOCUS_UNIT_A, start.cosine_A / DEFOCUS_UNIT_A, start.sine_A / DEFOCUS_UNIT_A, depth, 1.0],
        device=flat.modulation.device,
        requires_grad=True,
    )
    optimiser = torch.optim.LBFGS([parameters], max_iter=60, line_search_fn="strong_wolfe", tolerance_change=1e-9)
    norm = (flat.modulation.square() @ weight).sum()

    def closure() -> Tensor:
        optimiser.zero_grad()
        defocus = DEFOCUS_UNIT_A * (parameters[0] + parameters[1] * cosine + parameters[2] * sine)
        sine_squared = (1 + optics.rings(defocus[:, None])) / 2
        model = torch.log1p(
            torch.exp((parameters[3] - torch.nn.functional.softplus(parameters[4]) * k2).clamp_max(8)) * sine_squared
        )
        misfit = (flat.modulation - model @ flat.remover.T).square() @ weight
        astigmatism = 2 * DEFOCUS_UNIT_A * torch.sqrt(parameters[1:3].square().sum() + 1e-6)
        loss: Tensor = misfit.sum() / norm + 10 * torch.relu(astigmatism / max_astigmatism_A - 1).square()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[arg-type,no-untyped-call]
    mean, c, s = (DEFOCUS_UNIT_A * parameters.detach()[:3]).tolist()
    fitted = Astigmatic(mean, c, s)
    half_ring_A = torch.pi / 2 / float(optics.per_defocus[-1])
    finite = bool(torch.isfinite(parameters.detach()).all())
    # A polish that leaves the ring it started on has lost its way, not found a better answer.
    return fitted if finite and abs(mean - start.mean_A) < 2 * half_ring_A else start
