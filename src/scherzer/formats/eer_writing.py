"""Electron-event movies (EER) as a Falcon 4 writes them: positions of electrons, one directory per raw frame.

The file is a BigTIFF. Each raw frame is a stream of bits, least significant first, of one code an electron: 7 bits for
the number of empty pixels since the last electron, 4 bits for where in its pixel the electron fell. 127 means 127
empty pixels and no electron, and has no sub-pixel bits. The stream ends with a run that reaches the last pixel.
(Guo et al. 2020, IUCrJ 7, 860; the layout as in RELION's renderEER.cpp and the maker's EerReaderLib.)
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

COMPRESSION_7_BIT = 65001
METADATA_TAG = 65001
RUN_BITS, SUBPIXEL_BITS = 7, 4
LONGEST_RUN = 2**RUN_BITS - 1
# About the rate of a Falcon 4; the exposure time, which readers look for, follows from it.
RAW_FRAMES_PER_S = 250.0
# Codes are packed in pieces that fit the processor's cache.
PIECE = 2**18

_SHORT, _LONG, _UNDEFINED, _LONG8 = 3, 4, 7, 16
_TIFF_TYPE_FORMATS = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}


def write_eer(
    path: Path,
    frames: Iterable[NDArray[np.integer[Any]]],
    pixel_size_A: float,
    raw_frames_per_frame: int,
    seed: int,
) -> int:
    """Write counts as an electron-event movie and return how many frames there were.

    Parameters
    ----------
    path : Path
        Target; not atomic.
    frames : iterable of ndarray of integer
        ``(h, w)`` each, counts.
    pixel_size_A : float
        Goes into the acquisition metadata.
    raw_frames_per_frame : int
        Each frame is spread over so many raw frames. One of those records at most one electron a pixel, so counts
        above this number are cut, as in the camera.
    seed : int
        Of the raw frame and the place inside its pixel that each electron gets at random.
    """
    with path.open("wb") as handle:
        handle.write(_header(0))
        strips: list[tuple[int, int]] = []
        shape, electrons, count = (0, 0), 0, 0
        for index, frame in enumerate(frames):
            shape, count = (frame.shape[0], frame.shape[1]), index + 1
            rng = np.random.default_rng([seed, index])
            for stream in raw_frame_streams(frame, raw_frames_per_frame, rng):
                strips.append((handle.tell(), len(stream)))
                handle.write(stream)
            electrons += int(np.minimum(frame, raw_frames_per_frame).sum(dtype=np.int64))
        metadata = _acquisition_metadata(len(strips), shape, pixel_size_A, electrons)
        first_directory = _write_directories(handle, strips, shape, metadata)
        handle.seek(0)
        handle.write(_header(first_directory))
    return count


def raw_frame_streams(frame: NDArray[np.integer[Any]], raw_frames: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Spread the electrons of a frame over raw frames and encode each of those.

    Parameters
    ----------
    frame : ndarray of integer
        ``(h, w)``, counts.
    raw_frames : int
        How many streams to yield.
    rng : Generator
        Source of randomness.
    """
    raw_frame, pixel = _spread_electrons(frame.ravel(), raw_frames, rng)
    order = raw_frame * np.int64(frame.size) + pixel
    order.sort()
    ends = np.searchsorted(order, frame.size * np.arange(1, raw_frames + 1, dtype=np.int64))
    for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        pixels = order[start:end] - number * np.int64(frame.size)
        subpixels = rng.integers(0, 2**SUBPIXEL_BITS, len(pixels), dtype=np.uint32)
        yield encode_raw_frame(pixels, subpixels, frame.size)


def encode_raw_frame(pixels: NDArray[np.int64], subpixels: NDArray[np.uint32], pixel_count: int) -> bytes:
    """Encode one raw frame.

    Parameters
    ----------
    pixels : ndarray of int64
        ``(n,)``, of each electron, row by row from 0, ascending, each at most once.
    subpixels : ndarray of uint32
        ``(n,)``, as stored: x in the two low bits and y in the two high ones, each with its upper bit inverted.
    pixel_count : int
        Pixels of the frame.
    """
    stream = bytearray()
    carried_bits, carried = 0, 0
    # The last code is the run to the end of the frame. Its sub-pixel bits lie behind the end and count as padding.
    pixels = np.append(pixels, pixel_count)
    subpixels = np.append(subpixels, np.uint32(0))
    previous = -1
    for start in range(0, len(pixels), PIECE):
        piece = pixels[start : start + PIECE]
        runs = np.diff(piece, prepend=previous) - 1
        previous = int(piece[-1])
        packed, bits = _pack(runs, subpixels[start : start + PIECE], carried_bits)
        packed[0] |= carried
        whole = bits // 8
        stream += packed[:whole].tobytes()
        carried_bits, carried = bits % 8, int(packed[whole])
    stream.append(carried)
    # Readers look ahead and want an even length.
    return bytes(stream) + bytes(2 + len(stream) % 2)


def _spread_electrons(
    counts: NDArray[np.integer[Any]], raw_frames: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return raw frame and pixel of each electron; electrons of one pixel get different raw frames.

    They start at a random raw frame and go on by a random stride that visits all raw frames before it returns.
    """
    strides = np.array([stride for stride in range(1, raw_frames + 1) if np.gcd(stride, raw_frames) == 1])
    pixels = np.flatnonzero(counts)
    at = rng.integers(0, raw_frames, len(pixels))
    stride = strides[rng.integers(0, len(strides), len(pixels))]
    raw_frame_parts, pixel_parts = [], []
    for taken in range(1, raw_frames + 1):
        raw_frame_parts.append(at)
        pixel_parts.append(pixels)
        more = counts[pixels] > taken
        if not more.any():
            break
        pixels, stride = pixels[more], stride[more]
        at = (at[more] + stride) % raw_frames
    return np.concatenate(raw_frame_parts), np.concatenate(pixel_parts)


def _pack(runs: NDArray[np.int64], subpixels: NDArray[np.uint32], bits_before: int) -> tuple[NDArray[np.uint8], int]:
    """Return the codes as bytes, behind ``bits_before`` free bits, and the number of bits with those."""
    overflows, rest = np.divmod(runs, LONGEST_RUN)
    lengths = RUN_BITS * overflows + (RUN_BITS + SUBPIXEL_BITS)
    ends = np.cumsum(lengths) + bits_before
    size = int(ends[-1]) // 8 + 3
    codes = (rest.astype(np.uint32)) | (subpixels << np.uint32(RUN_BITS))
    packed = _bytes_of(codes, ends - (RUN_BITS + SUBPIXEL_BITS), size)
    count = int(overflows.sum())
    if count:
        owner = np.repeat(np.arange(len(runs)), overflows)
        rank = np.arange(count) - np.repeat(np.cumsum(overflows) - overflows, overflows)
        places = (ends - lengths)[owner] + RUN_BITS * rank
        packed += _bytes_of(np.full(count, LONGEST_RUN, np.uint32), places, size)
    return packed, int(ends[-1])


def _bytes_of(codes: NDArray[np.uint32], places: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """Return bytes with each code at its bit; codes do not overlap, so that sums are unions."""
    at = places >> 3
    shifted = codes << (places & 7).astype(np.uint32)
    total = np.zeros(size)
    for byte in range(3):
        total += np.bincount(at + byte, weights=(shifted >> np.uint32(8 * byte)) & np.uint32(255), minlength=size)
    return total.astype(np.uint8)


def _acquisition_metadata(raw_frames: int, shape: tuple[int, int], pixel_size_A: float, electrons: int) -> bytes:
    """Return the metadata under the names that a Falcon 4's files have."""
    pixels = max(shape[0] * shape[1], 1)
    exposure_s = raw_frames / RAW_FRAMES_PER_S
    dose_e_per_px = electrons / pixels
    items: list[tuple[str, str | None, str]] = [
        ("commercialName", None, "simulated"),
        ("exposureTime", "s", f"{exposure_s:.6f}"),
        ("meanDoseRate", "e/pixel/s", f"{dose_e_per_px / exposure_s if exposure_s else 0.0:.6f}"),
        ("numberOfFrames", None, str(raw_frames)),
        ("sensorImageHeight", "pixel", str(shape[0])),
        ("sensorImageWidth", "pixel", str(shape[1])),
        ("sensorPixelSize.height", "m", f"{1e-10 * pixel_size_A:.6e}"),
        ("sensorPixelSize.width", "m", f"{1e-10 * pixel_size_A:.6e}"),
        ("totalDose", "e/pixel", f"{dose_e_per_px:.6f}"),
    ]
    root = ElementTree.Element("metadata")
    for name, unit, text in items:
        attributes = {"name": name} if unit is None else {"name": name, "unit": unit}
        ElementTree.SubElement(root, "item", attributes).text = text
    return ElementTree.tostring(root)


def _header(first_directory: int) -> bytes:
    return struct.pack("<2sHHHQ", b"II", 43, 8, 0, first_directory)


def _write_directories(
    handle: io.BufferedWriter, strips: list[tuple[int, int]], shape: tuple[int, int], metadata: bytes
) -> int:
    """Write one directory per raw frame, the first with the metadata, and return where the first is."""
    metadata_at = handle.tell()
    handle.write(metadata)
    handle.write(bytes(-handle.tell() % 8))
    first = here = handle.tell()
    height, width = shape
    for number, (offset, length) in enumerate(strips):
        entries = [
            (256, _LONG, 1, width),
            (257, _LONG, 1, height),
            (258, _SHORT, 1, 8),
            (259, _SHORT, 1, COMPRESSION_7_BIT),
            (262, _SHORT, 1, 1),
            (273, _LONG8, 1, offset),
            (277, _SHORT, 1, 1),
            (278, _LONG, 1, height),
            (279, _LONG8, 1, length),
        ]
        if number == 0:
            entries.append((METADATA_TAG, _UNDEFINED, len(metadata), metadata_at))
        directory = struct.pack("<Q", len(entries))
        for tag, kind, count, value in entries:
            directory += struct.pack("<HHQ", tag, kind, count)
            directory += struct.pack("<" + _TIFF_TYPE_FORMATS.get(kind, "Q"), value).ljust(8, b"\0")
        here += len(directory) + 8
        following = 0 if number == len(strips) - 1 else here
        handle.write(directory + struct.pack("<Q", following))
    return first
