"""Smoothing of a measured drift, as strongly as the noise of its measurement asks for."""

from __future__ import annotations

import torch
from torch import Tensor

# Ratios of roughness to noise tried: from a straight line to no smoothing at all.
RATIOS = torch.logspace(-4, 6, 61, dtype=torch.float64)


def polynomial_fit(positions: Tensor, order: int) -> Tensor:
    """Return the least-squares polynomial through ``(n, 2)`` positions in time, at the same times."""
    n = len(positions)
    time = torch.linspace(-1, 1, n, dtype=torch.float64, device=positions.device)
    basis, _ = torch.linalg.qr(torch.stack([time**power for power in range(min(order, n - 1) + 1)], dim=1))
    return (basis @ (basis.T @ positions.double())).to(positions.dtype)


def smooth(positions: Tensor, variance: Tensor) -> Tensor:
    """Smooth positions in time; their noise is smoothed away, true jitter is kept.

    Whittaker's smoother, read as a prior: second differences are normal with an unknown variance, which is the one
    that makes the measured positions most probable (empirical Bayes). With the noise known, smooth drifts and rough
    ones are told apart, which cross-validation on a few tens of frames does not do. Fewer than five positions are
    returned as they are.

    Parameters
    ----------
    positions : Tensor
        ``(n, 2)``.
    variance : Tensor
        ``(n, 2)``, of the measurement of each; their mean is used.

    References
    ----------
    Eilers 2003, Anal. Chem. 75, 3631.
    """
    n = len(positions)
    if n < 5:
        return positions
    values = positions.double()
    noise = float(variance.double().mean().clamp_min(1e-12))
    identity = torch.eye(n, dtype=torch.float64, device=positions.device)
    second = identity[2:] - 2 * identity[1:-1] + identity[:-2]
    bending, modes = torch.linalg.eigh(second.T @ second)
    # The first two modes, offset and slope, do not bend and are kept whole.
    bending = bending[2:]
    power = (modes.T @ values)[2:].square()
    prior = RATIOS.to(positions.device)[:, None] / bending
    spread = noise * (1 + prior)
    evidence = -(power.sum(1) / spread + 2 * torch.log(spread)).sum(1) / 2
    chosen = prior[evidence.argmax()]
    kept = torch.cat([torch.ones(2, dtype=torch.float64, device=positions.device), chosen / (1 + chosen)])
    return (modes @ (kept[:, None] * (modes.T @ values))).to(positions.dtype)
