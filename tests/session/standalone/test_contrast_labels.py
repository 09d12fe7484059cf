"""A file of labels: what it may hold, and one line with its row for what it may not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.session.acquisition import Acquisition
from scherzer.session.standalone.contrast_labels import Labels, read_labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abcd":
        image = np.random.default_rng(ord(name)).normal(size=(96, 128)).astype(np.float32)
        write_mrc(tmp_path / "mics" / f"{name}.mrc", image, 1.5, "image")
    return tmp_path


def read(folder: Path, *lines: str, heading: str = "micrograph,label", stated: Acquisition | None = None) -> Labels:
    path = folder / "labels.csv"
    path.write_text("\n".join((heading, *lines)) + "\n", encoding="utf-8")
    return read_labels(path, stated or Acquisition())


GOOD = ("mics/a.mrc,good", "mics/b.mrc,moderate", "mics/c.mrc,bad")


def test_paths_are_relative_to_the_file_or_absolute(folder: Path) -> None:
    found = read(folder, *GOOD[:2], f"{folder}/mics/c.mrc,Bad")
    assert [entry.path.name for entry in found.micrographs] == ["a.mrc", "b.mrc", "c.mrc"]
    assert [entry.class_index for entry in found.micrographs] == [0, 1, 2]
    assert [entry.row for entry in found.micrographs] == [2, 3, 4]
    assert found.micrographs[0].optics.pixel_size_A == pytest.approx(1.5)  # of the header


def test_a_cell_goes_before_an_option_and_an_option_before_a_header(folder: Path) -> None:
    stated = Acquisition(pixel_size_A=1.1, voltage_kV=200.0, cs_mm=1.4)
    heading = "label;micrograph;voltage_kV;session;ice_thickness_A"
    lines = ("good;mics/a.mrc;300;s1;350", "moderate;mics/b.mrc;;s2;", "bad;mics/c.mrc;;;")
    found = read(folder, *lines, heading=heading, stated=stated).micrographs
    assert [entry.optics.voltage_kV for entry in found] == [300, 200, 200]
    assert found[0].optics.pixel_size_A == 1.1
    assert [entry.session for entry in found] == ["s1", "s2", ""]
    assert [entry.ice_thickness_A for entry in found] == [350, None, None]
    assert all(entry.has_ctf for entry in found)


def test_what_is_left_out_and_what_is_lacking_are_told(folder: Path) -> None:
    notes = read(folder, *(f"{line},x" for line in GOOD), heading="micrograph,label,who").notes
    assert notes[0] == "ignored: column who"
    assert "of 3 micrographs not known: no CTF fitted" in notes[1]


@pytest.mark.parametrize(
    ("lines", "where", "problem"),
    [
        ((*GOOD, "mics/d.mrc,ok"), "row 5", "label 'ok' of mics/d.mrc is not known"),
        ((*GOOD, "", "mics/gone.mrc,good", "mics/lost.mrc,bad"), "row 6", "(and 1 more rows with such a fault)"),
        ((*GOOD, "mics/../mics/b.mrc,good"), "row 5", "mics/../mics/b.mrc stands in row 3 already"),
        (GOOD[:2], "labels.csv", "no micrograph is labelled bad"),
        ((*GOOD, ",good"), "row 5", "names no micrograph"),
        ((), "labels.csv", "holds no rows"),
        ((*GOOD, "labels.csv,good"), "row 5", "labels.csv: files ending in .csv are not read"),
    ],
)
def test_a_bad_row_is_named(folder: Path, lines: tuple[str, ...], where: str, problem: str) -> None:
    with pytest.raises(BadInput) as error:
        read(folder, *lines)
    assert error.value.where.endswith(where)
    assert problem in error.value.problem
    assert "\n" not in str(error.value)


def test_a_cut_file_and_a_movie_are_named_with_their_rows(folder: Path) -> None:
    whole = (folder / "mics/d.mrc").read_bytes()
    (folder / "mics/d.mrc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"mics/d.mrc: ") as error:
        read(folder, *GOOD, "mics/d.mrc,good")
    assert error.value.where.endswith("labels.csv row 5")
    write_mrc(folder / "mics/d.mrc", np.zeros((3, 96, 128), np.float32), 1.5, "stack")
    with pytest.raises(BadInput, match="is a movie of 3 frames"):
        read(folder, *GOOD, "mics/d.mrc,good")


def test_numbers_that_cannot_be_are_named(folder: Path) -> None:
    lines = [f"{line},{value}" for line, value in zip(GOOD, ("300", "300000", "300"), strict=True)]
    with pytest.raises(BadInput, match="300000 kV is not a likely acceleration voltage") as error:
        read(folder, *lines, heading="micrograph,label,voltage_kV")
    assert error.value.where.endswith("row 3")
    with pytest.raises(BadInput, match="pixel_size_A: 'coarse' is not a number"):
        read(folder, *(f"{line},coarse" for line in GOOD), heading="micrograph,label,pixel_size_A")


def test_what_is_no_table_is_refused(folder: Path) -> None:
    with pytest.raises(BadInput, match="has no column label"):
        read(folder, "mics/a.mrc", heading="micrograph")
    with pytest.raises(BadInput, match="no such file"):
        read_labels(folder / "nowhere.csv", Acquisition())
    (folder / "b.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(BadInput, match="no table of text"):
        read_labels(folder / "b.csv", Acquisition())
