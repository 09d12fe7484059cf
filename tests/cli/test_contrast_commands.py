"""``scherzer contrast``: a session, or the two commands on labels."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from scherzer.cli.main import app
from scherzer.formats.mrc import read_mrc, write_mrc
from scherzer.micrographs.contrast.classifier import ContrastClassifier


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return labels of twelve small images with dark blobs of three strengths."""
    root = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(3)
    lines = ["micrograph,label,session,specimen"]
    for index in range(12):
        blobs = gaussian_filter((rng.random((320, 320)) < 0.001).astype(float), 8) * 800
        strength = (1.5, 0.7, 0.2)[index % 3]
        image = rng.normal(50, 7, blobs.shape) - strength * 7 * blobs
        write_mrc(root / f"m{index}.mrc", image.astype(np.float32), 2.0, "image")
        label = ("good", "moderate", "bad")[index % 3]
        lines.append(f"m{index}.mrc,{label},s{index // 6},{'xy'[index % 2]}")
    (root / "labels.csv").write_text("\n".join(lines))
    return root


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["contrast", *arguments])
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_an_evaluation_is_shown_and_written_and_does_not_depend_on_workers(labelled: Path, tmp_path: Path) -> None:
    labels = str(labelled / "labels.csv")
    shown = []
    for workers in ("1", "2"):
        out = str(tmp_path / workers)
        result = CliRunner().invoke(app, ["contrast", "evaluate", labels, "--out", out, "--workers", workers])
        assert result.exit_code == 0, result.output
        shown.append(result.stdout)
    assert shown[0] == shown[1]
    for word in ("12 micrographs, 2 sessions: 4 good, 4 moderate, 4 bad", "AUROC", "specimen x", "calibration error"):
        assert word in shown[0]
    one, two = (tmp_path / name for name in ("1", "2"))
    for file in ("evaluation.json", "reliability.png"):
        assert (one / file).read_bytes() == (two / file).read_bytes()
    found = json.loads((one / "evaluation.json").read_text())
    assert [entry["row"] for entry in found["each"]] == list(range(2, 14))
    confusion = np.zeros((3, 3), int)
    for entry in found["each"]:
        labels_in_order = ("good", "moderate", "bad")
        confusion[labels_in_order.index(entry["label"]), labels_in_order.index(entry["network"])] += 1
    assert confusion.tolist() == found["network"]["confusion"]


def test_a_folder_with_other_files_is_not_written_to(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    line = refused("evaluate", str(labelled / "labels.csv"), "--out", str(tmp_path))
    assert "holds other files, which are not overwritten" in line


def test_weights_that_are_none_are_refused(labelled: Path, tmp_path: Path) -> None:
    labels = str(labelled / "labels.csv")
    assert "nowhere: no such file" in refused("evaluate", labels, "--weights", str(tmp_path / "nowhere"))
    (tmp_path / "text").write_text("no weights")
    assert "holds no weights" in refused("evaluate", labels, "--weights", str(tmp_path / "text"))
    save_file({"version": torch.tensor([99])}, tmp_path / "other")
    assert "another version" in refused("evaluate", labels, "--weights", str(tmp_path / "other"))


def test_a_session_does_not_keep_weights_that_are_none(labelled: Path, tmp_path: Path) -> None:
    session = tmp_path / "session"
    known = ("--voltage", "300", "--cs", "2.7")
    result = CliRunner().invoke(app, ["import", str(session), str(labelled / "m0.mrc"), *known])
    assert result.exit_code == 0, result.output
    before = (session / "session.yaml").read_text()
    assert "nowhere: no such file" in refused(str(session), "--weights", str(tmp_path / "nowhere"))
    assert "holds no weights" in refused(str(session), "--weights", str(labelled / "labels.csv"))
    assert (session / "session.yaml").read_text() == before


def test_a_micrograph_that_cannot_be_read_is_named_with_its_row(labelled: Path, tmp_path: Path) -> None:
    write_mrc(tmp_path / "flat.mrc", np.zeros((96, 96), np.float32), 2.0, "image")
    lines = ["micrograph,label", f"{labelled}/m0.mrc,good", "flat.mrc,moderate", f"{labelled}/m2.mrc,bad"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    line = refused("evaluate", str(tmp_path / "labels.csv"))
    assert f"{tmp_path}/labels.csv row 3: flat.mrc: is zero everywhere" in line


def train(labels: Path, out: Path, workers: str = "1") -> str:
    arguments = ["contrast", "train", str(labels), "--out", str(out), "--workers", workers]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def many(labelled: Path) -> Path:
    """Return thirty labels: each image once more under other names, as a copy, and once turned."""
    lines = ["micrograph,label,session"]
    for index in range(30):
        image = read_mrc(labelled / f"m{index % 12}.mrc").data
        turned = np.ascontiguousarray(np.rot90(image, index // 12))
        write_mrc(labelled / f"n{index}.mrc", turned, 2.0, "image")
        lines.append(f"n{index}.mrc,{('good', 'moderate', 'bad')[index % 3]},s{index % 4}")
    (labelled / "many.csv").write_text("\n".join(lines))
    return labelled / "many.csv"


@pytest.fixture(scope="module")
def trained(many: Path) -> Path:
    """Return the folder of a training."""
    train(many, many.parent / "trained")
    return many.parent / "trained"


def test_training_leaves_weights_and_a_card(many: Path, trained: Path) -> None:
    assert ContrastClassifier.load(trained / "contrast.safetensors").networks
    card = json.loads((trained / "model_card.json").read_text())
    assert card["data"]["by_label"] == {"good": 10, "moderate": 10, "bad": 10}
    assert card["data"]["labels_sha256"] == hashlib.sha256(many.read_bytes()).hexdigest()
    assert card["made"]["by_session"]
    assert sum(map(sum, card["after"]["network"]["confusion"])) == 30
    assert card["data"]["labels_sha256"] in (trained / "model_card.md").read_text()


@pytest.mark.slow
def test_training_is_the_same_with_more_workers_and_its_weights_are_used(many: Path, trained: Path) -> None:
    again = trained.with_name("again")
    shown = train(many, again, "2").replace("/again", "/trained")
    for file in ("contrast.safetensors", "model_card.json", "model_card.md"):
        assert (again / file).read_bytes() == (trained / file).read_bytes()
    assert train(many, trained) == shown  # read back
    weights = str(trained / "contrast.safetensors")
    result = CliRunner().invoke(app, ["contrast", "evaluate", str(many), "--weights", weights])
    assert result.exit_code == 0, result.output


def test_too_few_labels_are_refused(labelled: Path, many: Path, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "out"))
    assert "holds 12 labels, and training takes 30 at least" in refused("train", str(labelled / "labels.csv"), *out)
    text = many.read_text().replace(",bad", ",moderate").replace("n2.mrc,moderate", "n2.mrc,bad")
    (labelled / "few.csv").write_text(text)
    assert "only 1 micrographs are labelled bad" in refused("train", str(labelled / "few.csv"), *out)
    assert not (tmp_path / "out").exists()


def test_a_word_that_is_no_command_is_a_session(tmp_path: Path) -> None:
    assert "is not a session" in refused(str(tmp_path))
    assert "is not a session" in refused("--workers", "1", str(tmp_path))
