"""Several networks and several patches made into one estimate of a micrograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.contrast.network import PatchNetwork, cut_patches, with_denoised


@dataclass(frozen=True)
class Combination:
    """How members and patches are combined; fitted on validation data.

    Attributes
    ----------
    weights : Tensor
        ``(members,)``, sum 1.
    spread_scale, spread_floor : float
        The error of the estimate is this multiple of what the networks state, plus a floor in quadrature.
    """

    weights: Tensor
    spread_scale: float
    spread_floor: float


@torch.no_grad()
def estimate_patches(networks: Sequence[PatchNetwork], values: Tensor) -> tuple[Tensor, Tensor]:
    """Estimate ``log d'`` with each network over the patches of a whitened image.

    Patches count by the certainty that the network states for them, so that one filled by a contaminant counts little.

    Returns
    -------
    mean, spread : Tensor
        ``(members,)``: weighted mean over the patches and the weighted mean of their stated errors. The errors of the
        patches of one micrograph are not independent, so their mean does not fall with their number.
    """
    patches = cut_patches(values)
    means, spreads = [], []
    for network in networks:
        mean, spread = pool_patches(*network(with_denoised(patches, network.denoise)))
        means.append(mean)
        spreads.append(spread)
    return torch.stack(means), torch.stack(spreads)


def estimate_all(networks: Sequence[PatchNetwork], images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Estimate ``log d'`` of n whitened images; ``(n, members)`` each, as :func:`combine` takes them."""
    pairs = [estimate_patches(networks, image) for image in images]
    return torch.stack([mean for mean, _ in pairs]), torch.stack([spread for _, spread in pairs])


def pool_patches(mean: Tensor, log_spread: Tensor) -> tuple[Tensor, Tensor]:
    """Make one estimate of those of a micrograph's patches, ``(..., patches)`` each: see :func:`estimate_patches`."""
    weight = torch.softmax(-2 * log_spread, -1)
    return (weight * mean).sum(-1), (weight * log_spread.exp()).sum(-1)


def combine(means: Tensor, spreads: Tensor, combination: Combination) -> tuple[Tensor, Tensor]:
    """Combine the members' estimates.

    Parameters
    ----------
    means, spreads : Tensor
        ``(n, members)``.

    Returns
    -------
    mean, spread : Tensor
        ``(n,)``; disagreement between the members is part of the error.
    """
    weights = combination.weights
    mean = means @ weights
    disagreement = ((means - mean[:, None]) ** 2) @ weights
    stated = spreads.square() @ weights
    spread = torch.sqrt(combination.spread_scale**2 * (stated + disagreement) + combination.spread_floor**2)
    return mean, spread
