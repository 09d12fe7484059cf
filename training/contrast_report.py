"""What the model card tells: scores on held-out sessions, estimates of d', what each step of the network is worth."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import torch
from contrast_sets import LabelledSet
from scipy.stats import spearmanr
from torch import Tensor

from scherzer.micrographs.contrast.classifier import ContrastClassifier
from scherzer.micrographs.contrast.ensemble import combine, estimate_all
from scherzer.micrographs.contrast.evaluation import Judged, evaluate
from scherzer.micrographs.contrast.network import PATCH_PX
from scherzer.micrographs.contrast.scores import score
from scherzer.micrographs.contrast.training import TrainingSettings, fit_combination, fit_network
from scherzer.micrographs.contrast.visibility import class_probabilities

# Of the networks that are compared with and without a step: a seventh of the steps, one member.
ABLATION_STEPS = 800
ICE_A = ((0.0, 300.0), (300.0, 500.0), (500.0, 800.0), (800.0, 2000.0))


def report(classifier: ContrastClassifier, test: LabelledSet) -> dict[str, Any]:
    """Score network and rival side by side on specimens and microscopes that neither has seen."""
    mean, spread = combine(*estimate_all(classifier.networks, test.images), classifier.combination)
    probabilities = {
        "network": class_probabilities(mean, spread),
        "measurements": classifier.logistic.probabilities(test.features),
    }
    groups = {
        "specimen": test.column("specimen"),
        "microscope": [session.split(", ")[1] for session in test.column("session")],
        "voltage": [f"{kV:.0f} kV" for kV in test.column("voltage_kV")],
        "pixel size": [f"{pixel_A:.1f} A" for pixel_A in test.column("pixel_size_A")],
        "ice": [_ice(thickness_A) for thickness_A in test.column("thickness_A")],
    }
    found = evaluate(Judged(test.classes, probabilities, test.column("session"), groups))
    return {**found, "log_d_prime": _estimates(mean, spread, test)}


def _ice(thickness_A: float) -> str:
    low, high = next(ends for ends in ICE_A if ends[0] <= thickness_A < ends[1])
    return f"{low:.0f} to {high:.0f} A"


def _estimates(mean: Tensor, spread: Tensor, test: LabelledSet) -> dict[str, Any]:
    """How near the estimates come, over all and within each specimen and session."""
    error = mean - test.log_d_prime

    def correlation(chosen: Tensor) -> float:
        return float(spearmanr(mean[chosen], test.log_d_prime[chosen]).statistic)

    rows = {}
    for name, chosen in _members(test.column("specimen")).items():
        rows[name] = {
            "micrographs": len(chosen),
            "bias": round(float(error[chosen].mean()), 3),
            "scatter": round(float(error[chosen].std()), 3),
            "rank_correlation": round(correlation(chosen), 3),
        }
    within = [correlation(chosen) for chosen in _members(test.column("session")).values()]
    return {
        "rms_error": round(float(error.square().mean().sqrt()), 4),
        "bias": round(float(error.mean()), 4),
        "rank_correlation": round(correlation(torch.arange(len(mean))), 4),
        "median_rank_correlation_within_sessions": round(float(torch.tensor(within).nanmedian()), 4),
        "within_90_percent_interval": round(float((error.abs() <= 1.645 * spread).float().mean()), 3),
        "by_specimen": rows,
    }


def _members(names: list[str]) -> dict[str, Tensor]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        members[name].append(index)
    return {name: torch.tensor(found) for name, found in sorted(members.items())}


def ablations(training: LabelledSet, validation: LabelledSet, test: LabelledSet, seed: int) -> list[dict[str, Any]]:
    """Fit one small network with all steps, and one without each; score them on the test."""
    usual = replace(TrainingSettings(), steps=ABLATION_STEPS)
    cases = (
        ("all steps", usual, False),
        ("without denoising", replace(usual, denoise=False), False),
        ("without flips and shifts", replace(usual, augment=False), False),
        ("whole image instead of patches", usual, True),
    )
    rows = []
    for name, settings, whole in cases:
        trained, validated, tested = (
            [_shrunk(image, min(training.images[0].shape)) for image in found.images] if whole else found.images
            for found in (training, validation, test)
        )
        network = fit_network(trained, training.log_d_prime, settings, seed)
        combination = fit_combination(*estimate_all([network], validated), validation.log_d_prime)
        mean, spread = combine(*estimate_all([network], tested), combination)
        found = score(class_probabilities(mean, spread), test.classes)
        rows.append(
            {
                "network": name,
                "auroc": round(found.auroc, 4),
                "accuracy": round(found.accuracy, 4),
                "rms_error": round(float((mean - test.log_d_prime).square().mean().sqrt()), 4),
            }
        )
        print(rows[-1], flush=True)
    return rows


def _shrunk(image: Tensor, side: int) -> Tensor:
    """Bring the part of an image that training images show to the size of a patch."""
    size = (PATCH_PX, PATCH_PX)
    return torch.nn.functional.interpolate(image[None, None, :side, :side], size, mode="bilinear", antialias=True)[0, 0]
