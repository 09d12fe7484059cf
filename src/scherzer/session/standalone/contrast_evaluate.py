"""Evaluation of the contrast classifier on a person's labels."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scherzer.formats.atomic import atomic_path, write_text
from scherzer.micrographs.contrast.evaluation import Judged, evaluate
from scherzer.micrographs.contrast.settings import sha256_of
from scherzer.micrographs.contrast.visibility import LABELS
from scherzer.session.keys import fingerprint
from scherzer.session.stages.context import Progress
from scherzer.session.standalone.contrast_labels import LabelledMicrograph, Labels
from scherzer.session.standalone.contrast_look import Seen, loaded, look, over_labels
from scherzer.session.standalone.run_folder import RunFolder
from scherzer.session.workers import Workers

EVALUATION_FILE, PICTURE_FILE = "evaluation.json", "reliability.png"
# Edges of the groups of pixel size: one for each step in how far beyond the band of the noise an image reaches.
PIXEL_EDGES_A = (0.8, 1.2, 1.8, 2.4)
THICKNESS_EDGES_A = (250.0, 400.0, 600.0)
Draw = Callable[[Mapping[str, Any]], bytes]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation asked for.

    Attributes
    ----------
    labels : Labels
        Whose.
    weights : Path
        Of what.
    out : Path or None
        Folder of the results, if they are to be written.
    """

    labels: Labels
    weights: Path
    out: Path | None

    @property
    def folder(self) -> RunFolder | None:
        """Return where the results go."""
        weights = sha256_of(self.weights)
        if self.out is None:
            return None
        described = {
            "labels": self.labels.sha256,
            "weights": weights,
            "micrographs": [[row.row, row.optics, *fingerprint(row.path)] for row in self.labels.micrographs],
        }
        return RunFolder(self.out, "contrast evaluate", described, (EVALUATION_FILE, PICTURE_FILE))


def run_evaluation(asked: Evaluation, workers: Workers, progress: Progress, draw: Draw) -> dict[str, Any]:
    """Classify every labelled micrograph, score network and rival, and write what was found.

    Raises
    ------
    BadInput
        If weights or a micrograph cannot be used, or the folder holds something else.
    """
    folder = asked.folder
    loaded(asked.weights)  # says what is wrong with them before the work begins
    if folder is not None and folder.finished() is not None:
        found: dict[str, Any] = json.loads((folder.root / EVALUATION_FILE).read_text(encoding="utf-8"))
        return found
    found = evaluated(asked, over_labels(asked.labels, look, (asked.weights,), workers, progress))
    if folder is not None:
        with folder.opened():
            write_text(folder.root / EVALUATION_FILE, json.dumps(found, indent=1) + "\n")
            with atomic_path(folder.root / PICTURE_FILE) as picture:
                picture.write_bytes(draw(found))
            folder.complete()
    return found


def evaluated(asked: Evaluation, seen: Sequence[Seen]) -> dict[str, Any]:
    """Return the numbers of an evaluation: of all micrographs together, in groups, and one by one."""
    rows = asked.labels.micrographs
    groups = {
        "specimen": [row.specimen or "not named" for row in rows],
        "voltage": [f"{row.optics.voltage_kV:g} kV" if row.optics.voltage_kV else "not known" for row in rows],
        "pixel size": [_between(row.optics.pixel_size_A, PIXEL_EDGES_A) for row in rows],
        "ice": [_ice(row, one) for row, one in zip(rows, seen, strict=True)],
    }
    judged = Judged(
        torch.tensor([row.class_index for row in rows]),
        {
            "network": torch.tensor([one.found.probabilities for one in seen]),
            "measurements": torch.stack([one.by_measurements for one in seen]),
        },
        [row.session for row in rows],
        groups,
    )
    return {
        "labels": {"file": asked.labels.path.name, "sha256": asked.labels.sha256},
        "weights": {"file": asked.weights.name, "sha256": sha256_of(asked.weights)},
        "notes": list(asked.labels.notes),
        **evaluate(judged),
        "each": [_entry(row, one) for row, one in zip(rows, seen, strict=True)],
    }


def _between(value: float, edges: Sequence[float]) -> str:
    bounds = (0.0, *edges)
    place = bisect_right(edges, value)
    return f"{edges[-1]:g} A and more" if place == len(edges) else f"{bounds[place]:g} to {edges[place]:g} A"


def _ice(row: LabelledMicrograph, seen: Seen) -> str:
    """Return the group by thickness where it is given, else by what is seen of crystals."""
    if row.ice_thickness_A is not None:
        return f"thickness {_between(row.ice_thickness_A, THICKNESS_EDGES_A)}"
    crystalline = seen.found.measurements.ice.crystalline_fraction
    return "crystals seen" if crystalline > 0 else "no crystals seen"


def _entry(row: LabelledMicrograph, seen: Seen) -> dict[str, Any]:
    found = seen.found
    return {
        "row": row.row,
        "micrograph": row.path.name,
        "label": LABELS[row.class_index],
        "network": found.label,
        "network_probabilities": [round(value, 4) for value in found.probabilities],
        "measurements": LABELS[int(seen.by_measurements.argmax())],
        "measurements_probabilities": [round(value, 4) for value in seen.by_measurements.tolist()],
        "d_prime": {
            "value": round(found.d_prime, 3),
            "low": round(found.d_prime_low, 3),
            "high": round(found.d_prime_high, 3),
        },
    }
