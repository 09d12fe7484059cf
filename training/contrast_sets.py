"""Sets of labelled micrographs: which specimens, which scenes, what the classifier gets to see of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from contrast_images import PIXEL_A, Scene, draw_scene, expose, visibility
from contrast_shapes import ParticleBank, bank_of, shape_atoms
from torch import Tensor

from scherzer.formats.models import read_atoms
from scherzer.micrographs.contrast.logistic import FEATURES, features_of
from scherzer.micrographs.contrast.measurements import CtfNumbers, measure_whitened
from scherzer.micrographs.contrast.visibility import GOOD_FROM, LABELS, MODERATE_FROM, label_of
from scherzer.micrographs.contrast.whitening import tile_spectrum, whiten
from scherzer.micrographs.ctf_estimation import estimate_ctf
from scherzer.micrographs.ctf_fit import CtfSettings
from scherzer.simulate.phantom import phantom_atoms

# Range of d' of each class in the sets, each covered evenly in its logarithm.
RANGES = {"good": (GOOD_FROM, 36.0), "moderate": (MODERATE_FROM, GOOD_FROM), "bad": (7.0, MODERATE_FROM)}
# Without a particle none is visible: such images count as the low end of bad.
EMPTY_D_PRIME = 6.0
TRIES = 60

TRAINING_SHAPES = [
    ("ball", 80), ("ball", 110), ("ball", 150), ("shell", 100), ("shell", 130), ("shell", 180), ("rod", 120),
    ("rod", 170), ("rod", 230), ("disc", 100), ("disc", 150), ("disc", 200), ("ring", 120), ("ring", 160),
    ("ring", 220), ("lobes", 100), ("lobes", 130), ("lobes", 160), ("lobes", 190), ("lobes", 230), ("lobes", 250),
]  # fmt: skip
VALIDATION_SHAPES = [
    ("ball", 95),
    ("shell", 115),
    ("rod", 145),
    ("disc", 125),
    ("ring", 190),
    ("lobes", 115),
    ("lobes", 175),
]
TEST_SHAPES = [("ball", 130), ("shell", 150), ("disc", 175), ("lobes", 145), ("lobes", 210)]
# Phantoms of the session simulator, made in another way than any shape above; all for the test.
TEST_PHANTOMS = [("O", 130.0), ("D2", 150.0), ("C1", 110.0)]


@dataclass(frozen=True)
class LabelledSet:
    """Micrographs with their truth.

    Attributes
    ----------
    images : Tensor
        ``(n, h, w)`` whitened.
    features : Tensor
        ``(n, f)`` of the physical rival.
    log_d_prime, classes : Tensor
        ``(n,)``.
    specimens : list of str
        ``n`` names.
    scenes : list of Scene
        ``n``.
    """

    images: Tensor
    features: Tensor
    log_d_prime: Tensor
    classes: Tensor
    specimens: list[str]
    scenes: list[Scene]


def shape_banks(shapes: Sequence[tuple[str, int]], seed: int) -> list[ParticleBank]:
    """Build and project shapes."""
    banks = []
    for index, (kind, diameter_A) in enumerate(shapes):
        rng = np.random.default_rng([seed, index])
        banks.append(bank_of(f"{kind} {diameter_A} A", shape_atoms(kind, float(diameter_A), rng), rng))
    return banks


def test_banks(models: Sequence[Path], seed: int) -> list[ParticleBank]:
    """Build the specimens of the test: shapes, the simulator's phantoms, and models if there are any."""
    banks = shape_banks(TEST_SHAPES, seed)
    rng = np.random.default_rng([seed, 1000])
    for symmetry, diameter_A in TEST_PHANTOMS:
        banks.append(bank_of(f"phantom {symmetry} {diameter_A:.0f} A", phantom_atoms(symmetry, diameter_A), rng))
    return banks + [bank_of(path.stem, read_atoms(path), rng) for path in models]


def make_set(banks: Sequence[ParticleBank], count: int, measured: int, empty_share: float, seed: int) -> LabelledSet:
    """Make labelled micrographs, the three classes equally often and every d' within a class too.

    Parameters
    ----------
    banks : sequence of ParticleBank
        Specimens to draw from.
    count, measured : int
        Micrographs, and how many of them get the measurements, which take most of the time.
    empty_share : float
        Share of micrographs without particles.
    seed : int
        Of everything random.
    """
    made = [_make(banks, empty_share, index < measured, np.random.default_rng([seed, index])) for index in range(count)]
    images, features, d_primes, names, scenes = zip(*made, strict=True)
    classes = [LABELS.index(label_of(value)) for value in d_primes]
    return LabelledSet(
        torch.stack(images),
        torch.stack(features),
        torch.tensor(d_primes).log(),
        torch.tensor(classes),
        list(names),
        list(scenes),
    )


def _make(
    banks: Sequence[ParticleBank], empty_share: float, measured: bool, rng: np.random.Generator
) -> tuple[Tensor, Tensor, float, str, Scene]:
    low, high = RANGES[LABELS[rng.integers(3)]]
    for _ in range(TRIES):
        scene, bank = draw_scene(rng), banks[rng.integers(len(banks))]
        d_prime = visibility(scene, bank)
        if low <= d_prime < high:
            break
    if rng.random() < empty_share:
        scene, d_prime = replace(scene, coverage=0.0), EMPTY_D_PRIME
    image = expose(scene, bank, rng)
    optics = replace(scene.optics, pixel_size_A=PIXEL_A)
    spectrum = tile_spectrum(image, PIXEL_A)
    whitened = whiten(image, PIXEL_A, spectrum)
    if not measured:
        return whitened.values, torch.full((len(FEATURES),), torch.nan), d_prime, bank.name, scene
    # The fit is only polished around the truth: the search for it is tested elsewhere and takes most of the time.
    near = CtfSettings(
        min_defocus_A=max(scene.defocus_A - 600, 1000),
        max_defocus_A=scene.defocus_A + 600,
        max_astigmatism_A=600,
        rings_confidence=0.0,
    )
    numbers = CtfNumbers.of(estimate_ctf(image, optics, near))
    found = measure_whitened(image, optics, spectrum, whitened, numbers)
    return whitened.values, features_of(found), d_prime, bank.name, scene
