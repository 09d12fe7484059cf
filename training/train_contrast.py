"""Train the contrast classifier from nothing and write its weights and model card.

    python training/train_contrast.py [--model FILE ...] [--sets FOLDER]

takes the time of one processor core that the model card states. Models given (PDB or mmCIF) become further specimens
of the test; training uses made-up shapes only. With ``--sets`` the micrographs are kept in a folder with the time they
took, and taken from it the next time. The result follows from the seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contrast_card import card_text
from contrast_report import ablations, report
from contrast_scenes import Scene, Subject, draw_test_sessions, draw_training_scene, made_up_subjects, test_subjects
from contrast_sets import LabelledSet, make_set
from contrast_shapes import in_one_piece

from scherzer.micrographs.contrast.classifier import ContrastClassifier
from scherzer.micrographs.contrast.ensemble import estimate_all
from scherzer.micrographs.contrast.logistic import fit_logistic
from scherzer.micrographs.contrast.training import TrainingSettings, fit_combination, fit_network
from scherzer.micrographs.contrast.visibility import GOOD_FROM, MODERATE_FROM

OUT = Path(__file__).parent.parent / "src/scherzer/micrographs/contrast/weights"
SEED = 20240445
MEMBERS = 2
TRAINING_SPECIMENS, VALIDATION_SPECIMENS = 2000, 120
# Drawn; one in ten is of a body in pieces and is left out.
TRAINING_IMAGES, VALIDATION_IMAGES = 6000, 240
MEASURED, TEST_IMAGES_PER_SESSION = 220, 6
# Fields of view, A: training takes a patch of each; how sure a whole micrograph makes is set and tested on wider ones.
TRAINING_SIDE_A, WHOLE_SIDE_A = 1152.0, 2600.0


def main() -> None:
    """Make the sets, fit, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, action="append", default=[], help="specimen for the test only")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--sets", type=Path, help="folder to keep the micrographs in")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    makers: dict[str, Callable[[], LabelledSet]] = {
        "training": training_set,
        "validation": validation_set,
        "test": lambda: test_set(arguments.model),
    }
    sets, seconds = {}, {}
    for name, make in makers.items():
        sets[name], seconds[f"{name} set"] = kept_set(arguments.sets, name, make)
    training, validation, test = sets.values()
    classifier, seconds["fit"] = timed(lambda: fit(training, validation))
    rows, seconds["ablations"] = timed(lambda: ablations(training, validation, test, SEED))
    card = {
        "made": {
            "seconds_of_one_core": seconds,
            "seed": SEED,
            "members": MEMBERS,
            "training_settings": asdict(TrainingSettings()),
            "training_specimens": len(set(training.column("specimen"))),
            "validation_specimens": len(set(validation.column("specimen"))),
            "images": {"training": len(training.images), "validation": len(validation.images)},
        },
        "classes": {"good_from_d_prime": GOOD_FROM, "moderate_from_d_prime": MODERATE_FROM},
        "test": report(classifier, test),
        "ablations": rows,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    classifier.save(arguments.out / "contrast.safetensors")
    (arguments.out / "model_card.json").write_text(json.dumps(card, indent=1) + "\n")
    text = card_text(card)
    (arguments.out / "model_card.md").write_text(text)
    print(text)


def training_set() -> LabelledSet:
    """Make the micrographs that are trained on."""
    scenes = drawn(made_up_subjects(TRAINING_SPECIMENS, SEED + 1), TRAINING_IMAGES, SEED + 11, TRAINING_SIDE_A)
    return make_set(scenes, MEASURED, said("training"))


def validation_set() -> LabelledSet:
    """Make those by which members are weighed and errors are made honest: specimens that are not trained on."""
    scenes = drawn(made_up_subjects(VALIDATION_SPECIMENS, SEED + 2), VALIDATION_IMAGES, SEED + 12, WHOLE_SIDE_A)
    return make_set(scenes, len(scenes), said("validation"))


def test_set(models: list[Path]) -> LabelledSet:
    """Make the test's sessions, all of them measured."""
    scenes = draw_test_sessions(test_subjects(models, SEED + 3), TEST_IMAGES_PER_SESSION, WHOLE_SIDE_A, SEED + 13)
    return make_set(scenes, len(scenes), said("test"))


def drawn(subjects: list[Subject], count: int, seed: int, side_A: float) -> list[Scene]:
    """Draw so many scenes, each with a generator of its own, and leave out those of bodies in pieces."""
    whole = {subject.name for subject in subjects if in_one_piece(subject.specimen.atoms)}
    scenes = (
        draw_training_scene(np.random.default_rng([seed, index]), subjects, side_A, index) for index in range(count)
    )
    return [scene for scene in scenes if scene.subject.name in whole]


def said(name: str) -> Callable[[int], None]:
    """Return what tells how many micrographs of a set are made."""
    return lambda made: print(f"{name}: {made} micrographs", flush=True) if made % 100 == 0 else None


def timed(work: Callable[[], Any]) -> tuple[Any, int]:
    """Do something; return what it gives and how many seconds of a core it took."""
    started = time.process_time()
    done = work()
    return done, round(time.process_time() - started)


def kept_set(folder: Path | None, name: str, make: Callable[[], LabelledSet]) -> tuple[LabelledSet, int]:
    """Take a set from a folder, or make it and keep it there; with the seconds of a core that it took."""
    path = folder / f"{name}.pt" if folder else None
    if path and path.exists():
        kept = torch.load(path, weights_only=True)
        return LabelledSet(**kept["set"]), kept["seconds_of_one_core"]
    made, seconds = timed(make)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"set": vars(made), "seconds_of_one_core": seconds}, path)
    return made, seconds


def fit(training: LabelledSet, validation: LabelledSet) -> ContrastClassifier:
    """Fit the networks, their combination and the rival."""
    networks = [
        fit_network(
            training.images,
            training.log_d_prime,
            TrainingSettings(),
            SEED + member,
            lambda done, said, member=member: print(f"network {member}: {done:4.0%} {said}", flush=True),
        )
        for member in range(MEMBERS)
    ]
    combination = fit_combination(*estimate_all(networks, validation.images), validation.log_d_prime)
    measured = ~training.features.isnan().all(1)
    features = torch.cat([training.features[measured], validation.features])
    classes = torch.cat([training.classes[measured], validation.classes])
    return ContrastClassifier(networks, combination, fit_logistic(features, classes))


if __name__ == "__main__":
    main()
