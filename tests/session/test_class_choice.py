"""A person's choice of classes stands over the program's, says so, and can be taken back."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scherzer.formats.errors import BadInput
from scherzer.formats.star import StarTable
from scherzer.particles.class_selection import ClassSelectionSettings
from scherzer.session.stages.class2d import read_classes, retained, summary, write_choice
from scherzer.session.stages.class_choice import Choice, choice_of, chosen, store_choice, stored_choice, with_states

SETTINGS = ClassSelectionSettings()


def classes() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "rlnReferenceImage": [f"{number:06d}@class2d/classes.mrcs" for number in range(1, 5)],
            "sczClassParticles": [40, 30, 20, 10],
            "sczAutoClassKept": [1, 1, 0, 0],
            "sczAutoReason": ["", "", "lies 0.30 diameters off the centre", "its two halves agree only to 80 A"],
        }
    )


def content(path: Path) -> str:
    """Return what a STAR file holds but for its first line, the time of writing."""
    return path.read_text().split("\n", 1)[1]


def particles() -> StarTable:
    number = np.repeat([1, 2, 3, 4], [40, 30, 20, 10])
    rows = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@extract/a.mrcs" for i in range(100)],
            "rlnClassNumber": number,
            "sczNoiseProbability": np.where(np.arange(100) == 0, 0.9, 0.01),
            "sczClassMisfit": np.where(np.arange(100) == 1, 2 * SETTINGS.max_misfit, 1.0),
        }
    )
    optics = pd.DataFrame({"rlnOpticsGroup": [1]})
    return StarTable("particles", optics, rows.assign(rlnOpticsGroup=1))


@pytest.mark.parametrize(
    ("choice", "kept", "accepted"),
    [
        (Choice(), [1, 1, 0, 0], 68),
        (Choice(keep=(1, 4)), [1, 0, 0, 1], 48),
        (Choice(drop=(2,)), [1, 0, 0, 0], 38),
    ],
)
def test_a_choice_decides_what_is_accepted(choice: Choice, kept: list[int], accepted: int) -> None:
    final = chosen(classes(), choice)
    assert final["sczClassKept"].tolist() == kept
    states = with_states(particles(), final, SETTINGS.max_misfit)
    assert (states.rows["sczState"] == "accepted").sum() == accepted
    assert len(states) == 100  # never deletes
    assert states.rows["sczReason"][0] == "more like noise than any class"
    assert states.rows["sczReason"][1].startswith("more in the image")
    assert (states.rows["sczReason"] == "").equals(states.rows["sczState"] == "accepted")


def test_reasons_say_who_decided() -> None:
    assert chosen(classes(), Choice(keep=(1, 4)))["sczReason"].tolist() == [
        "",
        "left out by hand",
        "lies 0.30 diameters off the centre",
        "kept by hand",
    ]


def test_a_choice_is_taken_back_to_the_byte(tmp_path: Path) -> None:
    write_choice(tmp_path, particles(), classes(), Choice(), SETTINGS)
    before = {name: content(tmp_path / name) for name in ("classes.star", "particles.star")}
    write_choice(tmp_path, particles(), read_classes(tmp_path), Choice(drop=(1, 2)), SETTINGS)
    assert content(tmp_path / "particles.star") != before["particles.star"]
    write_choice(tmp_path, particles(), read_classes(tmp_path), Choice(), SETTINGS)
    assert {name: content(tmp_path / name) for name in before} == before


def test_a_stored_choice_is_of_its_classes_only(tmp_path: Path) -> None:
    store_choice(tmp_path, "these", Choice(drop=(2, 3)))
    assert stored_choice(tmp_path, "these") == Choice(drop=(2, 3))
    assert stored_choice(tmp_path, "others") == Choice()
    store_choice(tmp_path, "these", Choice())
    assert not list(tmp_path.iterdir())


def test_options_are_read() -> None:
    assert choice_of(None, None) is None
    assert choice_of("auto", None) == Choice()
    assert choice_of("7, 1,4,4", None) == Choice(keep=(1, 4, 7))
    assert choice_of(None, "2") == Choice(drop=(2,))


@pytest.mark.parametrize(("keep", "drop"), [("1,x", None), (None, ""), ("0", None), ("1", "2"), (None, "auto")])
def test_what_is_no_choice_is_refused(keep: str | None, drop: str | None) -> None:
    with pytest.raises(BadInput):
        choice_of(keep, drop)


def test_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInput, match="no class 5"):
        chosen(classes(), Choice(keep=(1, 5)))


def test_retained_shares_are_told_by_contrast() -> None:
    states = with_states(particles(), chosen(classes(), Choice()), SETTINGS.max_misfit)
    group = pd.Series(["good"] * 40 + ["bad"] * 40 + [""] * 20)
    counts = retained(states, group)
    assert counts == {"good": (38, 40), "bad": (30, 40)}
    assert summary(states, counts) == "68 of 100 particles kept (68 %), in 2 classes; good 95 %, bad 75 %"
