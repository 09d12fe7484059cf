"""Names of exposures: unique, and fit for STAR files and file systems."""

from __future__ import annotations

from pathlib import Path

from scherzer.session.exposure_names import unique_names


def test_names_are_unique_and_need_no_quotes() -> None:
    paths = [Path("/a/s1/x.mrc"), Path("/a/s2/x.mrc"), Path("/a/s2/y.mrc"), Path("/a/s2/y.tif"), Path("/a/a b.mrc")]
    assert unique_names(paths) == ["s1_x_mrc", "s2_x_mrc", "s2_y_mrc", "s2_y_tif", "a_b"]


def test_both_endings_of_a_compressed_file_go() -> None:
    assert unique_names([Path("/a/x.1.mrc.gz"), Path("/a/May08_03.05.02.mrc")]) == ["x.1", "May08_03.05.02"]


def test_what_relion_or_a_shell_would_stumble_over_is_replaced() -> None:
    assert unique_names([Path("/a/1@b'c\"d(1).mrc"), Path("/a/-x.mrc"), Path("/a/é.mrc")]) == ["1_b_c_d_1_", "x", "é"]


def test_names_that_differ_in_capitals_or_in_replaced_characters_only_are_told_apart() -> None:
    paths = [Path("/a/s1/X.mrc"), Path("/a/s2/x.mrc"), Path("/a/s2/b c.mrc"), Path("/a/s2/b_c.mrc")]
    names = unique_names(paths)
    assert len({name.casefold() for name in names}) == 4
    assert names[0] == "s1_X_mrc"
