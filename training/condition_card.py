"""The model card of the condition network as a page for people."""

from __future__ import annotations

from typing import Any

SCORES = ("sensitivity", "specificity", "auroc", "calibration_error")


def card_text(card: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    made, test = card["made"], card["test"]
    lines = [
        "# Condition network: model card",
        "",
        "Six independent labels of a whole micrograph from its picture at 8 A and its power spectrum. Truth is what "
        "was simulated: drift (60 to 700 A), empty (no particles, or no ice), contamination (ice grains, aggregates, "
        "cracks over 2 % of the field, or a film torn over 10 %), crystalline (25 %), carbon or another support "
        "(5 %), and fine: none of the first four. A label holds from a probability of "
        f"{card['holds_from']}. Tested on specimens that were neither trained nor calibrated on.",
        "",
    ]
    for name, title in (("small", "Pictures of eight bits at about 8 A"), ("recorded", "Counts at 1 to 2.4 A")):
        lines += [
            f"| {title} | with | without | {' | '.join(score.replace('_', ' ') for score in SCORES)} |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(
                f"| {label} | {row['with']} | {row['without']} | " + " | ".join(f"{row[x]:.3f}" for x in SCORES) + " |"
                for label, row in test[name].items()
            ),
            "",
        ]
    lines += [
        "| Said to be unlike the training set | share |",
        "| --- | --- |",
        *(f"| {kind} | {share:.1%} |" for kind, share in card["out_of_domain"].items()),
        "",
        f"Made by `python training/train_condition.py` in {made['seconds_of_one_core']} s of one processor core "
        f"({made['seconds_for_the_sets']} s of it for the images), seed {made['seed']}, from "
        f"{sum(made['images']['training'])} simulated micrographs; calibrated on "
        f"{sum(made['images']['validation'])}, tested on {sum(made['images']['test'])}.",
        "",
        "Limits: trained on simulations only; 200 and 300 kV, underfocus of 0.4 to 4 um, particles of 85 to 260 A, no "
        "phase plate, no filaments, no drift of less than 60 A. A field of less than 770 A is not judged.",
        "",
    ]
    return "\n".join(lines)
