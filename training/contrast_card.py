"""The model card of the contrast classifier as a page for people."""

from __future__ import annotations

from typing import Any

SCORES = ("auroc", "one_against_rest", "accuracy", "f1", "sensitivity", "specificity", "calibration_error", "log_loss")


def card_text(card: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    made, test = card["made"], card["test"]
    estimates = test["log_d_prime"]
    specimens = estimates["by_specimen"]
    minutes = round(sum(made["seconds_of_one_core"].values()) / 60)
    lines = [
        "# Contrast classifier: model card",
        "",
        "Classes are cut from d', the detectability of one particle to an ideal observer who looks at the band from "
        f"its diameter to a fifth of it: good from {card['classes']['good_from_d_prime']}, moderate from "
        f"{card['classes']['moderate_from_d_prime']}. Everything below was measured on {test['micrographs']} "
        f"simulated micrographs of {test['sessions']} sessions, whose specimens ({', '.join(specimens)}) and "
        "microscopes were neither trained nor tuned on. Of the classes that a session holds, each is equally "
        f"frequent. Intervals: {test['interval']}.",
        "",
        "| on held-out sessions | network | physical measurements |",
        "| --- | --- | --- |",
        *(
            f"| {name.replace('_', ' ')} | {_value(test['network'][name])} | {_value(test['measurements'][name])} |"
            for name in SCORES
        ),
        "",
        f"The one with the smaller log loss is: {test['smaller_log_loss']}. Confusion (rows: truth good, moderate, "
        f"bad): network {_rows(test['network']['confusion'])}, measurements "
        f"{_rows(test['measurements']['confusion'])}.",
        "",
        f"log d' by the network: rms error {estimates['rms_error']}, bias {estimates['bias']}; rank correlation with "
        f"the truth {estimates['rank_correlation']} over all, "
        f"{estimates['median_rank_correlation_within_sessions']} within a session (median); truth within the stated "
        f"90 % interval in {estimates['within_90_percent_interval']:.0%} of micrographs.",
        "",
        "| specimen | micrographs | bias of log d' | scatter of log d' | rank correlation |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {row['micrographs']} | {row['bias']} | {row['scatter']} | {row['rank_correlation']} |"
            for name, row in specimens.items()
        ),
        "",
        "| group | micrographs | accuracy, network | accuracy, measurements | confusion, network |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {kind}: {row['group']} | {row['micrographs']} | {row['network']['accuracy']:.2f} | "
            f"{row['measurements']['accuracy']:.2f} | {_rows(row['network']['confusion'])} |"
            for kind, rows in test["by"].items()
            for row in rows
        ),
        "",
        "What each step is worth, by one network with a seventh of the training:",
        "",
        "| network | AUROC | accuracy | rms error of log d' |",
        "| --- | --- | --- | --- |",
        *(
            f"| {row['network']} | {row['auroc']:.3f} | {row['accuracy']:.3f} | {row['rms_error']:.3f} |"
            for row in card["ablations"]
        ),
        "",
        f"Made by `python training/train_contrast.py` in {minutes} minutes of one processor core, seed {made['seed']}, "
        f"{made['members']} members, {made['images']['training']} training and {made['images']['validation']} "
        f"validation micrographs of {made['training_specimens']} and {made['validation_specimens']} made-up shapes of "
        "75 to 290 A.",
        "",
        "Limits: trained on simulations only; 100 to 300 kV, 12 to 100 e/A2, 0.25 to 3.2 um of underfocus, ice of 180 "
        "to 800 A, no phase plate; cameras below 200 kV are simulated as at 200 kV. The noise floor is read between 7 "
        "and 5 A; an image that does not reach 5 A (coarser than 2.4 A/px) has its floor read nearer to the signal.",
        "",
    ]
    return "\n".join(lines)


def _value(found: dict[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _rows(confusion: list[list[int]]) -> str:
    return "; ".join(" ".join(str(value) for value in row) for row in confusion)
