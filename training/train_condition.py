"""Train the condition network from nothing and write its weights and model card.

    python training/train_condition.py

The result follows from the seeds, to rounding: twenty minutes of one processor core.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from condition_card import card_text
from condition_fit import FitSettings, fit_calibration, fit_network, logits_of
from condition_images import RECORDED, Specimens, make_recorded
from condition_sets import TEST, TRAINING, VALIDATION, ConditionSet, recorded_set, small_set
from condition_strange import STRANGE
from torch import Tensor

from scherzer.micrographs.contrast.condition_network import LABELS, ConditionNetwork
from scherzer.micrographs.contrast.condition_opinion import HOLDS, ConditionClassifier, described
from scherzer.micrographs.contrast.out_of_domain import Reference

OUT = Path(__file__).parent.parent / "src/scherzer/micrographs/contrast/weights"
SEED = 11
# Small pictures and recorded ones.
COUNTS = {"training": (1600, 220), "validation": (300, 60), "test": (120, 40)}
# Strange images of each kind, and the micrographs of which some of them are made.
STRANGE_IMAGES, STRANGE_BASES = 40, 10


def main() -> None:
    """Make the sets, fit, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    training = made(TRAINING, "training", 0)
    validation = made(VALIDATION, "validation", 1)
    test = made(TEST, "test", 2)
    sets_s = time.process_time() - started
    print(f"sets made in {sets_s:.0f} s of processor time", flush=True)
    classifier = fit(training, validation)
    write(arguments.out, classifier, test, time.process_time() - started, sets_s)


def write(
    out: Path,
    classifier: ConditionClassifier,
    test: tuple[ConditionSet, ConditionSet],
    seconds: float,
    seconds_for_the_sets: float,
) -> None:
    """Evaluate, and write weights and card."""
    card = {
        "made": {
            "seconds_of_one_core": round(seconds),
            "seconds_for_the_sets": round(seconds_for_the_sets),
            "seed": SEED,
            "settings": asdict(FitSettings()),
            "specimens": {
                name: [f"{phantom} {symmetry} {size:g} A" for symmetry, size, phantom in shapes]
                for name, shapes in (("training", TRAINING), ("validation", VALIDATION), ("test", TEST))
            },
            "images": COUNTS,
        },
        "holds_from": HOLDS,
        "test": evaluate(classifier, test),
        "out_of_domain": out_of_domain(classifier, test),
    }
    out.mkdir(parents=True, exist_ok=True)
    classifier.save(out / "condition.safetensors")
    (out / "condition_card.json").write_text(json.dumps(card, indent=2) + "\n")
    text = card_text(card)
    (out / "condition_card.md").write_text(text)
    print(text)


def made(shapes: tuple[tuple[str, float, str], ...], name: str, number: int) -> tuple[ConditionSet, ConditionSet]:
    """Make one of the sets: small pictures, and recorded micrographs."""
    small, recorded = COUNTS[name]
    return small_set(shapes, small, SEED + number), recorded_set(shapes, recorded, SEED + 10 + number)


def fit(
    training: tuple[ConditionSet, ConditionSet], validation: tuple[ConditionSet, ConditionSet]
) -> ConditionClassifier:
    """Fit the network, its calibration and the references of what it has seen."""
    # Recorded micrographs are few, but what users have.
    network = fit_network(training[0] + training[1] + training[1], FitSettings(), SEED)
    return completed(network, training, validation)


def completed(
    network: ConditionNetwork,
    training: tuple[ConditionSet, ConditionSet],
    validation: tuple[ConditionSet, ConditionSet],
) -> ConditionClassifier:
    """Calibrate a network and note what it has seen."""
    both = validation[0] + validation[1]
    calibration = fit_calibration(logits_of(network, both.pictures), both.labels)
    pictures, counts = (
        Reference.of(*(described(one.marks, calibrated(network, calibration, one)) for one in sets))
        for sets in zip(training, validation, strict=True)
    )
    return ConditionClassifier(network, calibration, counts, pictures)


def calibrated(network: ConditionNetwork, calibration: Tensor, one: ConditionSet) -> Tensor:
    """Return calibrated logits of a set."""
    return logits_of(network, one.pictures) * calibration[0] + calibration[1]


def evaluate(classifier: ConditionClassifier, test: tuple[ConditionSet, ConditionSet]) -> dict[str, object]:
    """Score every label on specimens that were neither trained nor calibrated on."""
    found = {}
    for name, one in zip(("small", "recorded"), test, strict=True):
        probabilities = torch.sigmoid(calibrated(classifier.network, classifier.calibration, one))
        found[name] = {label: scores(probabilities[:, n], one.labels[:, n]) for n, label in enumerate(LABELS)}
    return found


def scores(probabilities: Tensor, labels: Tensor) -> dict[str, float | int]:
    """Return what one label is worth: rates at the limit, area under the curve, calibration error of ten bins."""
    known = ~labels.isnan()
    p, y = probabilities[known].double(), labels[known] > 0.5
    order = torch.argsort(torch.argsort(p)).double() + 1
    positives, negatives = int(y.sum()), int((~y).sum())
    area = float(order[y].sum() - positives * (positives + 1) / 2) / max(positives * negatives, 1)
    bins = (p * 10).long().clamp(max=9)
    off = sum(
        float((p[bins == number].mean() - y[bins == number].double().mean()).abs() * (bins == number).double().mean())
        for number in range(10)
        if (bins == number).any()
    )
    return {
        "with": positives,
        "without": negatives,
        "sensitivity": round(float((p[y] >= HOLDS).double().mean()), 3),
        "specificity": round(float((p[~y] < HOLDS).double().mean()), 3),
        "auroc": round(area, 4),
        "calibration_error": round(off, 3),
    }


def out_of_domain(classifier: ConditionClassifier, test: tuple[ConditionSet, ConditionSet]) -> dict[str, float]:
    """Return how often images are said to be unlike the training set: the test set's, and strange ones."""
    rates = {}
    references = (classifier.pictures, classifier.counts)
    for name, one, reference in zip(("small", "recorded"), test, references, strict=True):
        descriptions = described(one.marks, calibrated(classifier.network, classifier.calibration, one))
        rates[f"test set, {name}"] = _share([reference.strangeness(description) for description in descriptions])
    specimens = Specimens.of(TEST, RECORDED.atoms, SEED)
    rng = np.random.default_rng(SEED)
    bases = [make_recorded(specimens, SEED + 99, number)[:2] for number in range(STRANGE_BASES)]
    for kind, spoil in STRANGE.items():
        found = []
        for number in range(STRANGE_IMAGES):
            counts, pixel_A = bases[number % STRANGE_BASES]
            found.append(classifier.judge(torch.from_numpy(spoil(rng, counts)), pixel_A).strangeness)
        rates[kind] = _share(found)
    return rates


def _share(strangeness: list[float]) -> float:
    return round(float(np.mean(np.array(strangeness) > 1)), 3)


if __name__ == "__main__":
    main()
