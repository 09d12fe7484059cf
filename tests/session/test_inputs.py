"""From what is typed to exposures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.session.inputs import exposure_paths, header_pixel_size_A, unique_names


def test_files_folders_and_patterns_each_once(exposures: Path) -> None:
    whole = sorted(exposures.glob("*.mrc"))
    assert exposure_paths([str(exposures)]) == whole
    assert exposure_paths([str(exposures / "*_1.mrc"), str(exposures)]) == [whole[1], whole[0], whole[2]]


@pytest.mark.parametrize("entry", ["nowhere.mrc", "nowhere/*.mrc"])
def test_an_input_that_means_nothing_is_named(entry: str) -> None:
    with pytest.raises(BadInput, match=r"nowhere"):
        exposure_paths([entry])


def test_a_folder_without_exposures_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no exposures"):
        exposure_paths([str(tmp_path)])


def test_names_are_unique_and_need_no_quotes() -> None:
    paths = [Path("/a/s1/x.mrc"), Path("/a/s2/x.mrc"), Path("/a/s2/y.mrc"), Path("/a/s2/y.tif"), Path("/a/a b.mrc")]
    names = unique_names(paths)
    assert names == ["s1_x_mrc", "s2_x_mrc", "s2_y_mrc", "s2_y_tif", "a_b"]


def test_pixel_size_is_what_most_headers_say(mixed: Path) -> None:
    assert header_pixel_size_A(exposure_paths([str(mixed)])) == 1.5
    assert header_pixel_size_A([mixed / "text.mrc"]) is None


def test_a_header_of_one_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one.mrc"
    write_mrc(path, np.random.default_rng(0).normal(size=(96, 96)), 1.0, "image")
    assert header_pixel_size_A([path]) is None
