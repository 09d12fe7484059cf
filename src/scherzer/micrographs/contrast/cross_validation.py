"""How far to change the classifier, judged on labels that it was not fitted to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.contrast.calibration import calibrated_rival, log_loss
from scherzer.micrographs.contrast.classifier import ContrastClassifier
from scherzer.micrographs.contrast.fine_tuning import (
    Depth,
    TuningSet,
    TuningSettings,
    candidates,
    probabilities_of,
    trunks_anew,
)
from scherzer.micrographs.threads import one_thread

Candidate = tuple[Depth, int]
RIVALS: tuple[Candidate, ...] = (("shipped", 0), ("scale", 0))


@dataclass(frozen=True)
class HeldOut:
    """What every candidate says of the micrographs that it was not fitted to.

    Attributes
    ----------
    candidates : tuple
        Depth and steps of each, from the least to the most changed.
    probabilities : Tensor
        ``(candidates, n, 3)``.
    """

    candidates: tuple[Candidate, ...]
    probabilities: Tensor


def fit_fold(
    classifier: ContrastClassifier, data: TuningSet, held: Tensor, settings: TuningSettings
) -> tuple[HeldOut, HeldOut]:
    """Fit all candidates without the held-out micrographs, and ask them of those: networks, and rivals.

    Parameters
    ----------
    classifier : ContrastClassifier
        To start from.
    data : TuningSet
        n micrographs.
    held : Tensor
        ``(n,)`` bool.
    settings : TuningSettings
        Of the fit.
    """
    learnt, asked = data.part(~held), data.part(held)
    names, said = [], []
    with one_thread():
        for depth, step, tuned in candidates(classifier, learnt, settings):
            names.append((depth, step))
            with torch.no_grad():
                seen = trunks_anew(tuned.networks, asked) if depth == "whole" else asked
                said.append(probabilities_of(tuned, seen))
        rivals = (classifier.logistic, calibrated_rival(classifier.logistic, learnt.features, learnt.classes))
        by_rivals = torch.stack([rival.probabilities(asked.features) for rival in rivals])
    return HeldOut(tuple(names), torch.stack(said)), HeldOut(RIVALS, by_rivals)


def joined(parts: Sequence[HeldOut], folds: Tensor) -> HeldOut:
    """Bring the folds together in the order of the micrographs, ``folds`` ``(n,)``."""
    candidates = parts[0].candidates
    whole = torch.empty(len(candidates), len(folds), 3)
    for fold, part in enumerate(parts):
        whole[:, folds == fold] = part.probabilities
    return HeldOut(candidates, whole)


def chosen(held_out: HeldOut, classes: Tensor) -> Candidate:
    """Choose a candidate: of each depth the step with the smallest held-out loss, and the deeper one only if it gains.

    A gain counts when its mean over the micrographs exceeds twice its standard error: a deeper fit can be too sure, and
    the few micrographs that show it are easily not among those at hand.

    Parameters
    ----------
    held_out : HeldOut
        n micrographs.
    classes : Tensor
        ``(n,)``.
    """
    losses = log_loss(held_out.probabilities, classes)
    best = 0
    for depth in dict.fromkeys(depth for depth, _ in held_out.candidates):
        places = [place for place, (name, _) in enumerate(held_out.candidates) if name == depth]
        place = min(places, key=lambda place: float(losses[place].mean()))
        gain = losses[best] - losses[place]
        if float(gain.mean()) > 2 * float(gain.std()) / math.sqrt(len(classes)):
            best = place
    return held_out.candidates[best]


def of_unseen(held_out: HeldOut, classes: Tensor, folds: Tensor) -> Tensor:
    """Return probabilities, ``(n, 3)``, by fits in which, and in the choice of which, the micrograph had no say."""
    found = torch.empty(len(classes), 3)
    for fold in range(int(folds.max()) + 1):
        rest = folds != fold
        others = HeldOut(held_out.candidates, held_out.probabilities[:, rest])
        place = held_out.candidates.index(chosen(others, classes[rest]))
        found[~rest] = held_out.probabilities[place, ~rest]
    return found


def fitted(
    classifier: ContrastClassifier, data: TuningSet, network: Candidate, rival: Candidate, settings: TuningSettings
) -> ContrastClassifier:
    """Fit the chosen candidates to all labels."""
    with one_thread():
        tuned = next(found for depth, step, found in candidates(classifier, data, settings) if (depth, step) == network)
        logistic = classifier.logistic
        if rival != RIVALS[0]:
            logistic = calibrated_rival(logistic, data.features, data.classes)
    return ContrastClassifier(tuned.networks, tuned.combination, logistic)
