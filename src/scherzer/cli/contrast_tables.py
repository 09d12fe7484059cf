"""Evaluations of the contrast classifier as tables on the screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from scherzer.micrographs.contrast.evaluation import METHODS, SCORES
from scherzer.micrographs.contrast.model_card import network_words, rival_words
from scherzer.micrographs.contrast.visibility import LABELS

HEADINGS = {"network": "network", "measurements": "measurements"}
WORDS = {
    "accuracy": "accuracy, three classes",
    "one_against_rest": "accuracy, one against rest",
    "f1": "F1",
    "auroc": "AUROC",
}


def show_evaluation(found: Mapping[str, Any], console: Console) -> None:
    """Print scores with intervals, then the confusion of all and by group."""
    sessions = f", {found['sessions']} sessions" if found["sessions"] > 1 else ""
    counts = ", ".join(f"{count} {label}" for count, label in zip(found["by_label"], LABELS, strict=True))
    console.print(f"{found['micrographs']} micrographs{sessions}: {counts}")
    for note in found["notes"]:
        console.print(note, soft_wrap=True, markup=False)
    console.print(score_table({HEADINGS[method]: found[method] for method in METHODS}))
    console.print(f"Means over the classes. Interval: {found['interval']}.", soft_wrap=True)
    console.print("\nHow micrographs of each label were sorted: as good, moderate, bad (G, M, B).")
    headings = (text for method in METHODS for text in (f"{HEADINGS[method]}\n{_cells('GMB')}", "right"))
    table = Table(Column("", no_wrap=True), Column("n", justify="right"), *headings)
    _add_confusion(table, "all", found["micrographs"], [found[method]["confusion"] for method in METHODS])
    for name, groups in found["by"].items():
        for row in groups if len(groups) > 1 else ():
            confusions = [row[method]["confusion"] for method in METHODS]
            _add_confusion(table, f"{name} {row['group']}", row["micrographs"], confusions)
    console.print(table)
    console.print(f"The smaller log loss here: {HEADINGS[found['smaller_log_loss']]}.")


def show_card(card: Mapping[str, Any], out: Path, console: Console) -> None:
    """Print what training gained and where its files are."""
    data = card["data"]
    counts = ", ".join(f"{count} {label}" for label, count in data["by_label"].items())
    console.print(f"{data['micrographs']} micrographs: {counts}")
    for note in data["notes"]:
        console.print(note, soft_wrap=True, markup=False)
    columns = {f"{HEADINGS[method]}\n{when}": card[when][method] for method in METHODS for when in ("before", "after")}
    console.print(score_table(columns))
    console.print(f"On labels held out. Interval: {card['after']['interval']}.", soft_wrap=True)
    console.print(f"Network: {network_words(card)}.", soft_wrap=True)
    console.print(f"Rival: {rival_words(card)}.", soft_wrap=True)
    console.print(f"Weights and model card: {out}", soft_wrap=True, markup=False)


def score_table(columns: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return scores side by side."""
    table = Table("", *columns)
    for name in SCORES:
        table.add_row(WORDS.get(name, name.replace("_", " ")), *(in_words(scores[name]) for scores in columns.values()))
    return table


def in_words(entry: Mapping[str, float | None]) -> str:
    """Return a value with its interval."""
    interval = "" if entry["low"] is None else f" ({entry['low']:.3f} to {entry['high']:.3f})"
    return f"{entry['value']:.3f}{interval}"


def _add_confusion(table: Table, name: str, count: int, confusions: Sequence[Sequence[Sequence[int]]]) -> None:
    """Add a line for a group with the share of right ones, and one for each label that has any in it."""
    table.add_section()
    right = (f"{sum(matrix[i][i] for i in range(3)) / count:.2f}" for matrix in confusions)
    table.add_row(name, str(count), *(cell for share in right for cell in ("", share)))
    for index, label in enumerate(LABELS):
        if any(confusions[0][index]):
            cells = (cell for matrix in confusions for cell in (_cells(matrix[index]), ""))
            table.add_row(f"  {label}", str(sum(confusions[0][index])), *cells)


def _cells(values: Iterable[object]) -> str:
    return " ".join(f"{value!s:>3}" for value in values)
