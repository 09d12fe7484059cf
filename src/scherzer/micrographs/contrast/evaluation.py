"""Network and physical rival on labelled micrographs, side by side, with intervals over sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scherzer.micrographs.contrast.scores import CALIBRATION_BINS, Scores, score

METHODS = ("network", "measurements")
SCORES = (
    "sensitivity",
    "specificity",
    "accuracy",
    "one_against_rest",
    "f1",
    "auroc",
    "calibration_error",
    "log_loss",
)
DRAWS = 1000
SEED = 20240445


@dataclass(frozen=True)
class Judged:
    """What two classifiers say of n labelled micrographs.

    Attributes
    ----------
    classes : Tensor
        ``(n,)`` labels: 0 good, 1 moderate, 2 bad.
    probabilities : dict
        ``(n, 3)`` by ``network`` and by ``measurements``.
    sessions : sequence of str
        Session of each; intervals are drawn over them. All equal where none is known: over micrographs then.
    groups : dict
        By what the confusion is told, such as specimen: the group of each micrograph, in words.
    """

    classes: Tensor
    probabilities: Mapping[str, Tensor]
    sessions: Sequence[str]
    groups: Mapping[str, Sequence[str]]


def evaluate(judged: Judged) -> dict[str, Any]:
    """Score both methods.

    Returns
    -------
    dict
        As ``evaluation.json`` has it: how many micrographs and sessions, how intervals were made, scores, confusion
        and reliability of each method, and the confusion by group.
    """
    drawn, interval = _draws(judged)
    found: dict[str, Any] = {
        "micrographs": len(judged.classes),
        "sessions": len(set(judged.sessions)),
        "by_label": torch.bincount(judged.classes, minlength=3).tolist(),
        "interval": interval,
    }
    for method in METHODS:
        probabilities = judged.probabilities[method]
        found[method] = {
            **_with_intervals(score(probabilities, judged.classes), probabilities, judged.classes, drawn),
            "reliability": reliability(probabilities, judged.classes),
        }
    found["smaller_log_loss"] = min(METHODS, key=lambda method: found[method]["log_loss"]["value"])
    found["by"] = {name: _by_group(judged, groups) for name, groups in judged.groups.items()}
    return found


def reliability(probabilities: Tensor, classes: Tensor) -> list[dict[str, float]]:
    """Return, for each tenth of confidence that has any, its mean confidence, share of right ones, and their number."""
    confidence, chosen = probabilities.max(1)
    right = (chosen == classes).double()
    bins = (confidence * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
    return [
        {
            "confidence": round(float(confidence[bins == index].mean()), 4),
            "right": round(float(right[bins == index].mean()), 4),
            "micrographs": int((bins == index).sum()),
        }
        for index in range(CALIBRATION_BINS)
        if bool((bins == index).any())
    ]


def _draws(judged: Judged) -> tuple[list[Tensor], str]:
    """Draw sessions (or micrographs) with replacement; draws that lack a class say nothing of it and are drawn anew."""
    names = sorted(set(judged.sessions))
    by_session = len(names) > 1
    units = np.array([names.index(name) for name in judged.sessions]) if by_session else np.arange(len(judged.classes))
    members = [np.flatnonzero(units == unit) for unit in range(int(units.max()) + 1)]
    rng = np.random.default_rng(SEED)
    drawn: list[Tensor] = []
    for _ in range(4 * DRAWS):
        chosen = torch.from_numpy(np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))]))
        if len(judged.classes[chosen].unique()) == 3:
            drawn.append(chosen)
        if len(drawn) == DRAWS:
            what = f"{len(names)} sessions" if by_session else "micrographs, as fewer than two sessions are named"
            return drawn, f"95 % of {DRAWS} bootstrap draws of {what}"
    return [], "none: too few sessions hold all three classes"


def _with_intervals(found: Scores, probabilities: Tensor, classes: Tensor, drawn: Sequence[Tensor]) -> dict[str, Any]:
    def values(scores: Scores) -> list[float]:
        return [getattr(scores, name) for name in SCORES]

    table = [values(score(probabilities[chosen], classes[chosen])) for chosen in drawn]
    low, high = np.quantile(table, [0.025, 0.975], axis=0) if table else np.full((2, len(SCORES)), np.nan)
    scores: dict[str, Any] = {
        name: {
            "value": round(value, 4),
            "low": round(float(low[index]), 4) if table else None,
            "high": round(float(high[index]), 4) if table else None,
        }
        for index, (name, value) in enumerate(zip(SCORES, values(found), strict=True))
    }
    return {**scores, "confusion": [list(row) for row in found.confusion]}


def _by_group(judged: Judged, groups: Sequence[str]) -> list[dict[str, Any]]:
    """Return the confusion of both methods in each group."""
    rows = []
    for name in sorted(set(groups)):
        chosen = torch.tensor([group == name for group in groups])
        classes = judged.classes[chosen]
        row: dict[str, Any] = {"group": name, "micrographs": int(chosen.sum())}
        for method in METHODS:
            found = score(judged.probabilities[method][chosen], classes)
            row[method] = {"accuracy": round(found.accuracy, 4), "confusion": [list(line) for line in found.confusion]}
        rows.append(row)
    return rows
