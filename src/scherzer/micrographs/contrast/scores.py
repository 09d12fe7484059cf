"""How good and how honest a classifier of contrast is."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from scipy.stats import rankdata
from torch import Tensor

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Scores:
    """Of a classifier into good, moderate and bad on labelled micrographs.

    Attributes
    ----------
    accuracy : float
        Share of micrographs in the right one of three classes.
    one_against_rest : float
        Mean over the classes of the accuracy of that class against the other two.
    sensitivity, specificity, f1, auroc : float
        Means over the classes, each against the other two.
    calibration_error : float
        Expected calibration error: mean gap between the probability of the chosen class and how often it is right.
    log_loss : float
        Mean negative logarithm of the probability of the truth.
    confusion : tuple
        Rows: truth good, moderate, bad; columns: chosen.
    """

    accuracy: float
    one_against_rest: float
    sensitivity: float
    specificity: float
    f1: float
    auroc: float
    calibration_error: float
    log_loss: float
    confusion: tuple[tuple[int, ...], ...]

    def as_dict(self) -> dict[str, object]:
        """Return the scores as plain numbers."""
        return asdict(self)


def score(probabilities: Tensor, classes: Tensor) -> Scores:
    """Score probabilities ``(n, 3)`` against classes ``(n,)``, 0 good, 1 moderate, 2 bad."""
    chosen = probabilities.argmax(1)
    confusion = torch.zeros(3, 3, dtype=torch.int64)
    confusion.index_put_((classes, chosen), torch.ones_like(classes), accumulate=True)
    total = float(confusion.sum())
    hit = confusion.diagonal().double()
    missed, false = confusion.sum(1) - hit, confusion.sum(0) - hit
    rejected = total - hit - missed - false
    return Scores(
        accuracy=float(hit.sum() / total),
        one_against_rest=float(((hit + rejected) / total).mean()),
        sensitivity=float((hit / (hit + missed).clamp(min=1)).mean()),
        specificity=float((rejected / (rejected + false).clamp(min=1)).mean()),
        f1=float((2 * hit / (2 * hit + missed + false).clamp(min=1)).mean()),
        auroc=sum(auroc(probabilities[:, index], classes == index) for index in range(3)) / 3,
        calibration_error=expected_calibration_error(probabilities, classes),
        log_loss=float(-probabilities.gather(1, classes[:, None]).clamp(min=1e-6).log().mean()),
        confusion=tuple(tuple(int(value) for value in row) for row in confusion),
    )


def auroc(values: Tensor, positive: Tensor) -> float:
    """Area under the receiver operating characteristic; NaN where one of the two groups is empty."""
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return float("nan")
    ranks = torch.from_numpy(rankdata(values.double().numpy()))
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def expected_calibration_error(probabilities: Tensor, classes: Tensor) -> float:
    """Gap between confidence and accuracy in ten bins of confidence, averaged over micrographs (Guo et al. 2017)."""
    confidence, chosen = probabilities.max(1)
    right = (chosen == classes).double()
    bins = (confidence * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
    gaps = [
        float((right[bins == b].mean() - confidence[bins == b].double().mean()).abs()) * float((bins == b).sum())
        for b in range(CALIBRATION_BINS)
        if bool((bins == b).any())
    ]
    return sum(gaps) / len(classes)
