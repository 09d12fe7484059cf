"""Electron-event movies, read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from scherzer.formats import eer_writing
from scherzer.formats.eer import EerSettings
from scherzer.formats.errors import BadInput
from scherzer.formats.movie_writing import write_movie
from scherzer.formats.movies import open_exposure

FRAMES = np.minimum(np.random.default_rng(1).poisson(0.9, (6, 64, 96)), 7).astype(np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a movie of 6 frames of 7 raw frames at 0.5 A."""
    write_movie(tmp_path / "a.eer", FRAMES, 0.5, 6, raw_frames_per_frame=7, seed=1)
    return tmp_path / "a.eer"


def test_grouped_as_written_the_counts_come_back(path: Path) -> None:
    movie = open_exposure(path, EerSettings(raw_frames_per_frame=7))
    assert (movie.frame_count, movie.shape, movie.pixel_size_A) == (6, (64, 96), 0.5)
    assert movie.holds_electron_events
    np.testing.assert_array_equal(movie.read(), FRAMES)
    assert movie.dose_per_frame_e_per_px == pytest.approx(FRAMES.mean(), rel=1e-4)


def test_the_last_incomplete_group_is_dropped(path: Path) -> None:
    movie = open_exposure(path, EerSettings(raw_frames_per_frame=14 + 1))
    assert movie.frame_count == 2
    total = movie.read().sum(axis=0)
    assert (total >= FRAMES[:4].sum(axis=0)).all()
    assert (total <= FRAMES[:5].sum(axis=0)).all()


def test_without_settings_there_are_about_forty_frames(path: Path) -> None:
    movie = open_exposure(path)
    assert (movie.frame_count, movie.raw_frames_per_frame) == (42, 1)
    np.testing.assert_array_equal(movie.read().sum(axis=0), FRAMES.sum(axis=0))


@pytest.mark.parametrize(
    ("settings", "group"),
    [
        # 0.9 e/px and 7 raw frames in each frame, at 0.5 A: about 3.6 e/A2.
        (EerSettings(dose_per_frame_e_per_A2=3.6), 7),
        (EerSettings(dose_per_frame_e_per_A2=7.2), 14),
        (EerSettings(dose_per_frame_e_per_A2=0.001), 1),
        # What the user says goes before what the file records.
        (EerSettings(dose_per_frame_e_per_A2=3.6, pixel_size_A=1.0), 28),
        (EerSettings(dose_per_frame_e_per_A2=10.0, total_dose_e_per_A2=42.0), 10),
    ],
)
def test_grouping_by_dose(path: Path, settings: EerSettings, group: int) -> None:
    assert open_exposure(path, settings).raw_frames_per_frame == group


def test_upsampling_puts_electrons_where_in_the_pixel_they_fell(path: Path) -> None:
    movie = open_exposure(path, EerSettings(raw_frames_per_frame=7, upsampling=2))
    assert (movie.shape, movie.pixel_size_A) == ((128, 192), 0.25)
    frames = movie.read()
    np.testing.assert_array_equal(frames.reshape(6, 64, 2, 96, 2).sum(axis=(2, 4)), FRAMES)
    assert movie.dose_per_frame_e_per_px == pytest.approx(FRAMES.mean(), rel=1e-4)


def test_each_sub_pixel_has_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored bits are x in the lower two and y in the upper two, each counting -2, -1, 0, 1 (RELION)."""
    stored = np.arange(16, dtype=np.uint32)
    stream = eer_writing.encode_raw_frame(3 * np.arange(16), stored, 64 * 64)
    frame = np.zeros((64, 64), np.uint8)
    frame.ravel()[3 * np.arange(16)] = 1
    monkeypatch.setattr(eer_writing, "raw_frame_streams", lambda *_: [stream])
    write_movie(tmp_path / "a.eer", frame[None], 1.0, 1)
    fine = open_exposure(tmp_path / "a.eer", EerSettings(upsampling=2)).read()[0]
    for symbol in range(16):
        x, y = (symbol & 3) ^ 2, (symbol >> 2) ^ 2
        assert fine[y // 2, 2 * 3 * symbol + x // 2] == 1
    assert fine.sum() == 16


def events(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels and stored sub-pixels of a raw frame of 64 x 64."""
    pixels = np.flatnonzero(np.random.default_rng(seed).random(64 * 64) < 0.05)
    return pixels, (pixels % 16).astype(np.uint32)


def written_by_another(path: Path, streams: list[bytes], compression: int, tags: list[tuple[int, int]]) -> Path:
    """Write a classic TIFF of a plain sum and behind it raw frames in one of the event compressions."""
    form = {"shape": (64, 64), "dtype": np.uint8, "rowsperstrip": 64, "photometric": "minisblack", "contiguous": False}
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.ones((64, 64), np.uint8), photometric="minisblack", metadata=None)
        for stream in streams:
            extra = [(tag, 3, 1, value, True) for tag, value in tags]
            writer.write(iter([stream]), compression="adobe_deflate", extratags=extra, metadata=None, **form)
    with tifffile.TiffFile(path, mode="r+b") as handle:
        for page in list(handle.pages)[1:]:
            page.aspage().tags["Compression"].overwrite(compression)
    return path


def test_a_sum_before_the_events_is_skipped(tmp_path: Path) -> None:
    streams = [eer_writing.encode_raw_frame(*events(seed), 64 * 64) for seed in range(4)]
    movie = open_exposure(written_by_another(tmp_path / "a.eer", streams, 65001, []), EerSettings(2))
    assert (movie.frame_count, movie.pixel_size_A, movie.dose_per_frame_e_per_px) == (2, None, None)
    expected = np.zeros(64 * 64)
    for seed in (2, 3):
        expected[events(seed)[0]] += 1
    np.testing.assert_array_equal(movie.read()[1].ravel(), expected)


@pytest.mark.parametrize(("compression", "run", "sub"), [(65000, 8, 2), (65002, 7, 1), (65002, 6, 2)])
def test_the_other_lengths_of_codes(tmp_path: Path, compression: int, run: int, sub: int) -> None:
    pixels, subpixels = events()
    x, y = subpixels & (2**sub - 1), subpixels >> 2 & (2**sub - 1)
    bits: list[int] = []
    previous = -1
    for pixel, places in zip([*pixels, 64 * 64], [*zip(x, y, strict=True), (0, 0)], strict=True):
        gap = int(pixel) - previous - 1
        codes = [(2**run - 1, run)] * (gap // (2**run - 1)) + [(gap % (2**run - 1), run)]
        for value, length in [*codes, (int(places[0]), sub), (int(places[1]), sub)]:
            bits += [value >> bit & 1 for bit in range(length)]
        previous = int(pixel)
    stream = np.packbits(bits, bitorder="little").tobytes() + bytes(2)
    tags = [(65007, run), (65008, sub), (65009, sub)] if compression == 65002 else []
    path = written_by_another(tmp_path / "a.eer", [stream], compression, tags)
    fine = open_exposure(path, EerSettings(1, upsampling=2)).read()[0]
    expected = np.zeros((128, 128))
    half, sign = 2 ** (sub - 1), 2 ** (sub - 1)
    rows = 2 * (pixels // 64) + (y ^ sign) // half
    columns = 2 * (pixels % 64) + (x ^ sign) // half
    np.add.at(expected, (rows, columns), 1)
    np.testing.assert_array_equal(fine, expected)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (EerSettings(raw_frames_per_frame=43), "42 raw frames, 43"),
        (EerSettings(raw_frames_per_frame=0), "42 raw frames, 0"),
        (EerSettings(dose_per_frame_e_per_A2=1e6), "fewer e/A2"),
        (EerSettings(dose_per_frame_e_per_A2=-1.0), "positive"),
        (EerSettings(dose_per_frame_e_per_A2=1.0, total_dose_e_per_A2=0.0), "positive"),
        (EerSettings(raw_frames_per_frame=7, dose_per_frame_e_per_A2=1.0), "one of them"),
        (EerSettings(upsampling=3), "upsampling"),
    ],
)
def test_settings_that_cannot_be(path: Path, settings: EerSettings, problem: str) -> None:
    with pytest.raises(BadInput, match=problem) as caught:
        open_exposure(path, settings)
    assert "\n" not in str(caught.value)


def test_a_dose_that_is_not_recorded_must_be_given(tmp_path: Path) -> None:
    path = written_by_another(tmp_path / "a.eer", 4 * [eer_writing.encode_raw_frame(*events(), 64 * 64)], 65001, [])
    with pytest.raises(BadInput, match="does not record its dose"):
        open_exposure(path, EerSettings(dose_per_frame_e_per_A2=1.0))
    assert open_exposure(path, EerSettings(None, 1.0, 2.0)).frame_count == 2


def test_a_raw_frame_that_ends_early_is_refused(tmp_path: Path) -> None:
    """Decoders would take it for one with fewer electrons."""
    stream = eer_writing.encode_raw_frame(*events(), 64 * 64)
    path = written_by_another(tmp_path / "a.eer", [stream, stream[:20]], 65001, [])
    with pytest.raises(BadInput, match="ends early"):
        open_exposure(path)


def test_broken_movies_are_named(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    tifffile.imwrite(tmp_path / "sum.tif", np.ones((64, 64), np.uint8))
    for name, bad in {
        "half": content[: len(content) // 2],
        "cut": content[:-30],
        "text": b"no movie" * 99,
        "empty": b"",
        "sum": (tmp_path / "sum.tif").read_bytes(),
    }.items():
        (tmp_path / f"{name}.eer").write_bytes(bad)
        with pytest.raises(BadInput, match=f"{name}.eer") as caught:
            open_exposure(tmp_path / f"{name}.eer").read()
        assert "\n" not in str(caught.value)
