"""Fitting the patch networks and the way they are combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scherzer.micrographs.contrast.ensemble import Combination, combine
from scherzer.micrographs.contrast.network import PATCH_PX, PatchNetwork, cut_patches, with_denoised

# Tried for the error of the combination; see Combination.
SPREAD_SCALES = np.geomspace(0.4, 4.0, 24)
SPREAD_FLOORS = (0.01, 0.03, 0.05, 0.08, 0.12)
# Degrees of freedom of Student's distribution, and the error from which on the robust loss grows only linearly; both
# are parametric choices.
FREEDOM, LARGE_ERROR = 4.0, 0.15


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is fitted.

    Attributes
    ----------
    steps : int
        Batches.
    batch : int
        Patches in a batch.
    learning_rate : float
        Largest; it rises over the first tenth of the steps and falls to zero as a cosine.
    weight_decay : float
        Of AdamW.
    augment : bool
        Patches anywhere, turned and mirrored; without it those that cover the image, as they are.
    denoise : bool
        Give the network the low-pass of its patches.
    """

    steps: int = 5500
    batch: int = 16
    learning_rate: float = 4e-3
    weight_decay: float = 2e-2
    augment: bool = True
    denoise: bool = True


def fit_network(
    images: Tensor | Sequence[Tensor],
    log_d_prime: Tensor,
    settings: TrainingSettings,
    seed: int,
    progress: Callable[[float, str], None] | None = None,
) -> PatchNetwork:
    """Fit one network; the result depends on nothing but the arguments.

    Parameters
    ----------
    images : Tensor or sequence of Tensor
        ``n`` whitened images ``(h, w)``, of any sizes from that of a patch.
    log_d_prime : Tensor
        ``(n,)``.
    settings : TrainingSettings
        Schedule.
    seed : int
        Of the initial weights and of the patches drawn.
    """
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = PatchNetwork(settings.denoise)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    running = 0.0
    for step in range(settings.steps):
        chosen = rng.integers(0, len(images), settings.batch)
        patches = torch.stack([draw_patch(images[index], rng, settings.augment) for index in chosen])
        seen = with_denoised(patches, settings.denoise).contiguous(memory_format=torch.channels_last)
        mean, log_spread = network(seen)
        wanted = log_d_prime[torch.from_numpy(chosen)]
        error = wanted - mean
        loss = estimate_loss(mean, log_spread, wanted)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        running += 0.02 * (float(error.detach().square().mean()) - running)
        if progress and step % 50 == 49:
            progress((step + 1) / settings.steps, f"rms error of log d' {running**0.5:.3f}")
    return network.eval()


def estimate_loss(mean: Tensor, log_spread: Tensor, wanted: Tensor) -> Tensor:
    """Mean loss of estimates, ``(n,)`` each: Student's likelihood with the stated error, and a robust error besides.

    Likelihood alone lets hard images go once their stated error is large. Neither follows a patch that tells nothing,
    as where a few large particles lie elsewhere.
    """
    relative = (wanted - mean) * torch.exp(-log_spread)
    likelihood = log_spread + (FREEDOM + 1) / 2 * torch.log1p(relative.square() / FREEDOM)
    robust = torch.nn.functional.huber_loss(mean, wanted, delta=LARGE_ERROR)
    return likelihood.mean() + 2 / LARGE_ERROR * robust


def draw_patch(image: Tensor, rng: np.random.Generator, augment: bool = True) -> Tensor:
    """Cut a patch at a random place, turned and mirrored at random; or draw one of those that cover the image."""
    if not augment:
        covering = cut_patches(image)
        return covering[rng.integers(len(covering))]
    y, x = (int(rng.integers(0, side - PATCH_PX + 1)) for side in image.shape)
    patch = image[y : y + PATCH_PX, x : x + PATCH_PX]
    patch = torch.rot90(patch, int(rng.integers(4)))
    return patch.flip(0) if rng.random() < 0.5 else patch


def fit_combination(means: Tensor, spreads: Tensor, log_d_prime: Tensor) -> Combination:
    """Fit the weights of the members and the honesty of the stated error on validation micrographs.

    The error is fitted by the likelihood of ``log d'`` and not by that of the classes, which asks little of micrographs
    far from a boundary and left the intervals too narrow.

    Parameters
    ----------
    means, spreads : Tensor
        ``(n, members)``, from :func:`scherzer.micrographs.contrast.ensemble.estimate_patches`.
    log_d_prime : Tensor
        ``(n,)``.
    """
    precision = 1 / (means - log_d_prime[:, None]).square().mean(0)
    weights = precision / precision.sum()
    tried = [Combination(weights, float(scale), floor) for scale in SPREAD_SCALES for floor in SPREAD_FLOORS]

    def loss(combination: Combination) -> float:
        mean, spread = combine(means, spreads, combination)
        return float((spread.log() + 0.5 * ((mean - log_d_prime) / spread).square()).mean())

    return min(tried, key=loss)
