"""Damaged files: each reader gives data or one clear error, in bounded memory and time.

Two thousand files, each made from a sound one by a mutation that its number determines.
"""

from __future__ import annotations

import bz2
import gzip
import resource
import signal
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scherzer.formats.defects import read_defects
from scherzer.formats.eer import EerSettings
from scherzer.formats.errors import BadInput
from scherzer.formats.gain import read_gain
from scherzer.formats.movie_writing import write_movie
from scherzer.formats.movies import open_exposure
from scherzer.formats.mrc import read_mrc, read_stack_images, write_mrc
from scherzer.formats.star import StarTable, read_star, write_star

CASES_PER_KIND = 110  # of 19 kinds
MOST_MEMORY_BYTES = 2**29
MOST_SECONDS = 10
SHAPE = (64, 72)
COUNTS = np.random.default_rng(1).poisson(1.5, (4, *SHAPE)).astype(np.uint8)

Make = Callable[[Path], None]
Read = Callable[[Path], object]


def read_exposure(path: Path) -> object:
    movie = open_exposure(path)
    assert movie.frame_count * movie.shape[0] * movie.shape[1] <= 2**28
    return movie.read()


def read_events(path: Path) -> object:
    return open_exposure(path, EerSettings(raw_frames_per_frame=2, upsampling=2)).read()


def read_volume(path: Path) -> object:
    return read_mrc(path)


def read_some_images(path: Path) -> object:
    return read_stack_images(path, [1, 0])


def read_reference(path: Path) -> object:
    return read_gain(path, SHAPE)


def read_event_reference(path: Path) -> object:
    return read_gain(path, SHAPE, electron_events=True)


def read_defective(path: Path) -> object:
    return read_defects(path, SHAPE)


def make_movie(path: Path) -> None:
    write_movie(path, COUNTS, 1.0, len(COUNTS), raw_frames_per_frame=3)


def make_mrc(dtype: str) -> Make:
    def make(path: Path) -> None:
        write_mrc(path, COUNTS.astype(dtype), 1.0, "stack")

    return make


def make_big_endian(path: Path) -> None:
    header = np.zeros(256, ">i4")
    header[:4] = SHAPE[1], SHAPE[0], len(COUNTS), 1
    header[7:10] = SHAPE[1], SHAPE[0], len(COUNTS)
    path.write_bytes(header.tobytes() + COUNTS.astype(">i2").tobytes())


def make_packed(path: Path) -> None:
    header = np.zeros(256, "<i4")
    header[:4] = SHAPE[1], SHAPE[0], len(COUNTS), 101
    path.write_bytes(header.tobytes() + (COUNTS[..., ::2] | COUNTS[..., 1::2] << 4).tobytes())


def make_compressed(pack: Callable[[bytes], bytes]) -> Make:
    def make(path: Path) -> None:
        plain = path.with_name("plain.mrc")
        make_movie(plain)
        path.write_bytes(pack(plain.read_bytes()))

    return make


def make_tiff(**form: object) -> Make:
    def make(path: Path) -> None:
        tifffile.imwrite(path, COUNTS, photometric="minisblack", **form)

    return make


def make_gain(path: Path) -> None:
    gain = np.random.default_rng(2).uniform(0.9, 1.1, SHAPE).astype(np.float32)
    if path.suffix == ".mrc":
        write_mrc(path, gain, 1.0)
    else:
        tifffile.imwrite(path, gain)


def make_star(path: Path) -> None:
    optics = pd.DataFrame({"rlnOpticsGroup": [1], "rlnOpticsGroupName": ["1"], "rlnVoltage": [300.0]})
    rows = pd.DataFrame({"rlnMicrographName": [f"a/m {n}.mrc" for n in range(9)], "rlnDefocusU": np.arange(9) + 0.5})
    write_star(StarTable("micrographs", optics, rows), path)


def make_list(path: Path) -> None:
    path.write_text("".join(f"{n} {2 * n} 3 4\n" for n in range(20)))


KINDS: dict[str, tuple[str, Make, Read]] = {
    "int8 movie": ("a.mrc", make_movie, read_exposure),
    "int16 movie": ("a.mrcs", make_mrc("i2"), read_exposure),
    "float volume": ("a.mrc", make_mrc("f4"), read_volume),
    "half-float stack": ("a.mrcs", make_mrc("f2"), read_some_images),
    "big-endian movie": ("a.mrc", make_big_endian, read_exposure),
    "4-bit movie": ("a.mrc", make_packed, read_exposure),
    "gzip movie": ("a.mrc.gz", make_compressed(gzip.compress), read_exposure),
    "bzip2 movie": ("a.mrc.bz2", make_compressed(bz2.compress), read_exposure),
    "lzw movie": ("a.tif", make_movie, read_exposure),
    "plain tiff": ("a.tif", make_tiff(), read_exposure),
    "deflated tiff": ("a.tiff", make_tiff(compression="zlib", predictor=True), read_exposure),
    "tiled big tiff": ("a.tif", make_tiff(bigtiff=True, tile=(32, 32), compression="lzw"), read_exposure),
    "event movie": ("a.eer", make_movie, read_exposure),
    "upsampled event movie": ("a.eer", make_movie, read_events),
    "gain in mrc": ("a.mrc", make_gain, read_event_reference),
    "gain in tiff": ("a.tif", make_gain, read_reference),
    "gain of a falcon": ("a.gain", make_gain, read_event_reference),
    "defect list": ("a.txt", make_list, read_defective),
    "micrographs table": ("a.star", make_star, read_star),
}
EXTREMES = [0, 1, 2, 7, 101, 255, 2**15, 2**16 - 1, 2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 0x7FC00000, 0x7F800000]


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file as disks, copies, other programs and ill will do."""
    data = bytearray(content)
    # Headers and directories lie at the ends.
    near = min(len(data), 1400)
    at = int(rng.integers(near)) if rng.random() < 0.7 else len(data) - 1 - int(rng.integers(near))
    match int(rng.integers(9)):
        case 0:
            for place in rng.integers(0, len(data), int(rng.integers(1, 30))):
                data[place] ^= 1 << int(rng.integers(8))
        case 1 | 2 | 3:
            word = int(rng.choice(EXTREMES)) if rng.random() < 0.7 else int(rng.integers(2**32))
            size = int(rng.choice([2, 4, 8]))
            start = at - at % size
            data[start : start + size] = word.to_bytes(8, rng.choice(["little", "big"]))[:size]
        case 4:
            del data[int(rng.integers(len(data))) :]
        case 5:
            del data[at : at + int(rng.integers(1, 60))]
        case 6:
            data[at:at] = rng.bytes(int(rng.integers(1, 60)))
        case 7:
            value = rng.choice([b"\x00", b"\xff", b"\x00\x00\xc0\x7f"])
            length = int(rng.integers(1, len(data)))
            data[at : at + length] = (bytes(value) * length)[:length]
        case _:
            swapped = np.frombuffer(bytes(data[: len(data) // 4 * 4]), "<u4").byteswap().tobytes()
            data[: len(swapped)] = swapped
    return bytes(data)


class TookTooLong(BaseException):
    """Not an Exception, so that no reader takes it for damage."""


@contextmanager
def bounded() -> Iterator[None]:
    """Let what is inside have so much more memory, and so much of the processor's time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGVTALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MOST_MEMORY_BYTES, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGVTALRM, before)


def outcome(read: Read, path: Path) -> str:
    """Return "data", or the error's text; any other exception passes through."""
    with bounded():
        try:
            read(path)
        except BadInput as error:
            # Memory that ran out is no answer: the file must have been refused before.
            if isinstance(error.__context__, MemoryError):
                raise error.__context__ from error
            return str(error)
    return "data"


def is_one_clear_line(text: str) -> bool:
    return "\n" not in text and "; " in text and 20 < len(text) < 600


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_gives_data_or_one_clear_error(tmp_path: Path, kind: str) -> None:
    name, make, read = KINDS[kind]
    path = tmp_path / name
    make(path)
    sound = path.read_bytes()
    assert outcome(read, path) == "data"
    refused = 0
    for case in range(CASES_PER_KIND):
        path.write_bytes(mutated(sound, np.random.default_rng([list(KINDS).index(kind), case])))
        try:
            result = outcome(read, path)
        except Exception as error:
            pytest.fail(f"{kind}, case {case}: {error!r}")
        assert result == "data" or is_one_clear_line(result), f"{kind}, case {case}"
        refused += result != "data"
    # Most damage to a header shows; damage to counts alone cannot.
    assert refused > CASES_PER_KIND / 10


def family(name: str) -> str:
    ending = name.split(".")[-1].replace("gain", "tif")
    return ending[:3]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    name, _, read = KINDS[kind]
    others = {family(other_name): (other_name, make) for other_name, make, _ in KINDS.values()}
    del others[family(name)]
    assert len(others) == 6
    for other_name, make in others.values():
        make(tmp_path / other_name)
        (tmp_path / name).write_bytes((tmp_path / other_name).read_bytes())
        result = outcome(read, tmp_path / name)
        assert result != "data", other_name
        assert is_one_clear_line(result)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_and_folders_are_refused(tmp_path: Path, kind: str) -> None:
    name, _, read = KINDS[kind]
    assert "no such file" in outcome(read, tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    assert is_one_clear_line(outcome(read, tmp_path / name))
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert is_one_clear_line(outcome(read, tmp_path / name))


ANY_FILE = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(ANY_FILE, max_examples=300)
@given(kind=st.sampled_from(sorted(KINDS)), content=st.binary(max_size=3000))
def test_any_bytes_are_data_or_one_clear_error(tmp_path: Path, kind: str, content: bytes) -> None:
    name, _, read = KINDS[kind]
    (tmp_path / name).write_bytes(content)
    result = outcome(read, tmp_path / name)
    assert result == "data" or is_one_clear_line(result)


NUMBERS = st.one_of(st.integers(-4, 300), st.sampled_from(EXTREMES).map(lambda value: (value + 2**31) % 2**32 - 2**31))


@settings(ANY_FILE, max_examples=200)
@given(
    words=st.lists(NUMBERS, min_size=30, max_size=30),
    order=st.sampled_from("<>"),
    ending=st.sampled_from([".mrc", ".mrcs", ".mrc.gz"]),
    length=st.integers(0, 40000),
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_mrc_header_is_held_against_its_file(
    tmp_path: Path, words: list[int], order: str, ending: str, length: int
) -> None:
    header = np.zeros(256, f"{order}i4")
    header[: len(words)] = words
    content = header.tobytes() + bytes(range(256)) * (length // 256)
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(content, 1) if ending.endswith("gz") else content)
    for read in (read_exposure, read_volume, read_some_images):
        result = outcome(read, path)
        assert result == "data" or is_one_clear_line(result)


def test_a_chain_of_directories_that_runs_in_a_circle(tmp_path: Path) -> None:
    """Without a check of its own, the TIFF library goes round for hours."""
    for pages in (3, 150):
        tifffile.imwrite(tmp_path / "a.tif", np.ones((pages, 64, 64), np.uint8), photometric="minisblack")
        with tifffile.TiffFile(tmp_path / "a.tif") as handle:
            first, last = handle.pages[1].offset, handle.pages[-1].offset
        content = bytearray((tmp_path / "a.tif").read_bytes())
        count = int.from_bytes(content[last : last + 2], "little")
        at = last + 2 + 12 * count
        content[at : at + 4] = first.to_bytes(4, "little")
        (tmp_path / "a.tif").write_bytes(content)
        assert "circle" in outcome(read_exposure, tmp_path / "a.tif")


@pytest.mark.parametrize("side", [30000, 2**31 - 1])
def test_a_tiff_that_claims_to_be_huge_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COUNTS[0], compression="zlib", rowsperstrip=16)
    with tifffile.TiffFile(path, mode="r+b") as handle:
        for tag in ("ImageWidth", "ImageLength"):
            handle.pages.first.tags[tag].overwrite(side, dtype="I")
    assert "its header asks for" in outcome(read_exposure, path)


@pytest.mark.parametrize("name", ["a.mrc.gz", "a.mrc.bz2", "a.tif"])
def test_what_unpacks_to_far_more_than_its_header_says_is_not_unpacked(tmp_path: Path, name: str) -> None:
    """Zeros behind a header of a small movie: more than the test may take."""
    path = tmp_path / name
    pieces = 5 * MOST_MEMORY_BYTES // 4 // 2**22
    if name == "a.tif":
        packer = zlib.compressobj(1)
        strip = b"".join([packer.compress(bytes(2**22)) for _ in range(pieces)]) + packer.flush()
        form = {"shape": (64, 64), "dtype": np.uint8, "rowsperstrip": 64, "photometric": "minisblack"}
        tifffile.imwrite(path, iter([strip]), compression="adobe_deflate", **form)
        assert is_one_clear_line(outcome(read_exposure, path))
        return
    plain = tmp_path / "plain.mrc"
    make_movie(plain)
    pack = gzip.compress if name.endswith("gz") else bz2.compress
    path.write_bytes(pack(plain.read_bytes()) + pieces * pack(bytes(2**22)))
    assert outcome(read_exposure, path) == "data"
