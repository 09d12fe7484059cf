"""The gallery of 2D class averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_stack_images
from scherzer.report.columns import A
from scherzer.report.data import ClassGallery
from scherzer.report.images import Float, grey, shrink
from scherzer.report.style import png_uri
from scherzer.report.tables import Missing
from scherzer.report.words import plain_number

CLASS_PX = 112


@dataclass(frozen=True)
class ClassTile:
    """One class average with the lines beneath it: how many particles, which resolution."""

    uri: str
    number: int
    kept: bool
    lines: tuple[str, str]
    reason: str


def tiles(gallery: ClassGallery, most: int) -> list[ClassTile] | Missing:
    """Return the averages by falling population; empty classes are left out."""
    frame = gallery.classes.reset_index(drop=True)
    records = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    order = sorted(range(len(records)), key=lambda i: (-_count(records[i]), i))
    shown = [i for i in order if _count(records[i]) > 0][:most]
    try:
        images = read_stack_images(gallery.stack, [_index(records[i], i) for i in shown])
    except BadInput as error:
        return Missing(error.problem)
    images = within_mask(images)
    return [_tile(records[i], _index(records[i], i), image) for i, image in zip(shown, images, strict=True)]


def within_mask(images: Float) -> Float:
    """Cut ``(n, b, b)`` averages to what their mask leaves: outside of it all are exactly 0."""
    box = images.shape[-1]
    used = np.argwhere((images != 0).any(axis=0)) - box // 2
    reach = min(int(np.abs(used).max()) + 2, box // 2) if len(used) else box // 2
    inside = slice(box // 2 - reach, box // 2 + reach)
    return images[:, inside, inside]


def _tile(record: dict[str, Any], index: int, image: Float) -> ClassTile:
    small, _ = shrink(image, 2 * CLASS_PX)
    low, high = (float(v) for v in np.quantile(small, (0.01, 0.998)))
    count = f"{plain_number(_count(record), 0)} particles" if _has_counts(record) else f"{100 * _count(record):.1f} %"
    levels = [record.get(name) for name in ("rlnEstimatedResolution", "sczResolution143")]
    known = [f"{value:.1f}" for value in levels if isinstance(value, float) and 0 < value < 900]
    resolution = f"{known[0]}{f' ({known[1]})' if len(known) > 1 else ''} {A}" if known else ""
    reason = record.get("sczReason")
    reason = reason if isinstance(reason, str) else ""
    return ClassTile(png_uri(grey(small, low, high, 64)), index + 1, _kept(record), (count, resolution), reason)


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
