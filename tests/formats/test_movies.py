"""Exposures: movies and micrographs."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
import tifffile

from scherzer.formats import tiff
from scherzer.formats.errors import BadInput
from scherzer.formats.movie_writing import write_movie
from scherzer.formats.movies import exposure_stem, is_exposure, open_exposure
from scherzer.formats.mrc import write_mrc


@pytest.fixture
def counts() -> np.ndarray:
    return np.random.default_rng(1).poisson(4.0, (3, 70, 80)).astype(np.uint8)


@pytest.mark.parametrize("name", ["m.mrc", "m.mrcs", "m.tif", "m.tiff"])
def test_a_movie_round_trips(tmp_path: Path, counts: np.ndarray, name: str) -> None:
    path = tmp_path / name
    if path.suffix.startswith(".tif"):
        write_movie(path, counts, 1.06, 3)
    else:
        write_mrc(path, counts.astype(np.int16), 1.06, "stack")
    movie = open_exposure(path)
    assert (movie.frame_count, movie.shape) == (3, (70, 80))
    assert movie.pixel_size_A == pytest.approx(1.06, abs=1e-4)
    frames = movie.read()
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames, counts)


@pytest.mark.parametrize("name", ["m.mrc", "m.tif"])
def test_a_micrograph_is_a_movie_of_one_frame(tmp_path: Path, counts: np.ndarray, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".tif":
        tifffile.imwrite(path, counts[0, ::-1])
    else:
        write_mrc(path, counts[0], 1.0)
    movie = open_exposure(path)
    assert movie.frame_count == 1
    np.testing.assert_array_equal(movie.read(), counts[:1])


def test_tiff_without_a_microscopes_resolution_has_no_pixel_size(tmp_path: Path, counts: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", counts[0], resolution=(72, 72), resolutionunit="INCH")
    assert open_exposure(tmp_path / "a.tif").pixel_size_A is None


def test_a_multi_page_file_as_acquisition_programs_write_it(tmp_path: Path, counts: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for frame in counts:
            writer.write(frame, contiguous=False, compression="lzw")
    # TIFF has the top row first, MRC and everything here the bottom row.
    np.testing.assert_array_equal(open_exposure(path).read(), counts[:, ::-1])


@pytest.mark.parametrize(
    ("values", "reason"),
    [(0.0, "zero everywhere"), (7.5, "value 7.5 everywhere"), (np.nan, "not numbers"), (np.inf, "not numbers")],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["m.mrc", "m.tif"])
def test_an_exposure_without_a_picture(tmp_path: Path, name: str, values: float, reason: str) -> None:
    path = tmp_path / name
    image = np.full((70, 80), values, np.float32)
    if path.suffix == ".tif":
        tifffile.imwrite(path, image)
    else:
        write_mrc(path, image, 1.0)
    movie = open_exposure(path)
    with pytest.raises(BadInput, match=reason):
        movie.read()


def test_broken_tiffs_are_named(tmp_path: Path, counts: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, counts, photometric="minisblack")
    whole = path.read_bytes()
    assert open_exposure(path).frame_count == 3
    for name, content in {
        "cut.tif": whole[: len(whole) // 2],
        "short.tif": whole[:-100],
        "text.tif": b"not an image\n" * 50,
        "empty.tif": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=name) as caught:
            open_exposure(tmp_path / name).read()
        assert "\n" not in str(caught.value)


def test_a_cut_tiff_is_known_when_it_is_opened(tmp_path: Path, counts: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, counts[0])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="pages ask for more"):
        open_exposure(path)


def test_colour_thumbnails_and_other_kinds_are_refused(tmp_path: Path, counts: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((70, 80, 3), np.uint8), photometric="rgb")
    with pytest.raises(BadInput, match="grey images"):
        open_exposure(tmp_path / "rgb.tif")
    write_mrc(tmp_path / "small.mrc", counts[0, :20, :20], 1.0)
    with pytest.raises(BadInput, match="only 20 x 20 px"):
        open_exposure(tmp_path / "small.mrc")
    with pytest.raises(BadInput, match=r"ending in \.jpg"):
        open_exposure(tmp_path / "a.jpg")
    for name in ("none.tif", "none.mrc"):
        with pytest.raises(BadInput, match="no such file"):
            open_exposure(tmp_path / name)


@pytest.mark.parametrize("name", ["m.mrc", "m.tif", "m.mrc.gz", "m.mrcs.bz2"])
def test_frames_come_one_by_one(tmp_path: Path, counts: np.ndarray, name: str) -> None:
    whole = tmp_path / ("m.tif" if name == "m.tif" else "m.mrc")
    write_movie(whole, counts, 1.25, 3)
    if name.endswith("gz"):
        (tmp_path / name).write_bytes(gzip.compress(whole.read_bytes()))
    if name.endswith("bz2"):
        (tmp_path / name).write_bytes(bz2.compress(whole.read_bytes()))
    movie = open_exposure(tmp_path / name)
    assert (movie.frame_count, movie.shape) == (3, (70, 80))
    assert movie.pixel_size_A == pytest.approx(1.25)
    frames = list(movie.frames())
    np.testing.assert_array_equal(frames, counts)
    assert frames[0].dtype == np.float32
    np.testing.assert_array_equal(movie.read(), counts)


def test_names_of_exposures() -> None:
    stems = {"a.mrc": "a", "a.b.mrcs.gz": "a.b", "a.MRC.BZ2": "a", "a_EER.eer": "a_EER", "a.x.tiff": "a.x"}
    for name, stem in stems.items():
        assert is_exposure(Path(name))
        assert exposure_stem(Path("folder") / name) == stem
    for name in ("a.jpg", "notes.txt.gz", "mrc", "a.gain"):
        assert not is_exposure(Path(name))


@pytest.mark.parametrize("compression", ["zlib", "lzw", None])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "f4"])
def test_the_kinds_of_tiff(tmp_path: Path, counts: np.ndarray, compression: str, big: bool, dtype: str) -> None:
    path = tmp_path / "a.tif"
    stored = 100 * counts.astype(dtype) if dtype != "u1" else counts
    tifffile.imwrite(path, stored, photometric="minisblack", compression=compression, bigtiff=big)
    np.testing.assert_array_equal(open_exposure(path).read(), stored[:, ::-1])


def test_tiff_of_4_bit_numbers_has_the_first_in_the_lower_half(tmp_path: Path) -> None:
    numbers = np.random.default_rng(3).integers(0, 16, (70, 80)).astype(np.uint8)
    pairs = numbers[:, ::2] | numbers[:, 1::2] << 4
    form = {"shape": (70, 80), "dtype": np.uint8, "bitspersample": 4, "rowsperstrip": 70, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", iter([pairs.tobytes()]), **form)
    np.testing.assert_array_equal(open_exposure(tmp_path / "a.tif").read()[0], numbers[::-1])


def test_tiff_of_packed_bytes_is_known_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (5760, 8184) in tiff.PACKED_SHAPES
    monkeypatch.setattr(tiff, "PACKED_SHAPES", frozenset({(70, 40)}))
    numbers = np.random.default_rng(3).integers(0, 16, (70, 80)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", numbers[:, ::2] | numbers[:, 1::2] << 4)
    movie = open_exposure(tmp_path / "a.tif")
    assert movie.shape == (70, 80)
    np.testing.assert_array_equal(movie.read()[0], numbers[::-1])


@pytest.mark.parametrize(("unit", "per_unit"), [("CENTIMETER", 1e8 / 0.83), ("INCH", 2.54e8 / 0.83)])
def test_pixel_size_of_a_tiff(tmp_path: Path, counts: np.ndarray, unit: str, per_unit: float) -> None:
    tifffile.imwrite(tmp_path / "a.tif", counts[0], resolution=(per_unit, per_unit), resolutionunit=unit)
    assert open_exposure(tmp_path / "a.tif").pixel_size_A == pytest.approx(0.83, abs=1e-3)


def test_a_real_micrograph_is_read() -> None:
    path = Path(__file__).parents[3] / "shared/real/apoferritin-10146/micrographs/May08_03.05.02.mrc"
    if not path.exists():
        pytest.skip(f"real data absent: {path.name}")
    movie = open_exposure(path)
    assert (movie.frame_count, movie.shape, movie.pixel_size_A) == (1, (1200, 1240), 1.5)
    assert movie.read().std() == pytest.approx(6550.8, abs=1)
