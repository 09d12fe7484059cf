"""Sets of micrographs of known condition for the condition network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from condition_images import RECORDED, SMALL, Specimens, make_recorded, make_small
from torch import Tensor

from scherzer.micrographs.contrast.out_of_domain import marks
from scherzer.micrographs.contrast.thumbnail import thumbnail

# Symmetry, diameter (A) and kind of the phantoms. No set has a shape of another.
TRAINING = (
    ("C1", 85.0, "globular"),
    ("C1", 120.0, "globular"),
    ("D2", 160.0, "globular"),
    ("O", 130.0, "globular"),
    ("C4", 145.0, "globular"),
    ("D3", 220.0, "globular"),
    ("I", 260.0, "globular"),
    ("D6", 180.0, "membrane"),
)
VALIDATION = (("C2", 110.0, "globular"), ("D4", 180.0, "globular"), ("C1", 150.0, "globular"))
TEST = (("C1", 100.0, "globular"), ("C3", 135.0, "globular"), ("T", 170.0, "globular"), ("D2", 240.0, "globular"))


@dataclass(frozen=True)
class ConditionSet:
    """Pictures and what is wrong with them.

    Attributes
    ----------
    pictures : list of Tensor
        ``(h, w)`` at 8 A, float16.
    labels : Tensor
        ``(n, labels)``; NaN where a label is not known.
    kinds : list of str
        What was asked for.
    marks : Tensor
        ``(n, 26)``, see :func:`scherzer.micrographs.contrast.out_of_domain.marks`.
    """

    pictures: list[Tensor]
    labels: Tensor
    kinds: list[str]
    marks: Tensor

    def __add__(self, other: ConditionSet) -> ConditionSet:
        """Join two sets."""
        return ConditionSet(
            self.pictures + other.pictures,
            torch.cat([self.labels, other.labels]),
            self.kinds + other.kinds,
            torch.cat([self.marks, other.marks]),
        )


def small_set(names: tuple[tuple[str, float, str], ...], count: int, seed: int) -> ConditionSet:
    """Make small pictures of eight bits; the set depends on the arguments alone."""
    specimens = Specimens.of(names, SMALL.atoms, seed)
    made = [make_small(specimens, seed, number) for number in range(count)]
    pictures = [torch.from_numpy(picture).half() for picture, _, _ in made]
    described = torch.stack([marks(picture.float(), picture.float()) for picture in pictures])
    return _joined(pictures, [labels for _, labels, _ in made], [kind for *_, kind in made], described)


def recorded_set(names: tuple[tuple[str, float, str], ...], count: int, seed: int) -> ConditionSet:
    """Make micrographs as cameras record them and bring them to 8 A; the set depends on the arguments alone."""
    specimens = Specimens.of(names, RECORDED.atoms, seed)
    pictures, labels, kinds, described = [], [], [], []
    for number in range(count):
        counts, pixel_A, label, kind = make_recorded(specimens, seed, number)
        image = torch.from_numpy(counts)
        small = thumbnail(image, pixel_A)
        pictures.append((small / small.std()).half())
        described.append(marks(image, small))
        labels.append(label)
        kinds.append(kind)
    return _joined(pictures, labels, kinds, torch.stack(described))


def _joined(pictures: list[Tensor], labels: list[np.ndarray], kinds: list[str], described: Tensor) -> ConditionSet:
    return ConditionSet(pictures, torch.stack([torch.from_numpy(label) for label in labels]), kinds, described)
