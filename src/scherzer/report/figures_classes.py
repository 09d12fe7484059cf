"""The gallery of 2D class averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_stack_images
from scherzer.report.columns import A
from scherzer.report.data import ClassGallery
from scherzer.report.images import grey, shrink
from scherzer.report.style import png_uri
from scherzer.report.tables import Missing
from scherzer.report.words import plain_number

CLASS_PX = 112


@dataclass(frozen=True)
class ClassTile:
    """One class average with its caption."""

    uri: str
    number: int
    kept: bool
    caption: str
    reason: str


def tiles(gallery: ClassGallery, most: int) -> list[ClassTile] | Missing:
    """Return the averages, kept ones first, each by falling population; empty classes are left out."""
    frame = gallery.classes.reset_index(drop=True)
    records = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    order = sorted(range(len(records)), key=lambda i: (not _kept(records[i]), -_count(records[i]), i))
    shown = [i for i in order if _count(records[i]) > 0][:most]
    try:
        images = read_stack_images(gallery.stack, [_index(records[i], i) for i in shown])
    except BadInput as error:
        return Missing(error.problem)
    return [_tile(records[i], _index(records[i], i), image) for i, image in zip(shown, images, strict=True)]


def _tile(record: dict[str, Any], index: int, image: np.ndarray[Any, np.dtype[np.float32]]) -> ClassTile:
    small, _ = shrink(image, 2 * CLASS_PX)
    low, high = (float(v) for v in np.quantile(small, (0.01, 0.998)))
    words = [f"{plain_number(_count(record), 0)} particles" if _has_counts(record) else f"{100 * _count(record):.1f} %"]
    resolution = record.get("rlnEstimatedResolution")
    if isinstance(resolution, int | float) and np.isfinite(resolution) and 0 < resolution < 900:
        words.append(f"{resolution:.1f} {A}")
    reason = record.get("sczReason")
    reason = reason if isinstance(reason, str) else ""
    return ClassTile(png_uri(grey(small, low, high, 64)), index + 1, _kept(record), ", ".join(words), reason)


def _index(record: dict[str, Any], row: int) -> int:
    """Place in the stack, from 0; RELION writes ``000001@stack``, from 1."""
    number = str(record.get("rlnReferenceImage", "")).split("@")[0]
    return int(number) - 1 if number.isdigit() else row


def _kept(record: dict[str, Any]) -> bool:
    if "sczClassKept" in record:
        return bool(int(record["sczClassKept"]))
    return str(record.get("sczState", "accepted")) == "accepted"


def _has_counts(record: dict[str, Any]) -> bool:
    return "sczClassParticles" in record or "sczParticles" in record


def _count(record: dict[str, Any]) -> float:
    """Particles of a class, or its share of all where the table holds no counts."""
    for name in ("sczClassParticles", "sczParticles", "rlnClassDistribution"):
        if name in record:
            return float(record[name])
    return 1.0
