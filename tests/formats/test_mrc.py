"""MRC files, sound and broken."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import mrc_sections, read_mrc, read_mrc_header, read_stack_images, write_mrc


def ramp(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) % 97


@pytest.mark.parametrize(("kind", "shape"), [("image", (5, 7)), ("stack", (3, 5, 7)), ("volume", (4, 4, 4))])
def test_round_trip_keeps_values_and_pixel_size(tmp_path: Path, kind: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / "a.mrc"
    write_mrc(path, ramp(*shape), 1.37, kind)
    image = read_mrc(path)
    np.testing.assert_array_equal(image.data, ramp(*shape))
    assert image.data.dtype == np.float32
    assert image.pixel_size_A == pytest.approx(1.37, abs=1e-5)
    header = read_mrc_header(path)
    assert header.shape == ((1,) * (3 - len(shape)) + shape)
    assert header.mode == 2


def test_written_files_are_sound_to_mrcfile(tmp_path: Path) -> None:
    for kind, shape in (("image", (6, 6)), ("stack", (2, 6, 6)), ("volume", (6, 6, 6))):
        path = tmp_path / f"{kind}.mrc"
        write_mrc(path, ramp(*shape), 2.0, kind)
        with mrcfile.open(path) as handle:
            assert handle.is_volume() == (kind == "volume")
            assert handle.is_image_stack() == (kind == "stack")
            assert float(handle.voxel_size.x) == pytest.approx(2.0)
        assert mrcfile.validate(path)


@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"])
def test_every_mode_is_read(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "a.mrc"
    values = (ramp(6, 8)).astype(dtype)
    with mrcfile.new(path) as handle:
        handle.set_data(values)
    np.testing.assert_array_equal(read_mrc(path).data, values.astype(np.float32))


def packed_file(path: Path, numbers: np.ndarray, mode: int) -> Path:
    """Write 4-bit numbers, two a byte, rows in whole bytes: mode 101, or mode 0 with IMOD's flag."""
    count, height, width = numbers.shape
    even = np.pad(numbers, ((0, 0), (0, 0), (0, width % 2)))
    header = np.zeros(256, "<i4")
    header[:4] = width if mode == 101 else even.shape[2] // 2, height, count, mode
    if mode == 0:
        header[38:40] = 1146047817, 16
    path.write_bytes(header.tobytes() + (even[..., ::2] | even[..., 1::2] << 4).tobytes())
    return path


@pytest.mark.parametrize(("mode", "width"), [(101, 8), (101, 7), (0, 8)])
def test_4_bit_numbers(tmp_path: Path, mode: int, width: int) -> None:
    numbers = np.random.default_rng(2).integers(0, 16, (3, 6, width)).astype(np.uint8)
    path = packed_file(tmp_path / "a.mrc", numbers, mode)
    np.testing.assert_array_equal(read_mrc(path).data, numbers)
    np.testing.assert_array_equal(read_stack_images(path, [2, 0]), numbers[[2, 0]])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadInput, match="truncated"):
        read_mrc_header(path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_compressed_files(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    plain = tmp_path / "a.mrcs"
    write_mrc(plain, ramp(3, 20, 30), 1.0, "stack")
    path = tmp_path / ("a.mrcs.gz" if pack is gzip.compress else "a.mrcs.bz2")
    content = pack(plain.read_bytes())
    path.write_bytes(content)
    np.testing.assert_array_equal(read_mrc(path).data, ramp(3, 20, 30))
    np.testing.assert_array_equal(list(mrc_sections(path)), ramp(3, 20, 30))
    np.testing.assert_array_equal(read_stack_images(path, [1, 1, 2]), ramp(3, 20, 30)[[1, 1, 2]])
    for name, bad in {
        "cut": content[:-20],
        "text": b"not compressed at all " * 100,
        "short": pack(plain.read_bytes()[:-100]),
    }.items():
        path.write_bytes(bad)
        with pytest.raises(BadInput, match=r"truncated|unpacked") as caught:
            read_mrc(path)
        assert "\n" not in str(caught.value), name


def test_a_header_that_asks_for_more_than_can_be_packed_is_refused_before_unpacking(tmp_path: Path) -> None:
    plain = tmp_path / "a.mrc"
    write_mrc(plain, ramp(64, 64), 1.0)
    content = plain.read_bytes()
    huge = np.array([2**19, 2**19, 2**19], "<i4").tobytes() + content[12:]
    (tmp_path / "a.mrc.gz").write_bytes(gzip.compress(huge))
    with pytest.raises(BadInput, match="its header asks for"):
        read_mrc(tmp_path / "a.mrc.gz")


def test_a_header_without_voxel_size_gives_none(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as handle:
        handle.set_data(ramp(6, 8))
    assert read_mrc_header(path).pixel_size_A is None


def test_mode_6_is_never_written(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", np.full((4, 4), 60000, np.uint16), 1.0)
    assert read_mrc_header(tmp_path / "a.mrc").mode == 2
    assert read_mrc(tmp_path / "a.mrc").data.max() == 60000


def test_big_endian_and_extended_header(tmp_path: Path) -> None:
    header = np.zeros(256, ">i4")
    header[:4] = 3, 2, 1, 1
    header[7:10] = 3, 2, 1
    header.view(">f4")[10:13] = 4.5, 3.0, 1.5
    header[23] = 80
    path = tmp_path / "big.mrc"
    path.write_bytes(header.tobytes() + b"x" * 80 + np.array([[1, -2, 3], [4, 5, -6]], ">i2").tobytes())
    image = read_mrc(path)
    np.testing.assert_array_equal(image.data, [[1, -2, 3], [4, 5, -6]])
    assert image.pixel_size_A == pytest.approx(1.5)


def test_crystallographic_axis_order(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    volume = ramp(2, 3, 4)  # z, y, x
    write_mrc(path, volume.transpose(2, 0, 1), 1.0, "volume")  # sections along x, rows along z, columns along y
    with mrcfile.open(path, "r+") as handle:
        handle.header.mapc, handle.header.mapr, handle.header.maps = 2, 3, 1
    np.testing.assert_array_equal(read_mrc(path).data, volume)


def test_a_stack_of_one_stays_a_stack(tmp_path: Path) -> None:
    write_mrc(tmp_path / "one.mrcs", ramp(1, 6, 6), 1.0, "stack")
    assert read_mrc(tmp_path / "one.mrcs").data.shape == (1, 6, 6)


def test_images_of_a_stack_come_in_the_order_asked(tmp_path: Path) -> None:
    path = tmp_path / "s.mrcs"
    write_mrc(path, ramp(5, 4, 6), 1.0, "stack")
    np.testing.assert_array_equal(read_stack_images(path, [4, 0, 4]), ramp(5, 4, 6)[[4, 0, 4]])
    with pytest.raises(BadInput, match="holds 5 images"):
        read_stack_images(path, [5])


def broken(tmp_path: Path, what: str) -> Path:
    path = tmp_path / f"{what}.mrc"
    write_mrc(path, ramp(64, 64), 1.0)
    content = path.read_bytes()
    match what:
        case "truncated":
            path.write_bytes(content[:-100])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("# notes of the day\n" * 200)
        case "short text":
            path.write_text("hello")
        case "complex":
            path.write_bytes(content[:12] + np.int32(4).tobytes() + content[16:])
        case "huge":
            path.write_bytes(np.array([2**19, 2**19, 2**19], "<i4").tobytes() + content[12:])
        case "nan":
            write_mrc(path, np.full((4, 4), np.nan), 1.0)
        case "missing":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
    return path


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("truncated", "truncated"),
        ("empty", "empty"),
        ("text", "not an MRC"),
        ("short text", "not an MRC"),
        ("complex", "mode 4"),
        ("huge", "truncated"),
        ("nan", "not numbers"),
        ("missing", "no such file"),
        ("folder", "not an MRC|cannot be read"),
    ],
)
def test_a_bad_file_is_named_with_its_reason_in_one_line(tmp_path: Path, what: str, reason: str) -> None:
    path = broken(tmp_path, what)
    with pytest.raises(BadInput, match=reason) as caught:
        read_mrc(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
