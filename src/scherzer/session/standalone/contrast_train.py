"""The contrast classifier fitted to a person's labels: weights and model card in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scherzer.formats.atomic import atomic_path, write_text
from scherzer.formats.errors import BadInput
from scherzer.micrographs.contrast.cross_validation import chosen, fit_fold, fitted, joined, of_unseen
from scherzer.micrographs.contrast.evaluation import Judged, evaluate
from scherzer.micrographs.contrast.fine_tuning import TuningSet, TuningSettings, tuning_set
from scherzer.micrographs.contrast.folds import Folds, stratified_folds
from scherzer.micrographs.contrast.logistic import features_of
from scherzer.micrographs.contrast.measurements import checked, measure_whitened
from scherzer.micrographs.contrast.model_card import card_text
from scherzer.micrographs.contrast.network import cut_patches, with_denoised
from scherzer.micrographs.contrast.settings import SHIPPED, sha256_of
from scherzer.micrographs.contrast.visibility import LABELS
from scherzer.micrographs.contrast.whitening import tile_spectrum, whiten
from scherzer.session.keys import fingerprint
from scherzer.session.stages.context import Progress
from scherzer.session.stages.images import read_micrograph
from scherzer.session.standalone.contrast_labels import LabelledMicrograph, Labels
from scherzer.session.standalone.contrast_look import ctf_of_labelled, loaded, over_labels
from scherzer.session.standalone.run_folder import RunFolder
from scherzer.session.workers import Workers

WEIGHTS_FILE, CARD_FILE, CARD_TEXT_FILE = "contrast.safetensors", "model_card.json", "model_card.md"
# With fewer there is nothing to hold out.
LEAST_MICROGRAPHS, LEAST_OF_A_CLASS = 30, 3
# Share of the work before the fit.
LOOKING = 0.7


@dataclass(frozen=True)
class View:
    """What the fit needs of one micrograph.

    Attributes
    ----------
    found : Tensor
        ``(members, patches, f)`` by the shipped trunks.
    patches : Tensor or None
        ``(patches, h, w)`` in half precision, where whole networks are tried.
    features : Tensor
        ``(7,)`` of the rival.
    """

    found: Tensor
    patches: Tensor | None
    features: Tensor


def view(micrograph: LabelledMicrograph, with_patches: bool) -> View:
    """Look at a micrograph as the classifier does, up to the trunks."""
    image = checked(read_micrograph(micrograph.path))
    optics = micrograph.optics
    spectrum = tile_spectrum(image, optics.pixel_size_A)
    whitened = whiten(image, optics.pixel_size_A, spectrum)
    measured = measure_whitened(image, optics, spectrum, whitened, ctf_of_labelled(micrograph, image))
    patches = cut_patches(whitened.values)
    with torch.no_grad():
        inputs = with_denoised(patches)
        found = torch.stack([network.describe(inputs) for network in loaded(SHIPPED).networks])
    return View(found, patches.half() if with_patches else None, features_of(measured))


def train(
    labels: Labels, out: Path, settings: TuningSettings, workers: Workers, progress: Progress
) -> Mapping[str, Any]:
    """Fit, and write weights and card; return the card.

    Parameters
    ----------
    labels : Labels
        At least 30 micrographs, three of each class.
    out : Path
        Folder of the results.
    settings : TuningSettings
        Of the fit.
    workers : Workers
        Processes.
    progress : callable
        Told how it goes.

    Raises
    ------
    BadInput
        If there are too few labels, a micrograph cannot be used, or the folder holds something else.
    """
    classes = torch.tensor([row.class_index for row in labels.micrographs])
    _check_numbers(labels, classes)
    described = {
        "labels": labels.sha256,
        "start": sha256_of(SHIPPED),
        "settings": settings,
        "micrographs": [[row.row, row.optics, *fingerprint(row.path)] for row in labels.micrographs],
    }
    run = RunFolder(out, "contrast train", described, (WEIGHTS_FILE, CARD_FILE, CARD_TEXT_FILE))
    if run.finished() is not None:
        found: dict[str, Any] = json.loads((out / CARD_FILE).read_text(encoding="utf-8"))
        return found
    with run.opened():
        data = _seen(labels, classes, settings, workers, progress)
        card = _fit(labels, data, settings, workers, progress, out / WEIGHTS_FILE)
        write_text(out / CARD_FILE, json.dumps(card, indent=1) + "\n")
        write_text(out / CARD_TEXT_FILE, card_text(card))
        run.complete()
    return card


def _check_numbers(labels: Labels, classes: Tensor) -> None:
    if len(classes) < LEAST_MICROGRAPHS:
        problem = f"holds {len(classes)} labels, and training takes {LEAST_MICROGRAPHS} at least"
        raise BadInput(labels.path, problem, "label more micrographs")
    counts = torch.bincount(classes, minlength=3).tolist()
    for label, count in zip(LABELS, counts, strict=True):
        if count < LEAST_OF_A_CLASS:
            problem = f"only {count} micrographs are labelled {label}, and training takes {LEAST_OF_A_CLASS} at least"
            raise BadInput(labels.path, problem, f"label more that are {label}")


def _seen(labels: Labels, classes: Tensor, settings: TuningSettings, workers: Workers, progress: Progress) -> TuningSet:
    with_patches = len(classes) >= settings.whole_from

    def told(fraction: float, message: str) -> None:
        progress(LOOKING * fraction, message)

    views: list[View] = over_labels(labels, view, (with_patches,), workers, told)
    patches = [one.patches for one in views if one.patches is not None]
    return tuning_set([one.found for one in views], patches, torch.stack([one.features for one in views]), classes)


def _fit(
    labels: Labels, data: TuningSet, settings: TuningSettings, workers: Workers, progress: Progress, target: Path
) -> dict[str, Any]:
    """Choose by cross-validation, fit to all, write the weights; return the card."""
    rows = labels.micrographs
    sessions = [row.session for row in rows]
    folds = stratified_folds(data.classes, sessions, settings.seed)
    shipped = loaded(SHIPPED)
    calls = [(shipped, data, folds.index == fold, settings) for fold in range(folds.count)]
    parts: list[Any] = [None] * folds.count
    for done, (fold, outcome) in enumerate(workers.outcomes(fit_fold, calls), start=1):
        if outcome.problem:
            raise RuntimeError(outcome.problem)
        parts[fold] = outcome.value
        progress(LOOKING + (0.95 - LOOKING) * done / folds.count, f"fold {done} of {folds.count}")
    network, rival = (joined([part[which] for part in parts], folds.index) for which in (0, 1))
    choice = chosen(network, data.classes), chosen(rival, data.classes)
    progress(0.96, "fit to all labels")
    with atomic_path(target) as weights:
        fitted(shipped, data, *choice, settings).save(weights)

    def scored(by_network: Tensor, by_rival: Tensor) -> dict[str, Any]:
        return evaluate(Judged(data.classes, {"network": by_network, "measurements": by_rival}, sessions, {}))

    return {
        "data": _data(labels, data.classes),
        "made": _made(choice, folds, settings),
        "before": scored(network.probabilities[0], rival.probabilities[0]),
        "after": scored(*(of_unseen(one, data.classes, folds.index) for one in (network, rival))),
    }


def _data(labels: Labels, classes: Tensor) -> dict[str, Any]:
    rows = labels.micrographs
    pixels = [row.optics.pixel_size_A for row in rows]
    voltages = sorted({row.optics.voltage_kV for row in rows})
    specimens = sorted({row.specimen for row in rows} - {""})
    return {
        "labels_file": labels.path.name,
        "labels_sha256": labels.sha256,
        "micrographs": len(rows),
        "by_label": dict(zip(LABELS, torch.bincount(classes, minlength=3).tolist(), strict=True)),
        "sessions": len({row.session for row in rows}),
        "pixel_size_A": [min(pixels), max(pixels)],
        "voltages": ", ".join(f"{value:g} kV" if value else "voltage not known" for value in voltages),
        "specimens": ", ".join(specimens) or "not named",
        "notes": list(labels.notes),
    }


def _made(choice: tuple[Any, Any], folds: Folds, settings: TuningSettings) -> dict[str, Any]:
    network, rival = choice
    words = f"heads {settings.head_steps} steps at most, whole networks from {settings.whole_from} labels on"
    return {
        "network": list(network),
        "rival": list(rival),
        "folds": folds.count,
        "by_session": folds.by_session,
        "start_sha256": sha256_of(SHIPPED),
        "seed": settings.seed,
        "settings": asdict(settings),
        "settings_words": words,
    }
