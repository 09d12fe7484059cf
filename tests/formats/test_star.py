"""STAR tables and atomic files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile

from scherzer.formats.atomic import atomic_path, write_text
from scherzer.formats.errors import BadInput
from scherzer.formats.star import StarTable, read_star, write_star

OPTICS = pd.DataFrame({"rlnOpticsGroup": [1], "rlnOpticsGroupName": ["1"], "rlnVoltage": [300.0]})


def table(count: int = 3) -> StarTable:
    rows = pd.DataFrame(
        {
            "rlnMicrographName": [f"import/m {i}.mrc" for i in range(count)],
            "rlnDefocusU": [10000.5 + i for i in range(count)],
            "sczState": ["accepted", "rejected", "failed"][:count],
            "sczReason": ["", "drift of 31 A, more than 20 A", "is truncated (12 bytes)"][:count],
            "rlnOpticsGroup": [1] * count,
        }
    )
    return StarTable("micrographs", OPTICS, rows)


@pytest.mark.parametrize("count", [1, 3])
def test_round_trip_keeps_spaces_empty_reasons_and_numbers(tmp_path: Path, count: int) -> None:
    write_star(table(count), tmp_path / "sub" / "m.star")
    back = read_star(tmp_path / "sub" / "m.star")
    assert back.kind == "micrographs"
    pd.testing.assert_frame_equal(back.rows, table(count).rows, check_dtype=False)
    pd.testing.assert_frame_equal(back.optics, OPTICS, check_dtype=False)
    assert back.rows["rlnDefocusU"].dtype.kind == "f"
    assert back.rows["rlnOpticsGroup"].dtype.kind == "i"


def test_names_that_look_like_numbers_stay_names(tmp_path: Path) -> None:
    write_star(table(2), tmp_path / "m.star")
    assert read_star(tmp_path / "m.star").optics["rlnOpticsGroupName"].tolist() == ["1"]


def test_only_accepted_rows(tmp_path: Path) -> None:
    assert table().accepted().rows["rlnDefocusU"].tolist() == [10000.5]
    without = StarTable("particles", OPTICS, pd.DataFrame({"rlnCoordinateX": [1.0, 2.0]}))
    assert len(without.accepted()) == 2


def test_reasons_with_quotes_survive(tmp_path: Path) -> None:
    reason = "the option --dose 'per frame' isn't known"
    one = table(2)
    rows = one.rows.assign(sczReason=["", reason])
    write_star(one.with_rows(rows), tmp_path / "m.star")
    assert read_star(tmp_path / "m.star").rows["sczReason"].tolist() == ["", reason]


def test_odd_file_names_survive(tmp_path: Path) -> None:
    names = ["John's data/a.mrc", 'a "b".mrc', "img#3.mrc", "[1] $x.mrc", "_a.mrc", "1e5", "loop_2.mrc", "é.mrc"]
    rows = pd.DataFrame({"rlnMicrographName": names, "rlnDefocusU": 1.5})
    write_star(table().with_rows(rows), tmp_path / "m.star")
    assert read_star(tmp_path / "m.star").rows["rlnMicrographName"].tolist() == names


def test_small_numbers_and_unknown_ones_keep_their_value(tmp_path: Path) -> None:
    values = [1e-7, -3.25e-5, 0.0, 123456.789, float("nan")]
    write_star(table().with_rows(pd.DataFrame({"sczP": values})), tmp_path / "m.star")
    np.testing.assert_allclose(read_star(tmp_path / "m.star").rows["sczP"], values, rtol=1e-6)


def test_other_programs_read_the_table(tmp_path: Path) -> None:
    write_star(table(), tmp_path / "m.star")
    blocks = starfile.read(tmp_path / "m.star", always_dict=True)
    assert blocks["micrographs"]["sczReason"].tolist() == table().rows["sczReason"].tolist()
    assert blocks["optics"]["rlnVoltage"].tolist() == [300]


def test_a_table_as_relion_writes_it(tmp_path: Path) -> None:
    (tmp_path / "m.star").write_text(
        "\n# version 30001\n\ndata_optics\n\n_rlnOpticsGroup 1\n_rlnVoltage 300.0\n\n\n# version 30001\n\n"
        "data_particles\n\nloop_ \n_rlnCoordinateX #1 \n_rlnImageName #2 \n  12.500000 000001@a/b.mrcs \n"
        "  13.500000 000002@a/b.mrcs \n \n"
    )
    back = read_star(tmp_path / "m.star")
    assert back.kind == "particles"
    assert back.rows["rlnCoordinateX"].tolist() == [12.5, 13.5]
    assert back.rows["rlnImageName"].tolist() == ["000001@a/b.mrcs", "000002@a/b.mrcs"]
    assert back.optics["rlnVoltage"].tolist() == [300.0]


def test_an_empty_table_round_trips(tmp_path: Path) -> None:
    empty = table().with_rows(table().rows.iloc[:0])
    write_star(empty, tmp_path / "m.star")
    back = read_star(tmp_path / "m.star")
    assert len(back) == 0
    assert list(back.rows.columns) == list(empty.rows.columns)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        ("data_micrographs\n\nloop_\n_rlnMicrographName\na.mrc\n", "no optics"),
        ("plain", "STAR|optics"),
    ],
)
def test_what_is_not_a_relion_table_is_refused(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "a.star"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match=reason):
        read_star(path)


def test_an_atomic_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(target.parent.iterdir()) == []
    write_text(target, "first")
    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]
    assert target.read_text() == "first"


def test_an_atomic_file_is_readable_as_any_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "x")
    plain = tmp_path / "b.txt"
    plain.write_text("x")
    assert stat.S_IMODE(os.stat(tmp_path / "a.txt").st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_temporary_file_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.mrcs") as temporary:
        assert temporary.suffix == ".mrcs"
        assert temporary.parent == tmp_path


def test_errors_say_where_what_and_what_to_do() -> None:
    assert str(BadInput("a.mrc", "is empty", "copy it again")) == "a.mrc: is empty; copy it again"
