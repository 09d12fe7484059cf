"""What classifier, rival and training need of one labelled micrograph: a function for worker processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from scherzer.micrographs.contrast.classifier import ContrastClass, ContrastClassifier
from scherzer.micrographs.contrast.logistic import features_of
from scherzer.micrographs.contrast.measurements import CtfNumbers
from scherzer.micrographs.ctf_estimation import estimate_ctf
from scherzer.micrographs.ctf_fit import CtfSettings
from scherzer.session.stages.context import Progress
from scherzer.session.stages.images import read_micrograph
from scherzer.session.standalone.contrast_labels import LabelledMicrograph, Labels, refuse
from scherzer.session.workers import Workers


@dataclass(frozen=True)
class Seen:
    """Of one micrograph.

    Attributes
    ----------
    found : ContrastClass
        By the network.
    by_measurements : Tensor
        ``(3,)`` probabilities by the rival.
    """

    found: ContrastClass
    by_measurements: Tensor


def look(micrograph: LabelledMicrograph, weights: Path) -> Seen:
    """Classify a micrograph by network and by rival."""
    image = read_micrograph(micrograph.path)
    classifier = loaded(weights)
    found = classifier.classify(image, micrograph.optics, ctf_of_labelled(micrograph, image))
    return Seen(found, classifier.logistic.probabilities(features_of(found.measurements)[None])[0])


def ctf_of_labelled(micrograph: LabelledMicrograph, image: Tensor) -> CtfNumbers | None:
    """Fit the CTF of a micrograph where the microscope is known; the measurements ask for it, the network does not."""
    return CtfNumbers.of(estimate_ctf(image, micrograph.optics, CtfSettings())) if micrograph.has_ctf else None


@lru_cache(maxsize=1)
def loaded(weights: Path) -> ContrastClassifier:
    """Load weights once a process."""
    return ContrastClassifier.load(weights)


def over_labels(
    labels: Labels, function: Callable[..., Any], extra: tuple[Any, ...], workers: Workers, progress: Progress
) -> list[Any]:
    """Call ``function(micrograph, *extra)`` for every row; the values in the order of the rows.

    Raises
    ------
    BadInput
        Naming the row of a micrograph that cannot be used.
    """
    rows = labels.micrographs
    values: list[Any] = [None] * len(rows)
    problems = []
    for done, (index, outcome) in enumerate(workers.outcomes(function, [(row, *extra) for row in rows]), start=1):
        values[index] = outcome.value
        if outcome.problem:
            problems.append((rows[index].row, f"{rows[index].path.name}: {outcome.problem}", "leave this row out"))
        progress(done / len(rows), rows[index].path.name)
    refuse(labels.path, sorted(problems))
    return values
