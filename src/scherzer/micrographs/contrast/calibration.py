"""A few numbers that bring the classifier and its rival to the scale of a person's labels."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from scherzer.micrographs.contrast.classifier import ContrastClassifier
from scherzer.micrographs.contrast.ensemble import Combination, combine
from scherzer.micrographs.contrast.logistic import LogisticModel
from scherzer.micrographs.contrast.network import CENTRE, PatchNetwork
from scherzer.micrographs.contrast.visibility import class_probabilities

Array = NDArray[np.float64]

# Expected size of a change, parametric choices: of log d' by a constant, of the logarithm of its slope, and of that of
# its error, which labels may widen by their own scatter but hardly narrow: thousands of simulations have set it, and a
# few labels that happen to be parted cleanly say little of it.
SHIFT, STRETCH, WIDER, NARROWER = 0.5, 0.3, 0.5, 0.1
# Where the search begins: far from the labels the likelihood is flat.
STARTS = [np.array(start) for start in product(np.linspace(-1.5, 1.5, 31), (-0.3, 0.0, 0.3), (0.0, 0.7, 1.4))]
# Ridge on the rival's three constants and the logarithm of its sharpness.
RIVAL_PRIOR = 1.0
LEAST_PROBABILITY = 1e-6


def log_loss(probabilities: Tensor, classes: Tensor) -> Tensor:
    """Negative logarithm of the probability of the labels, ``(..., n)`` for ``(..., n, 3)`` and ``(n,)``."""
    index = classes.expand(probabilities.shape[:-1])[..., None]
    return -probabilities.gather(-1, index)[..., 0].clamp(min=LEAST_PROBABILITY).log()


def calibrated(classifier: ContrastClassifier, means: Tensor, spreads: Tensor, classes: Tensor) -> ContrastClassifier:
    """Return the classifier whose ``log d'`` is shifted and stretched, and whose error is scaled, as labels ask.

    What d' means changes with it: the limits of the classes stay where they are, and d' moves to the labels' scale.

    Parameters
    ----------
    classifier : ContrastClassifier
        To start from.
    means, spreads : Tensor
        ``(n, members)`` by its networks.
    classes : Tensor
        ``(n,)``.
    """

    def loss(numbers: Array) -> float:
        shift, stretch, widening = (float(value) for value in numbers)
        moved = CENTRE + shift + np.exp(stretch) * (means - CENTRE)
        found = class_probabilities(*combine(moved, spreads, _widened(classifier.combination, widening)))
        sizes = (SHIFT, STRETCH, WIDER if widening > 0 else NARROWER)
        prior = sum((value / size) ** 2 for value, size in zip(numbers, sizes, strict=True)) / 2
        return float(log_loss(found, classes).sum()) + float(prior)

    start = min(STARTS, key=loss)
    best = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-4}).x
    shift, stretch, widening = (float(value) for value in best)
    networks = [deepcopy(network) for network in classifier.networks]
    for network in networks:
        last = last_layer(network)
        with torch.no_grad():
            last.weight[0] *= np.exp(stretch)
            last.bias[0] = np.exp(stretch) * last.bias[0] + shift
    return replace(classifier, networks=networks, combination=_widened(classifier.combination, widening))


def last_layer(network: PatchNetwork) -> nn.Linear:
    """Return the layer whose first row gives ``log d'`` but for a constant, and whose second the log of its error."""
    last = network.head[-1]
    if not isinstance(last, nn.Linear):
        raise TypeError("the head of a patch network ends in a linear layer")
    return last


def calibrated_rival(rival: LogisticModel, features: Tensor, classes: Tensor) -> LogisticModel:
    """Return the rival with a constant for each class and one sharpness fitted to labels.

    Parameters
    ----------
    rival : LogisticModel
        To start from.
    features : Tensor
        ``(n, f)``, NaN where missing.
    classes : Tensor
        ``(n,)``.
    """

    def changed(numbers: Array) -> LogisticModel:
        weights = rival.weights * float(np.exp(numbers[3]))
        weights[:, -1] += torch.tensor([float(value) for value in numbers[:3]])
        return replace(rival, weights=weights)

    def loss(numbers: Array) -> float:
        found = changed(numbers).probabilities(features)
        return float(log_loss(found, classes).sum()) + sum(value**2 for value in numbers) / (2 * RIVAL_PRIOR)

    return changed(minimize(loss, np.zeros(4), method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-4}).x)


def _widened(combination: Combination, log_factor: float) -> Combination:
    factor = float(np.exp(log_factor))
    return replace(
        combination,
        spread_scale=combination.spread_scale * factor,
        spread_floor=combination.spread_floor * factor,
    )
