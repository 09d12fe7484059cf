"""Gain references and defects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from scherzer.formats.defects import read_defects
from scherzer.formats.errors import BadInput
from scherzer.formats.gain import load_gain, read_gain
from scherzer.formats.mrc import write_mrc


def reference(shape: tuple[int, int] = (64, 96)) -> np.ndarray:
    gain = np.random.default_rng(1).uniform(0.8, 1.2, shape).astype(np.float32)
    gain[3, 5] = 0
    return gain


def written(path: Path, gain: np.ndarray) -> Path:
    """Write a reference so that its first row is the movie's first row, by each format's own convention."""
    if path.suffix == ".mrc":
        write_mrc(path, gain, 1.0)
    else:
        tifffile.imwrite(path, gain if path.suffix == ".gain" else gain[::-1])
    return path


@pytest.mark.parametrize("name", ["g.mrc", "g.tif", "g.gain"])
def test_gain_is_multiplied(tmp_path: Path, name: str) -> None:
    gain = reference()
    np.testing.assert_array_equal(read_gain(written(tmp_path / name, gain), gain.shape), gain)


@pytest.mark.parametrize("name", ["g.mrc", "g.tif"])
def test_the_response_of_an_event_camera_is_divided_by(tmp_path: Path, name: str) -> None:
    response = reference()
    gain = read_gain(written(tmp_path / name, response), response.shape, electron_events=True)
    assert gain[3, 5] == 0
    works = response > 0
    # Where counts follow the response, they are level after the gain.
    np.testing.assert_allclose((gain * response)[works], response[works].mean(), rtol=1e-5)


def test_a_falcons_own_gain_is_multiplied_also_for_events(tmp_path: Path) -> None:
    gain = reference()
    path = written(tmp_path / "g.gain", gain)
    np.testing.assert_array_equal(read_gain(path, gain.shape, electron_events=True), gain)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("name", ["g.mrc", "g.gain"])
def test_gain_of_other_sampling_fits_electron_events(tmp_path: Path, name: str, factor: int) -> None:
    fine = reference()
    path = written(tmp_path / name, fine)
    coarser = (64 // factor, 96 // factor)
    with pytest.raises(BadInput, match="64 x 96"):
        read_gain(path, coarser)
    gain = read_gain(path, coarser, electron_events=True)
    response = fine if name == "g.mrc" else np.divide(1, fine, out=np.zeros_like(fine), where=fine > 0)
    binned = response.reshape(coarser[0], factor, coarser[1], factor).mean(axis=(1, 3))
    level = gain * binned
    np.testing.assert_allclose(level, level[0, 0], rtol=1e-5)
    finer = read_gain(path, (64 * factor, 96 * factor), electron_events=True)
    np.testing.assert_array_equal(finer[::factor, factor - 1 :: factor], load_gain(path, electron_events=True))


def test_gain_must_fit_the_movie(tmp_path: Path) -> None:
    path = written(tmp_path / "gain.mrc", reference())
    with pytest.raises(BadInput, match="64 x 96"):
        read_gain(path, (96, 64))
    with pytest.raises(BadInput, match="64 x 96"):
        read_gain(path, (65, 97), electron_events=True)


@pytest.mark.parametrize(
    ("values", "problem"),
    [(0 * reference(), "no usable"), (np.nan + reference(), "not numbers|no usable"), (-reference(), "no usable")],
)
@pytest.mark.parametrize("name", ["g.mrc", "g.tif"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_gain_without_use(tmp_path: Path, values: np.ndarray, problem: str, name: str) -> None:
    with pytest.raises(BadInput, match=problem):
        read_gain(written(tmp_path / name, values.astype(np.float32)), (64, 96))


def test_what_is_no_gain(tmp_path: Path) -> None:
    write_mrc(tmp_path / "stack.mrc", np.ones((2, 64, 96), np.float32), 1.0, "stack")
    with pytest.raises(BadInput, match="holds 2 images"):
        load_gain(tmp_path / "stack.mrc")
    tifffile.imwrite(tmp_path / "stack.tif", np.ones((3, 64, 96), np.float32), photometric="minisblack")
    with pytest.raises(BadInput, match="holds 3 images"):
        load_gain(tmp_path / "stack.tif")
    with pytest.raises(BadInput, match="dm2mrc"):
        load_gain(tmp_path / "a.dm4")
    for name in ("none.mrc", "none.tif", "none.gain"):
        with pytest.raises(BadInput, match="no such file"):
            load_gain(tmp_path / name)


def test_defects_from_a_list(tmp_path: Path) -> None:
    path = tmp_path / "defects.txt"
    path.write_text("# column\n5 0 1 64\n\n10 20 3 2\n90 60 20 20\n")
    expected = np.zeros((64, 96), bool)
    expected[:, 5] = True
    expected[20:22, 10:13] = True
    expected[60:, 90:] = True
    np.testing.assert_array_equal(read_defects(path, (64, 96)), expected)


@pytest.mark.parametrize("name", ["d.mrc", "d.tif"])
def test_defects_from_a_map(tmp_path: Path, name: str) -> None:
    expected = np.random.default_rng(1).random((64, 96)) < 0.01
    path = written(tmp_path / name, expected.astype(np.float32))
    np.testing.assert_array_equal(read_defects(path, (64, 96)), expected)
    with pytest.raises(BadInput, match="64 x 96"):
        read_defects(path, (96, 64))
    with pytest.raises(BadInput, match="every pixel"):
        read_defects(written(path, np.ones((64, 96), np.float32)), (64, 96))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"1 2 3\n", "line 1"),
        (b"1 2 3 4\n1 2 3 4 5\n", "line 2"),
        (b"a b c d\n", "line 1"),
        (b"-1 2 3 4\n", "negative"),
        (b"1 2 0 4\n", "no size"),
        (b"96 2 3 4\n", "outside"),
        (b"CameraSizeX 96\nRotationAndFlip 0\n", "SerialEM"),
        (b"\xff\xfe\x00binary", "not a text file"),
        (b"", "is empty"),
        (b"0 0 96 64\n", "every pixel"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "defects.txt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=problem) as caught:
        read_defects(path, (64, 96))
    assert "\n" not in str(caught.value)
