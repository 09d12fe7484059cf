"""What stands beside weights fitted to a person's labels: what they were made from, what they gain, where they end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scherzer.micrographs.contrast.evaluation import METHODS, SCORES
from scherzer.micrographs.contrast.visibility import LABELS

DEPTH_WORDS = {
    "shipped": "unchanged: on held-out labels no change was better by more than twice its standard error",
    "scale": "its scale and its error changed (three numbers), the networks else as they were",
    "heads": "its scale and the last layer of its heads trained, all before that as it was",
    "whole": "the whole networks trained",
}


def card_text(card: Mapping[str, Any]) -> str:
    """Return a card as Markdown."""
    data, made = card["data"], card["made"]
    counts = ", ".join(f"{data['by_label'][label]} {label}" for label in LABELS)
    lines = [
        "# Contrast classifier, fitted to given labels",
        "",
        f"Network: {network_words(card)}. Rival: {rival_words(card)}.",
        "",
        "## Data",
        f"{data['micrographs']} micrographs: {counts}; {_sessions(data)}. "
        f"Labels: {data['labels_file']}, SHA-256 {data['labels_sha256']}.",
        f"Pixel sizes {_span(data['pixel_size_A'])} A; {data['voltages']}; specimens: {data['specimens']}.",
        "",
        "## Before and after",
        f"By {made['folds']} folds, {_split(made)}: each micrograph is judged by a fit in which, and in the choice of "
        "which, it had no say. "
        f"Interval: {card['before']['interval']}. Means over the classes, each against the rest.",
        "",
        "| | network before | network after | rival before | rival after |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {name.replace('_', ' ')} | {_row(card, name)} |" for name in SCORES),
        "",
        "Confusion of the network (rows: labelled good, moderate, bad), before: "
        f"{card['before']['network']['confusion']}; after: {card['after']['network']['confusion']}.",
        "",
        "## Made",
        f"From weights with SHA-256 {made['start_sha256']}; seed {made['seed']}; {made['settings_words']}. The same "
        "labels and images give the same bytes.",
        "",
        "## Limits",
        "Classes now mean what these labels mean, and d' stands on their scale: it is no longer the detectability that "
        "the shipped weights estimate, unless the network is unchanged. Other specimens, microscopes, pixel sizes and "
        "people than those above were not tried. Few labels leave wide intervals: look at them before trusting a gain.",
        "",
    ]
    return "\n".join(lines)


def network_words(card: Mapping[str, Any]) -> str:
    """Say how far the network was changed."""
    depth, steps = card["made"]["network"]
    stopped = f", stopped after {steps} steps, where held-out labels were met best" if steps else ""
    return DEPTH_WORDS[depth] + stopped


def rival_words(card: Mapping[str, Any]) -> str:
    """Say the same of the rival."""
    changed = card["made"]["rival"][0] != "shipped"
    return "its constants and sharpness fitted" if changed else "unchanged, as no fit was better on held-out labels"


def _sessions(data: Mapping[str, Any]) -> str:
    return f"{data['sessions']} sessions" if data["sessions"] > 1 else "no sessions named"


def _split(made: Mapping[str, Any]) -> str:
    return "no session cut" if made["by_session"] else "which cut sessions, so another session may do worse"


def _span(values: list[float]) -> str:
    low, high = (f"{value:.4g}" for value in values)
    return low if low == high else f"{low} to {high}"


def _row(card: Mapping[str, Any], name: str) -> str:
    cells = []
    for method in METHODS:
        for when in ("before", "after"):
            entry = card[when][method][name]
            interval = "" if entry["low"] is None else f" ({entry['low']:.3f} to {entry['high']:.3f})"
            cells.append(f"{entry['value']:.3f}{interval}")
    return " | ".join(cells)
