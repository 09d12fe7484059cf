"""Scores of a classifier on labels: side by side, with honest intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scherzer.micrographs.contrast.evaluation import Judged, evaluate, reliability


def judged(count: int, skill: float, per_session: int, noise: float = 0.0, seed: int = 0) -> Judged:
    """Labels drawn from the probabilities of the network, which are therefore right; a rival that only guesses.

    ``noise`` is what all micrographs of a session share.
    """
    rng = np.random.default_rng(seed)
    session = np.arange(count) // per_session
    shared = noise * rng.normal(size=(session.max() + 1, 3))[session]
    truth = np.exp(skill * rng.normal(size=(count, 3)))
    truth /= truth.sum(1, keepdims=True)
    classes = np.array([rng.choice(3, p=row) for row in truth])
    said = truth * np.exp(shared)
    by_network = torch.tensor(said / said.sum(1, keepdims=True), dtype=torch.float32)
    guess = torch.tensor(rng.dirichlet([4, 4, 4], count), dtype=torch.float32)
    names = [f"session {index}" for index in session]
    groups = {"specimen": ["even" if index % 2 == 0 else "odd" for index in range(count)]}
    return Judged(torch.from_numpy(classes), {"network": by_network, "measurements": guess}, names, groups)


def test_a_classifier_that_states_the_truth_is_calibrated_and_beats_a_guess() -> None:
    found = evaluate(judged(600, 2.0, 10))
    assert found["network"]["calibration_error"]["value"] < 0.06 < found["measurements"]["calibration_error"]["value"]
    assert found["network"]["auroc"]["low"] > found["measurements"]["auroc"]["high"]
    assert found["measurements"]["auroc"]["low"] < 0.5 < found["measurements"]["auroc"]["high"]
    assert found["smaller_log_loss"] == "network"


def test_micrographs_of_one_session_count_as_one() -> None:
    """Where a session's micrographs share an error, drawing them one by one would be too sure."""
    by_session = judged(300, 1.5, 30, noise=3.0)
    one_by_one = Judged(by_session.classes, by_session.probabilities, [""] * 300, by_session.groups)

    def width(entry: dict[str, float]) -> float:
        return entry["high"] - entry["low"]

    wide, narrow = evaluate(by_session), evaluate(one_by_one)
    assert width(wide["network"]["accuracy"]) > 1.5 * width(narrow["network"]["accuracy"])
    assert "10 sessions" in wide["interval"]
    assert "micrographs" in narrow["interval"]


def test_sessions_of_one_class_each_give_no_interval_rather_than_a_wrong_one() -> None:
    classes = torch.tensor([0, 0, 1, 1, 2, 2])
    exact = torch.eye(3)[classes]
    both = {"network": exact, "measurements": exact}
    lone = evaluate(Judged(classes, both, ["a", "a", "b", "b", "c", "c"], {}))
    # Draws of three sessions that hold all three classes are draws of the whole: one in 4.5.
    assert lone["network"]["accuracy"] == {"value": 1.0, "low": None, "high": None}
    assert lone["interval"].startswith("none")


def test_the_confusion_of_groups_adds_up() -> None:
    found = evaluate(judged(200, 1.5, 20))
    for method in ("network", "measurements"):
        parts = [np.array(row[method]["confusion"]) for row in found["by"]["specimen"]]
        assert (sum(parts) == np.array(found[method]["confusion"])).all()
    assert [row["micrographs"] for row in found["by"]["specimen"]] == [100, 100]
    assert found["by_label"] == np.array(found["network"]["confusion"]).sum(1).tolist()


def test_reliability_tells_overconfidence() -> None:
    classes = torch.tensor([0, 1] * 50)
    bins = reliability(torch.tensor([[0.94, 0.03, 0.03]]).repeat(100, 1), classes)
    assert bins == [{"confidence": pytest.approx(0.94), "right": 0.5, "micrographs": 100}]
