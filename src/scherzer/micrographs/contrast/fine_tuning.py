"""The contrast classifier brought nearer to a person's labels: how far, cross-validation decides.

Few labels carry few numbers. The candidates, each starting from the one before, are the classifier as it is; its scale
and error (three numbers); the last layer of the networks' heads, with all before it frozen; and, with many labels, the
whole networks. The loss is the ordinal likelihood of the labels: a network gives ``log d'`` with an error, the limits
of the classes cut it, and the label's share of the probability counts. Whatever is not better on held-out labels is not
changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from scherzer.micrographs.contrast.calibration import calibrated, last_layer, log_loss
from scherzer.micrographs.contrast.classifier import ContrastClassifier
from scherzer.micrographs.contrast.ensemble import combine, pool_patches
from scherzer.micrographs.contrast.network import PatchNetwork, with_denoised
from scherzer.micrographs.contrast.visibility import class_probabilities

Depth = str
DEPTHS: tuple[Depth, ...] = ("shipped", "scale", "heads", "whole")
# Log spread of a patch that is only filling: no weight.
FILLING = 15.0


@dataclass(frozen=True)
class TuningSettings:
    """How far and how fast; the numbers are parametric choices.

    Attributes
    ----------
    head_steps, head_every, head_rate : int, int, float
        Most steps over all labels for the heads, how often held-out labels are asked, step size (Adam).
    whole_from : int
        Labels from which the whole networks are tried.
    whole_steps, whole_every, whole_rate : int, int, float
        The same for the whole networks, where a step sees a batch.
    batch, batch_patches : int
        Micrographs in it, and patches of each.
    seed : int
        Of the division and the batches.
    """

    head_steps: int = 120
    head_every: int = 10
    head_rate: float = 5e-4
    whole_from: int = 150
    whole_steps: int = 120
    whole_every: int = 20
    whole_rate: float = 1e-4
    batch: int = 8
    batch_patches: int = 6
    seed: int = 20240445


@dataclass(frozen=True)
class TuningSet:
    """Labelled micrographs as the networks see them.

    Attributes
    ----------
    found : Tensor
        ``(n, members, patches, f)`` by the frozen trunks.
    filled : Tensor
        ``(n, patches)`` bool: micrographs differ in how many patches they have.
    patches : list of Tensor
        ``(patches, h, w)`` of each, for the whole networks; empty where those are not tried.
    features : Tensor
        ``(n, 7)`` of the rival.
    classes : Tensor
        ``(n,)``.
    """

    found: Tensor
    filled: Tensor
    patches: list[Tensor]
    features: Tensor
    classes: Tensor

    def part(self, chosen: Tensor) -> TuningSet:
        """Return some of the micrographs, ``(n,)`` bool."""
        patches = [patches for patches, wanted in zip(self.patches, chosen.tolist(), strict=False) if wanted]
        return TuningSet(self.found[chosen], self.filled[chosen], patches, self.features[chosen], self.classes[chosen])


def tuning_set(found: list[Tensor], patches: list[Tensor], features: Tensor, classes: Tensor) -> TuningSet:
    """Collect what was seen of n micrographs; ``found`` holds ``(members, patches, f)`` of each."""
    most = max(one.shape[1] for one in found)
    filled = torch.stack([torch.arange(most) < one.shape[1] for one in found])
    padded = torch.stack([nn.functional.pad(one, (0, 0, 0, most - one.shape[1])) for one in found])
    return TuningSet(padded, filled, patches, features, classes)


def member_estimates(networks: list[PatchNetwork], data: TuningSet) -> tuple[Tensor, Tensor]:
    """Return means and stated errors of each member, ``(n, members)``, from what the trunks found."""
    pairs = []
    for member, network in enumerate(networks):
        mean, log_spread = (
            out.view(data.filled.shape) for out in network.estimate(data.found[:, member].flatten(0, 1))
        )
        pairs.append(pool_patches(mean, torch.where(data.filled, log_spread, torch.tensor(FILLING))))
    return torch.stack([pair[0] for pair in pairs], 1), torch.stack([pair[1] for pair in pairs], 1)


def probabilities_of(classifier: ContrastClassifier, data: TuningSet) -> Tensor:
    """Return the probabilities of the classes, ``(n, 3)``."""
    return class_probabilities(*combine(*member_estimates(classifier.networks, data), classifier.combination))


def candidates(
    classifier: ContrastClassifier, data: TuningSet, settings: TuningSettings
) -> Iterator[tuple[Depth, int, ContrastClassifier]]:
    """Yield classifiers fitted to all of a set, from the least to the most changed: depth, steps, classifier.

    A classifier that was yielded changes when the next one is asked for.
    """
    yield "shipped", 0, classifier
    with torch.no_grad():
        means, spreads = member_estimates(classifier.networks, data)
    scaled = calibrated(classifier, means, spreads, data.classes)
    yield "scale", 0, scaled
    for step, tuned in _tuned_heads(scaled, data, settings):
        yield "heads", step, tuned
    if data.patches:
        for step, tuned in _tuned_whole(scaled, data, settings):
            yield "whole", step, tuned


def _tuned_heads(
    start: ContrastClassifier, data: TuningSet, settings: TuningSettings
) -> Iterator[tuple[int, ContrastClassifier]]:
    tuned = replace(start, networks=[deepcopy(network) for network in start.networks])
    layers = [last_layer(network) for network in tuned.networks]
    optimiser = torch.optim.Adam([value for layer in layers for value in layer.parameters()], settings.head_rate)
    for step in range(1, settings.head_steps + 1):
        optimiser.zero_grad()
        log_loss(probabilities_of(tuned, data), data.classes).mean().backward()
        for layer in layers:
            for gradient in (layer.weight.grad, layer.bias.grad):
                if gradient is not None:
                    gradient[1] = 0  # the stated error stays
        optimiser.step()
        if step % settings.head_every == 0:
            yield step, tuned


def _tuned_whole(
    start: ContrastClassifier, data: TuningSet, settings: TuningSettings
) -> Iterator[tuple[int, ContrastClassifier]]:
    """Train trunks too; the statistics of their normalisation stay."""
    tuned = replace(start, networks=[deepcopy(network) for network in start.networks])
    parameters = [value for network in tuned.networks for value in network.parameters()]
    optimiser = torch.optim.Adam(parameters, settings.whole_rate)
    rng = np.random.default_rng(settings.seed)
    for step in range(1, settings.whole_steps + 1):
        chosen = torch.from_numpy(rng.integers(0, len(data.classes), settings.batch))
        drawn = [_drawn(data.patches[index], settings, rng) for index in chosen.tolist()]
        batch = trunks_anew(tuned.networks, replace(data, patches=drawn, classes=data.classes[chosen]))
        optimiser.zero_grad()
        log_loss(probabilities_of(tuned, batch), batch.classes).mean().backward()
        optimiser.step()
        if step % settings.whole_every == 0:
            yield step, tuned


def _drawn(patches: Tensor, settings: TuningSettings, rng: np.random.Generator) -> Tensor:
    """Draw patches of a micrograph, turned and mirrored alike."""
    some = patches[torch.from_numpy(rng.integers(0, len(patches), settings.batch_patches))].float()
    some = torch.rot90(some, int(rng.integers(4)), (1, 2))
    return some.flip(1) if rng.random() < 0.5 else some


def trunks_anew(networks: list[PatchNetwork], data: TuningSet) -> TuningSet:
    """Return a set as trunks see it that have changed since it was made."""
    found = []
    for patches in data.patches:
        inputs = with_denoised(patches.float())
        found.append(torch.stack([network.describe(inputs) for network in networks]))
    return tuning_set(found, data.patches, data.features, data.classes)
