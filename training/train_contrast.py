"""Train the contrast classifier from nothing and write its weights and model card.

    python training/train_contrast.py [--model FILE ...]

takes ten minutes of one processor core. Models given (PDB or mmCIF) become further specimens of the test; training
uses made-up shapes only. The result follows from the seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from contrast_card import card_text
from contrast_sets import (
    TRAINING_SHAPES,
    VALIDATION_SHAPES,
    LabelledSet,
    make_set,
    shape_banks,
    test_banks,
)
from scipy.stats import spearmanr
from torch import Tensor

from scherzer.micrographs.contrast.classifier import ContrastClassifier
from scherzer.micrographs.contrast.ensemble import combine, estimate_patches
from scherzer.micrographs.contrast.logistic import fit_logistic
from scherzer.micrographs.contrast.network import PatchNetwork
from scherzer.micrographs.contrast.scores import score
from scherzer.micrographs.contrast.training import TrainingSettings, fit_combination, fit_network
from scherzer.micrographs.contrast.visibility import GOOD_FROM, MODERATE_FROM, class_probabilities

OUT = Path(__file__).parent.parent / "src/scherzer/micrographs/contrast/weights"
SEED = 20240445
MEMBERS = 2
TRAINING_IMAGES, MEASURED, VALIDATION_IMAGES, TEST_IMAGES = 2400, 500, 240, 400
EMPTY_SHARE = 0.03
BOOTSTRAPS = 500


def main() -> None:
    """Make the sets, fit, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, action="append", default=[], help="specimen for the test only")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()

    training = make_set(shape_banks(TRAINING_SHAPES, SEED + 1), TRAINING_IMAGES, MEASURED, EMPTY_SHARE, SEED + 11)
    validation = make_set(
        shape_banks(VALIDATION_SHAPES, SEED + 2), VALIDATION_IMAGES, VALIDATION_IMAGES, 0.0, SEED + 12
    )
    print(f"sets made in {time.process_time() - started:.0f} s of processor time")
    classifier = fit(training, validation)
    seconds = time.process_time() - started
    test = make_set(test_banks(arguments.model, SEED + 3), TEST_IMAGES, TEST_IMAGES, 0.0, SEED + 13)

    card = {
        "made": {
            "seconds_of_one_core": round(seconds),
            "seed": SEED,
            "members": MEMBERS,
            "training_settings": asdict(TrainingSettings()),
            "training_specimens": [f"{kind} {size} A" for kind, size in TRAINING_SHAPES],
            "validation_specimens": [f"{kind} {size} A" for kind, size in VALIDATION_SHAPES],
            "test_specimens": sorted(set(test.specimens)),
            "images": {"training": TRAINING_IMAGES, "validation": VALIDATION_IMAGES, "test": TEST_IMAGES},
        },
        "classes": {"good_from_d_prime": GOOD_FROM, "moderate_from_d_prime": MODERATE_FROM},
        "test": evaluate(classifier, test),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    classifier.save(arguments.out / "contrast.safetensors")
    (arguments.out / "model_card.json").write_text(json.dumps(card, indent=2) + "\n")
    text = card_text(card)
    (arguments.out / "model_card.md").write_text(text)
    print(text)


def fit(training: LabelledSet, validation: LabelledSet) -> ContrastClassifier:
    """Fit the networks, their combination and the rival."""
    networks = [
        fit_network(
            training.images,
            training.log_d_prime,
            TrainingSettings(),
            SEED + member,
            lambda done, said, member=member: print(f"network {member}: {done:4.0%} {said}"),
        )
        for member in range(MEMBERS)
    ]
    means, spreads = estimates(networks, validation)
    combination = fit_combination(means, spreads, validation.log_d_prime)
    measured = ~training.features.isnan().all(1)
    features = torch.cat([training.features[measured], validation.features])
    classes = torch.cat([training.classes[measured], validation.classes])
    return ContrastClassifier(networks, combination, fit_logistic(features, classes))


def estimates(networks: list[PatchNetwork], labelled: LabelledSet) -> tuple[Tensor, Tensor]:
    """Return the members' estimates of every micrograph of a set, ``(n, members)`` each."""
    pairs = [estimate_patches(networks, image) for image in labelled.images]
    return torch.stack([pair[0] for pair in pairs]), torch.stack([pair[1] for pair in pairs])


def evaluate(classifier: ContrastClassifier, test: LabelledSet) -> dict[str, object]:
    """Score network and rival side by side on specimens that neither has seen."""
    mean, spread = combine(*estimates(classifier.networks, test), classifier.combination)
    by_network = class_probabilities(mean, spread)
    by_measurements = classifier.logistic.probabilities(test.features)
    error = mean - test.log_d_prime
    names = sorted(set(test.specimens))
    return {
        "network": summary(by_network, test),
        "measurements": summary(by_measurements, test),
        "log_d_prime": {
            "rms_error": round(float(error.square().mean().sqrt()), 4),
            "bias": round(float(error.mean()), 4),
            "rank_correlation": round(float(spearmanr(mean, test.log_d_prime).statistic), 4),
            "within_90_percent_interval": round(float((error.abs() <= 1.645 * spread).float().mean()), 3),
        },
        "by_specimen": {
            name: {
                "images": int(chosen.sum()),
                "network_accuracy": round(score(by_network[chosen], test.classes[chosen]).accuracy, 3),
                "measurements_accuracy": round(score(by_measurements[chosen], test.classes[chosen]).accuracy, 3),
                "log_d_prime_bias": round(float(error[chosen].mean()), 3),
                "rank_correlation": round(float(spearmanr(mean[chosen], test.log_d_prime[chosen]).statistic), 3),
            }
            for name in names
            if (chosen := torch.tensor([specimen == name for specimen in test.specimens])).sum() > 2
        },
    }


def summary(probabilities: Tensor, test: LabelledSet) -> dict[str, object]:
    """Return the scores with 95 % intervals from a bootstrap over specimens."""
    rng = np.random.default_rng(SEED)
    names = sorted(set(test.specimens))
    members = {name: np.flatnonzero(np.array(test.specimens) == name) for name in names}
    draws = []
    for _ in range(BOOTSTRAPS):
        chosen = np.concatenate([members[name] for name in rng.choice(names, len(names))])
        found = score(probabilities[chosen], test.classes[chosen])
        draws.append((found.accuracy, found.auroc, found.calibration_error))
    low, high = np.nanquantile(draws, [0.025, 0.975], axis=0).round(3)
    scores = {
        key: round(value, 4) if isinstance(value, float) else value
        for key, value in score(probabilities, test.classes).as_dict().items()
    }
    intervals = {key: [low[i], high[i]] for i, key in enumerate(("accuracy", "auroc", "calibration_error"))}
    return {**scores, "intervals_95": intervals}


if __name__ == "__main__":
    main()
