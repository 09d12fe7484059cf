"""The words beside a class."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from scherzer.micrographs.contrast.classifier import ContrastClass
from scherzer.micrographs.contrast.measurements import measure
from scherzer.micrographs.contrast.words import why
from scherzer.physics.optics import Optics


@pytest.fixture(scope="module")
def found() -> ContrastClass:
    image = torch.randn(512, 512, generator=torch.Generator().manual_seed(0)) + 30
    measured = replace(
        measure(image, Optics(1.5, 300.0, 2.7, 0.1)),
        particle_band_power=1.84,
        band_ratio=2.61,
        thon_amplitude=0.213,
        fit_resolution_A=4.13,
        empty_fraction=0.12,
    )
    return ContrastClass("moderate", (0.31, 0.62, 0.07), 11.24, 9.6, 13.1, measured)


def test_class_interval_and_measurements_stand_in_one_line(found: ContrastClass) -> None:
    assert why(found) == (
        "moderate (0.62) or good (0.31): d' 11.2 (9.6 to 13.1); particle-band power 1.8 times the noise, "
        "2.6 times that of the fine band, Thon rings 0.21 of the noise, fitted to 4.1 A, 12% of the squares empty"
    )


def test_what_was_not_measured_is_not_told(found: ContrastClass) -> None:
    bare = replace(found.measurements, thon_amplitude=math.nan, fit_resolution_A=math.nan, empty_fraction=0.0)
    text = why(replace(found, probabilities=(0.02, 0.97, 0.01), measurements=bare))
    assert text.startswith("moderate (0.97): d'")
    assert not any(word in text for word in ("nan", "Thon", "fitted", "empty", "good"))
