"""The shipped classifier: it follows what the image shows and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scherzer.formats.errors import BadInput
from scherzer.micrographs.contrast import classifier as room
from scherzer.micrographs.contrast.classifier import ContrastClassifier
from scherzer.micrographs.contrast.visibility import LABELS
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.plan import ExposurePlan
from scherzer.simulate.settings import MicroscopeSettings, ParticleSettings, SimulationSettings
from scherzer.simulate.specimen import Specimen, load_specimen

WEIGHTS = Path(room.__file__).parent / "weights" / "contrast.safetensors"
SETTINGS = SimulationSettings(
    microscope=MicroscopeSettings(height_px=768, width_px=768, pixel_size_A=1.6),
    particles=ParticleSettings(per_micrograph=30),
)
MODELS = Path(__file__).parents[2] / "../shared/models"


@pytest.fixture(scope="module")
def classifier() -> ContrastClassifier:
    return ContrastClassifier.load()


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return load_specimen(SETTINGS.specimen)


def exposure(
    specimen: Specimen, defocus_A: float, settings: SimulationSettings = SETTINGS, thickness_A: float = 300.0
) -> Tensor:
    plan = ExposurePlan(5, "x", (), defocus_A + 80, defocus_A - 80, 0.3, thickness_A)
    return torch.from_numpy(next(simulate_exposure(plan, specimen, settings).frames).astype(np.float32))


@pytest.fixture(scope="module")
def high(specimen: Specimen) -> Tensor:
    return exposure(specimen, 24000.0)


def test_probabilities_are_probabilities(classifier: ContrastClassifier, high: Tensor) -> None:
    found = classifier.classify(high, SETTINGS.microscope.optics)
    assert sum(found.probabilities) == pytest.approx(1.0, abs=1e-5)
    assert found.label == LABELS[int(np.argmax(found.probabilities))]
    assert found.d_prime_low < found.d_prime < found.d_prime_high


def test_the_same_place_at_less_defocus_falls_in_class(
    classifier: ContrastClassifier, specimen: Specimen, high: Tensor
) -> None:
    found = [classifier.classify(image, SETTINGS.microscope.optics) for image in (high, exposure(specimen, 3500.0))]
    assert found[0].label == "good"
    assert found[1].label == "bad"
    assert found[0].d_prime > 1.4 * found[1].d_prime


def test_the_same_signal_under_more_noise_falls_in_class(classifier: ContrastClassifier, high: Tensor) -> None:
    rng = np.random.default_rng(2)
    noise = torch.from_numpy(rng.standard_normal(tuple(high.shape), dtype=np.float32)) * high.std()
    estimates = [classifier.classify(high + factor * noise, SETTINGS.microscope.optics) for factor in (0.0, 1.0, 2.5)]
    d_primes = [found.d_prime for found in estimates]
    assert d_primes[0] > 1.15 * d_primes[1] > 1.15 * 1.15 * d_primes[2]
    assert LABELS.index(estimates[2].label) > LABELS.index(estimates[0].label)


def test_grey_levels_do_not_matter(classifier: ContrastClassifier, high: Tensor) -> None:
    one = classifier.classify(high, SETTINGS.microscope.optics)
    other = classifier.classify(-900 + 37 * high, SETTINGS.microscope.optics)
    assert other.d_prime == pytest.approx(one.d_prime, rel=1e-3)


def test_the_pixel_size_hardly_matters(classifier: ContrastClassifier, high: Tensor) -> None:
    small = 480  # 2.56 A/px from 1.6, by cutting the transform
    transform = torch.fft.fftshift(torch.fft.fft2(high))
    edge = (768 - small) // 2
    cut = transform[edge:-edge, edge:-edge]
    coarse = torch.fft.ifft2(torch.fft.ifftshift(cut)).real * (small / 768) ** 2
    one = classifier.classify(high, SETTINGS.microscope.optics)
    other = classifier.classify(coarse, replace(SETTINGS.microscope, pixel_size_A=2.56).optics)
    assert other.d_prime == pytest.approx(one.d_prime, rel=0.08)


def test_noise_alone_is_bad(classifier: ContrastClassifier) -> None:
    image = torch.from_numpy(np.random.default_rng(4).poisson(9.0, (900, 900)).astype(np.float32))
    assert classifier.classify(image, SETTINGS.microscope.optics).label == "bad"


def test_weights_are_small_and_load_without_pickle() -> None:
    assert WEIGHTS.stat().st_size < 8e6
    assert load_file(WEIGHTS)


def test_saved_weights_come_back(classifier: ContrastClassifier, high: Tensor, tmp_path: Path) -> None:
    classifier.save(tmp_path / "w.safetensors")
    again = ContrastClassifier.load(tmp_path / "w.safetensors").classify(high, SETTINGS.microscope.optics)
    assert again == classifier.classify(high, SETTINGS.microscope.optics) or again.probabilities == pytest.approx(
        classifier.classify(high, SETTINGS.microscope.optics).probabilities
    )


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(BadInput, match="no weights"):
        ContrastClassifier.load(tmp_path / "text")
    tensors = {**load_file(WEIGHTS), "version": torch.tensor([99])}
    save_file(tensors, tmp_path / "old")
    with pytest.raises(BadInput, match="another version"):
        ContrastClassifier.load(tmp_path / "old")


@pytest.mark.parametrize("image", [torch.ones(300, 300), torch.full((300, 300), torch.nan), torch.rand(20, 20)])
def test_what_is_no_micrograph_is_refused(classifier: ContrastClassifier, image: Tensor) -> None:
    with pytest.raises(ValueError, match="contrast needs"):
        classifier.classify(image, SETTINGS.microscope.optics)
