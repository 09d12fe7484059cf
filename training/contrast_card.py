"""The model card of the contrast classifier as a page for people."""

from __future__ import annotations

from typing import Any

SCORES = ("accuracy", "one_against_rest", "sensitivity", "specificity", "f1", "auroc", "calibration_error", "log_loss")


def card_text(card: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    made, test = card["made"], card["test"]
    network, rival = test["network"], test["measurements"]
    lines = [
        "# Contrast classifier: model card",
        "",
        "Classes are cut from d', the detectability of one particle to an ideal observer between 300 and 30 A: good "
        f"from {card['classes']['good_from_d_prime']}, moderate from {card['classes']['moderate_from_d_prime']}. "
        "Everything below was measured on simulated micrographs of specimens that were neither trained nor tuned on: "
        f"{', '.join(made['test_specimens'])}. Each class and, within it, each d' is equally frequent, so many "
        "micrographs lie near a boundary.",
        "",
        "| on held-out specimens | network (default) | physical measurements |",
        "| --- | --- | --- |",
        *(f"| {name.replace('_', ' ')} | {network[name]:.3f} | {rival[name]:.3f} |" for name in SCORES),
        *(
            f"| {name.replace('_', ' ')}, 95 % interval over specimens | {_interval(network, name)} "
            f"| {_interval(rival, name)} |"
            for name in ("accuracy", "auroc", "calibration_error")
        ),
        "",
        "Confusion of the network (rows: truth good, moderate, bad): "
        + "; ".join(str(list(row)) for row in network["confusion"])
        + ".",
        "",
        f"log d': rms error {test['log_d_prime']['rms_error']}, rank correlation "
        f"{test['log_d_prime']['rank_correlation']}, truth within the stated 90 % interval in "
        f"{test['log_d_prime']['within_90_percent_interval']:.0%} of micrographs.",
        "",
        "| specimen | micrographs | accuracy, network | accuracy, measurements | bias of log d' | rank correlation |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {row['images']} | {row['network_accuracy']} | {row['measurements_accuracy']} | "
            f"{row['log_d_prime_bias']} | {row['rank_correlation']} |"
            for name, row in test["by_specimen"].items()
        ),
        "",
        f"Made by `python training/train_contrast.py` in {made['seconds_of_one_core']} s of one processor core, seed "
        f"{made['seed']}, {made['members']} members, {made['images']['training']} training and "
        f"{made['images']['validation']} validation micrographs of {len(made['training_specimens'])} and "
        f"{len(made['validation_specimens'])} made-up shapes of 80 to 250 A.",
        "",
        "Limits: trained on simulations only; 200 and 300 kV, 15 to 100 e/A2, 0.25 to 3 um of underfocus, ice of 120 "
        "to 900 A, no phase plate, no carbon support, no membranes. The noise floor is read between 7 and 5 A; an "
        "image that does not reach 5 A (coarser than 2.4 A/px) has its floor read nearer to the signal and looks less "
        "visible than it is.",
        "",
    ]
    return "\n".join(lines)


def _interval(scores: dict[str, Any], name: str) -> str:
    low, high = scores["intervals_95"][name]
    return f"{low:.3f} to {high:.3f}"
