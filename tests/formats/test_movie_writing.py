"""Movies written frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scherzer.formats.eer_writing import encode_raw_frame, raw_frame_streams
from scherzer.formats.errors import BadInput
from scherzer.formats.movie_writing import write_movie
from scherzer.formats.movies import open_exposure


def counts(mean: float = 1.0, shape: tuple[int, int, int] = (3, 70, 80)) -> np.ndarray:
    return np.random.default_rng(1).poisson(mean, shape).astype(np.uint16)


def pages(path: Path) -> np.ndarray:
    """Return the pages of a TIFF as other programs of the field see them: the bottom row first."""
    with tifffile.TiffFile(path) as handle:
        return np.stack([page.asarray()[::-1] for page in handle.pages])


@pytest.mark.parametrize(
    ("name", "mean", "dtype"),
    [
        ("a.mrc", 1.0, "int8"),
        ("a.mrcs", 150.0, "int16"),
        ("a.mrc", 33000.0, "float32"),
        ("a.tif", 1.0, "uint8"),
        ("a.tiff", 300.0, "int16"),
        ("a.tif", 33000.0, "uint16"),
    ],
)
def test_counts_come_back_in_the_narrowest_type(tmp_path: Path, name: str, mean: float, dtype: str) -> None:
    movie = counts(mean)
    write_movie(tmp_path / name, iter(movie), 1.06, 3)
    if name.startswith("a.mrc"):
        with mrcfile.open(tmp_path / name) as handle:
            assert float(handle.voxel_size.x) == pytest.approx(1.06)
            assert handle.header.rms == pytest.approx(movie.std(), rel=1e-5)
            read = handle.data
            assert handle.is_image_stack()
        assert mrcfile.validate(tmp_path / name)
    else:
        read = pages(tmp_path / name)
        with tifffile.TiffFile(tmp_path / name) as handle:
            assert handle.pages[0].compression == tifffile.COMPRESSION.LZW
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, movie)


@pytest.mark.parametrize(("name", "value"), [("a.mrc", 200), ("a.mrc", 40000), ("a.tif", 300), ("a.tif", 40000)])
@pytest.mark.parametrize("at", [0, 2])
def test_a_later_frame_with_large_counts_widens_the_file(tmp_path: Path, name: str, value: int, at: int) -> None:
    movie = counts()
    movie[at, 3, 4] = value
    write_movie(tmp_path / name, iter(movie), 1.0, 3)
    read = mrcfile.read(tmp_path / name) if name == "a.mrc" else pages(tmp_path / name)
    np.testing.assert_array_equal(read, movie)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.mrc", "a.tif", "a.eer"])
def test_frames_are_taken_one_at_a_time(tmp_path: Path, name: str) -> None:
    """Each frame is only valid until the next is asked for."""
    movie = counts(shape=(5, 64, 96))

    def one_buffer() -> Iterator[np.ndarray]:
        buffer = np.empty((64, 96), np.uint16)
        for frame in movie:
            buffer[:] = frame
            yield buffer

    write_movie(tmp_path / name, one_buffer(), 1.0, 5, raw_frames_per_frame=20)
    if name == "a.eer":
        with tifffile.TiffFile(tmp_path / name) as handle:
            raw = np.stack([page.asarray() for page in handle.pages]).astype(int)
        read = raw.reshape(5, 20, 64, 96).sum(axis=1)
    else:
        read = mrcfile.read(tmp_path / name) if name == "a.mrc" else pages(tmp_path / name)
    np.testing.assert_array_equal(read, movie)


def test_what_cannot_be_a_movie_leaves_no_file(tmp_path: Path) -> None:
    movie = counts()
    with pytest.raises(BadInput, match=r"ending in \.png"):
        write_movie(tmp_path / "a.png", iter(movie), 1.0, 3)
    for name in ("a.mrc", "a.tif", "a.eer"):
        with pytest.raises(ValueError, match="3 frames came where 4"):
            write_movie(tmp_path / name, iter(movie), 1.0, 4)
        with pytest.raises(ValueError, match="must hold counts"):
            write_movie(tmp_path / name, iter([movie[0], movie[1, :-1]]), 1.0, 2)
        with pytest.raises(ValueError, match="must hold counts"):
            write_movie(tmp_path / name, iter([movie[0].astype(np.float32)]), 1.0, 1)
        with pytest.raises(ValueError, match="must hold counts"):
            write_movie(tmp_path / name, iter([-movie[0].astype(np.int16)]), 1.0, 1)
    with pytest.raises(ValueError, match="do not fit"):
        write_movie(tmp_path / "a.tif", iter([movie[0], movie[1].astype(np.int32) + 70000]), 1.0, 2)
    assert list(tmp_path.iterdir()) == []


def decoded_bit_by_bit(stream: bytes, pixel_count: int) -> tuple[list[int], list[int]]:
    """Return pixels and stored sub-pixels: a plain decoder of the published layout."""
    bits = [byte >> place & 1 for byte in stream for place in range(8)]

    def taken(count: int) -> int:
        nonlocal bits
        value = sum(bit << place for place, bit in enumerate(bits[:count]))
        bits = bits[count:]
        return value

    pixels: list[int] = []
    subpixels: list[int] = []
    here = 0
    while True:
        run = taken(7)
        here += run
        assert here <= pixel_count
        if here == pixel_count:
            return pixels, subpixels
        if run < 127:
            pixels.append(here)
            subpixels.append(taken(4))
            here += 1


@pytest.mark.parametrize(
    "pixels",
    [
        [],
        [0],
        [999],
        [0, 1, 2, 999],
        [126],
        [127],
        [128, 999],
        [253, 254, 255, 381],
        [872],  # 127 empty pixels behind it
        [745, 746],
        list(range(1000)),
    ],
)
def test_codes_follow_the_published_layout(pixels: list[int]) -> None:
    subpixels = np.random.default_rng(2).integers(0, 16, len(pixels)).astype(np.uint32)
    stream = encode_raw_frame(np.array(pixels, np.int64), subpixels, 1000)
    assert len(stream) % 2 == 0
    assert decoded_bit_by_bit(stream, 1000) == (pixels, subpixels.tolist())


def test_long_streams_join_at_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.flatnonzero(np.random.default_rng(3).random(5000) < 0.02)
    subpixels = (pixels % 16).astype(np.uint32)
    whole = encode_raw_frame(pixels, subpixels, 5000)
    monkeypatch.setattr("scherzer.formats.eer_writing.PIECE", 7)
    assert encode_raw_frame(pixels, subpixels, 5000) == whole


def test_electrons_fall_everywhere_in_their_pixel_and_in_time() -> None:
    frame = counts(0.5, (1, 256, 256))[0]
    total = np.zeros((1024, 1024), int)
    per_raw_frame = []
    for stream in raw_frame_streams(frame, 6, np.random.default_rng(4)):
        fine = imagecodecs.eer_decode(stream, (1024, 1024), 7, 2, 2, superres=2)
        per_raw_frame.append(fine.sum())
        total += fine
    np.testing.assert_array_equal(total.reshape(256, 4, 256, 4).sum(axis=(1, 3)), frame)
    electrons = frame.sum()
    # Five standard deviations of a multinomial of 6 and of 16 equal chances.
    assert np.abs(np.array(per_raw_frame) - electrons / 6).max() < 5 * np.sqrt(electrons * 5 / 36)
    in_pixel = total.reshape(256, 4, 256, 4).sum(axis=(0, 2))
    assert np.abs(in_pixel - electrons / 16).max() < 5 * np.sqrt(electrons * 15 / 256)


def test_a_pixel_gives_no_raw_frame_two_electrons() -> None:
    frame = np.array([[0, 1, 4, 7, 9]])
    streams = list(raw_frame_streams(frame, 7, np.random.default_rng(5)))
    raw = np.zeros((7, 5), int)
    for number, stream in enumerate(streams):
        raw[number, decoded_bit_by_bit(stream, 5)[0]] += 1
    assert raw.max() == 1
    # What is above the number of raw frames cannot be recorded.
    np.testing.assert_array_equal(raw.sum(axis=0), [0, 1, 4, 7, 7])


def test_an_eer_file_is_as_its_readers_expect(tmp_path: Path) -> None:
    movie = counts(0.8, (2, 64, 64))
    movie = np.minimum(movie, 5)
    write_movie(tmp_path / "a.eer", iter(movie), 0.5, 2, raw_frames_per_frame=5, seed=3)
    with tifffile.TiffFile(tmp_path / "a.eer") as handle:
        assert handle.is_bigtiff
        assert len(handle.pages) == 10
        assert {page.compression for page in handle.pages} == {65001}
        facts = handle.eer_metadata
        assert facts is not None
    assert facts["numberOfFrames"] == 10
    assert facts["sensorPixelSize.width"] == pytest.approx(0.5e-10)
    assert facts["totalDose"] == pytest.approx(movie.sum() / 64**2, abs=1e-5)
    assert facts["meanDoseRate"] * facts["exposureTime"] == pytest.approx(facts["totalDose"], abs=1e-5)


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name, seed in (("a.eer", 1), ("b.eer", 1), ("c.eer", 2)):
        write_movie(tmp_path / name, iter(counts()), 1.0, 3, raw_frames_per_frame=8, seed=seed)
    content = [(tmp_path / name).read_bytes() for name in ("a.eer", "b.eer", "c.eer")]
    assert content[0] == content[1] != content[2]


@settings(deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=st.integers(1, 4),
    height=st.integers(64, 80),
    width=st.integers(64, 80),
    tops=st.lists(st.sampled_from([1, 127, 128, 255, 256, 32767, 32768, 65535]), min_size=4, max_size=4),
    ending=st.sampled_from([".mrc", ".mrcs", ".tif"]),
)
def test_any_movie_comes_back(
    tmp_path: Path, frames: int, height: int, width: int, tops: list[int], ending: str
) -> None:
    rng = np.random.default_rng(6)
    movie = [rng.integers(0, top + 1, (height, width)).astype(np.uint16) for top in tops[:frames]]
    for frame, top in zip(movie, tops, strict=False):
        frame[0, 0] = top
    write_movie(tmp_path / f"a{ending}", iter(movie), 1.5, frames)
    back = open_exposure(tmp_path / f"a{ending}")
    assert back.pixel_size_A == pytest.approx(1.5, abs=1e-4)
    np.testing.assert_array_equal(back.read(), movie)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    pixel_count=st.integers(1, 700),
    places=st.sets(st.integers(0, 699)),
    seed=st.integers(0, 9),
)
def test_any_raw_frame_is_decoded_bit_by_bit(pixel_count: int, places: set[int], seed: int) -> None:
    pixels = sorted(place for place in places if place < pixel_count)
    subpixels = np.random.default_rng(seed).integers(0, 16, len(pixels)).astype(np.uint32)
    stream = encode_raw_frame(np.array(pixels, np.int64), subpixels, pixel_count)
    assert decoded_bit_by_bit(stream, pixel_count) == (pixels, subpixels.tolist())
