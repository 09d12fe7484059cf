"""The bytes of a file, unpacked on the way where it is compressed, and what bounds how many there can be."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from scherzer.formats.errors import BadInput

COPY_AGAIN = "copy the file again from where it was recorded"
GZIP_ENDINGS = (".gz", ".mrcgz")
BZIP2_ENDINGS = (".bz2", ".mrcbz2")
# Deflate makes data at most 1032 times smaller, LZW about 1340 times, and no movie comes near either. A header that
# asks for more than this many times the file is wrong or malicious.
MOST_EXPANSION = 1500
MARKS = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"\x89HDF": "HDF5",
}
MAP_AT = 208  # where MRC files have the word MAP
# The finest camera frame there is, an electron-event image of 16384 pixels a side.
MOST_FRAME_PIXELS = 2**28


def file_length(path: Path) -> int:
    """Return the length of a file in bytes.

    Raises
    ------
    BadInput
        If there is no such file, or it is empty or cannot be read.
    """
    try:
        length = path.stat().st_size
        if not path.is_file():
            raise BadInput(path, "cannot be read (it is not a file)", "name the images themselves")
    except FileNotFoundError:
        raise BadInput(path, "no such file", "check the name") from None
    except (OSError, ValueError) as error:
        raise BadInput(path, f"cannot be read ({one_line(error)})", "check the file and its permissions") from None
    if length == 0:
        raise BadInput(path, "is empty", COPY_AGAIN)
    return length


def is_compressed(path: Path) -> bool:
    """Return whether the name says that a whole file was compressed by gzip or bzip2."""
    return path.name.lower().endswith(GZIP_ENDINGS + BZIP2_ENDINGS)


def _opener(path: Path) -> Callable[..., object]:
    name = path.name.lower()
    if name.endswith(GZIP_ENDINGS):
        return gzip.open
    return bz2.open if name.endswith(BZIP2_ENDINGS) else open


@contextmanager
def open_content(path: Path) -> Iterator[BinaryIO]:
    """Open the contents of a file for reading; damage found while unpacking becomes one clear error.

    Raises
    ------
    BadInput
        If the file cannot be opened, or what is read inside the block cannot be unpacked.
    """
    try:
        handle = cast(BinaryIO, _opener(path)(path, "rb"))
        with handle:
            yield handle
    except EOFError:
        raise BadInput(path, "is truncated (its compressed data end early)", COPY_AGAIN) from None
    except zlib.error as error:
        raise BadInput(path, f"cannot be unpacked ({one_line(error)})", COPY_AGAIN) from None
    except OSError as error:
        problem = "cannot be unpacked" if is_compressed(path) else "cannot be read"
        raise BadInput(path, f"{problem} ({one_line(error)})", "check the file and its permissions") from None


def require_believable_size(path: Path, frames: int, frame_pixels: int, bytes_per_pixel: int) -> None:
    """Refuse what a header asks for where the file cannot hold it, before anything is allocated.

    Parameters
    ----------
    path : Path
        The file.
    frames, frame_pixels : int
        Number of frames, and of pixels in each.
    bytes_per_pixel : int
        When unpacked.

    Raises
    ------
    BadInput
        If a frame is larger than any camera's, or all are far more than the file unpacks to.
    """
    length = file_length(path)
    if frame_pixels > MOST_FRAME_PIXELS or frames * frame_pixels * bytes_per_pixel > MOST_EXPANSION * length:
        problem = f"its header asks for {frames} frames of {frame_pixels} pixels, which {length} bytes do not hold"
        raise BadInput(path, problem, COPY_AGAIN)


def empty_frames(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an array of float32 for what a file holds.

    Raises
    ------
    BadInput
        If there is not the memory.
    """
    try:
        return np.empty(shape, np.float32)
    except (MemoryError, ValueError):
        sides = " x ".join(str(side) for side in shape)
        raise BadInput(path, f"holds {sides} pixels, more than fit into memory", "bin it or leave it out") from None


def unpacked_pairs(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the 4-bit numbers of rows of bytes, the first in the lower half of its byte (IMOD's convention)."""
    numbers = np.empty((rows.shape[0], 2 * rows.shape[1]), np.uint8)
    numbers[:, ::2] = rows & 15
    numbers[:, 1::2] = rows >> 4
    return numbers


def known_kind(path: Path) -> str | None:
    """Return what a file is by its first bytes, whatever its name says; None where they tell nothing."""
    try:
        with path.open("rb") as handle:
            head = handle.read(MAP_AT + 3)
    except OSError:
        return None
    kinds = [kind for mark, kind in MARKS.items() if head.startswith(mark)]
    return kinds[0] if kinds else ("MRC" if head[MAP_AT:] == b"MAP" else None)


def wrong_ending(path: Path, wanted: str) -> BadInput | None:
    """Return the error of a file that is of another kind than its name says; None where that is not known."""
    kind = known_kind(path)
    if kind is None or kind == wanted:
        return None
    return BadInput(path, f"is not {wanted} but {kind}", "give it the ending of its kind, or convert it")


def one_line(error: Exception) -> str:
    """Return what an error of another library says, short and on one line."""
    if not isinstance(error, ValueError | RuntimeError | OSError | MemoryError):
        return "its contents make no sense"  # a slip of the library over damaged data, of no use to the reader
    return " ".join(str(error).split())[:120] or type(error).__name__
