"""The shipped condition network: what it knows, what it has not seen, and how its weights are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.cbook import get_sample_data
from matplotlib.image import imread
from safetensors.torch import load_file, save_file
from torch import Tensor

from scherzer.formats.errors import BadInput
from scherzer.micrographs.contrast.condition_opinion import SHIPPED, ConditionClassifier
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.plan import ExposurePlan, Fault
from scherzer.simulate.settings import MicroscopeSettings, ParticleSettings, SimulationSettings, SpecimenSettings
from scherzer.simulate.specimen import Specimen, load_specimen

EXAMPLES = Path(__file__).parents[2] / "../shared/real/quality-examples"
# None of the shapes that the weights were trained on.
SETTINGS = SimulationSettings(
    seed=4,
    specimen=SpecimenSettings(symmetry="C2", diameter_A=140),
    microscope=MicroscopeSettings(height_px=1024, width_px=1024, pixel_size_A=2.0),
    particles=ParticleSettings(per_micrograph=60),
)


@pytest.fixture(scope="module")
def classifier() -> ConditionClassifier:
    return ConditionClassifier.load()


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return load_specimen(SETTINGS.specimen)


def exposure(specimen: Specimen, *faults: Fault, number: int = 1) -> Tensor:
    plan = ExposurePlan(number, "x", faults, 18000.0, 17800.0, 0.3, 300.0)
    return torch.from_numpy(next(simulate_exposure(plan, specimen, SETTINGS).frames).astype(np.float32))


@pytest.fixture(scope="module")
def sound(specimen: Specimen) -> Tensor:
    return exposure(specimen)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def test_weights_come_back_and_others_are_refused(tmp_path: Path, classifier: ConditionClassifier) -> None:
    image = noise(960, 960)
    classifier.save(tmp_path / "again.safetensors")
    again = ConditionClassifier.load(tmp_path / "again.safetensors")
    found, expected = again.judge(image, 1.2), classifier.judge(image, 1.2)
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    assert found.strangeness == pytest.approx(expected.strangeness, rel=1e-3)
    save_file(load_file(SHIPPED) | {"version": torch.tensor([99])}, tmp_path / "other.safetensors")
    for name, words in (("other", "another version"), ("missing", "no weights")):
        with pytest.raises(BadInput, match=words):
            ConditionClassifier.load(tmp_path / f"{name}.safetensors")
    assert SHIPPED.stat().st_size < 2e6


def test_small_fields_are_not_judged(classifier: ConditionClassifier) -> None:
    opinion = classifier.judge(noise(700, 1200), 1.0)
    assert np.isnan([*opinion.probabilities.values(), opinion.strangeness]).all()
    assert not opinion.note


def test_a_broken_image_is_refused(classifier: ConditionClassifier) -> None:
    with pytest.raises(ValueError, match="finite"):
        classifier.judge(torch.full((960, 960), torch.nan), 1.0)


def test_sound_fields_are_fine(classifier: ConditionClassifier, sound: Tensor) -> None:
    opinion = classifier.judge(sound, 2.0)
    assert opinion.is_fine
    assert not opinion.note


@pytest.mark.parametrize(
    ("fault", "label"), [("empty", "empty"), ("crystalline", "crystalline"), ("ice_balls", "contamination")]
)
def test_faults_are_named(classifier: ConditionClassifier, specimen: Specimen, fault: Fault, label: str) -> None:
    opinion = classifier.judge(exposure(specimen, fault), 2.0)
    assert not opinion.is_fine
    assert opinion.fault == label


def test_support_is_named_and_leaves_the_field_usable(classifier: ConditionClassifier, specimen: Specimen) -> None:
    assert classifier.judge(exposure(specimen, "carbon_edge"), 2.0).probabilities["carbon"] > 0.5


def test_smearing_is_named(classifier: ConditionClassifier, specimen: Specimen) -> None:
    clear = replace(SETTINGS, exposure=replace(SETTINGS.exposure, dose_e_per_A2=400.0))
    plan = ExposurePlan(1, "x", (), 18000.0, 17800.0, 0.3, 300.0)
    counts = torch.from_numpy(next(simulate_exposure(plan, specimen, clear).frames).astype(np.float32)) / 10
    smeared = torch.nn.functional.avg_pool2d(counts[None, None], (1, 121), 1, (0, 60), count_include_pad=False)[0, 0]
    opinion = classifier.judge(smeared + smeared.sqrt() * noise(1024, 1024), 2.0)
    assert opinion.fault == "drift"
    assert not opinion.is_fine


def test_strange_images_are_told(classifier: ConditionClassifier, sound: Tensor) -> None:
    with get_sample_data("grace_hopper.jpg", asfileobj=True) as file:
        photograph = torch.from_numpy(np.asarray(imread(file, format="jpg"), np.float32).mean(2))
    rows = sound + sound.std() * noise(len(sound), 1, seed=3)
    dead = sound.clone()
    dead[:512, :512] = 0
    for image, pixel_A in ((photograph, 8.0), (photograph, 2.0), (rows, 2.0), (dead, 2.0)):
        opinion = classifier.judge(image, pixel_A)
        assert opinion.strangeness > 1
        assert "unlike the images that the classifier has seen" in opinion.note


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="real micrographs (../shared/real) are absent")
def test_real_examples_are_told_apart(classifier: ConditionClassifier) -> None:
    wrong = []
    for path in sorted(EXAMPLES.glob("*/*.png")):
        opinion = classifier.judge(torch.from_numpy(255 * imread(path)).float(), 8.0)
        if opinion.is_fine != (path.parent.name[0] in "01"):
            wrong.append(path)
    assert len(wrong) <= 2
