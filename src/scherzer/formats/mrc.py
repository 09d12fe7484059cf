"""MRC images, stacks and volumes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mrcfile
import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from numpy.typing import NDArray

from scherzer.formats.atomic import atomic_path
from scherzer.formats.errors import BadInput

Float32Array = NDArray[np.float32]

HEADER_BYTES = 1024
MODES: dict[int, np.dtype[Any]] = {
    0: np.dtype("i1"),
    1: np.dtype("i2"),
    2: np.dtype("f4"),
    6: np.dtype("u2"),
    12: np.dtype("f2"),
}
IMOD_STAMP = 1146047817
NOT_MRC = "give an MRC file (mode 0, 1, 2, 6 or 12)"
COPY_AGAIN = "copy the file again from where it was recorded"


@dataclass(frozen=True)
class MrcHeader:
    """What the header of an MRC file says.

    Attributes
    ----------
    shape : tuple of int
        ``(nz, ny, nx)``, always three numbers; ``nz`` is 1 for an image.
    pixel_size_A : float or None
        Along x; None where the header holds no usable value.
    mode : int
        0 int8, 1 int16, 2 float32, 6 uint16, 12 float16.
    """

    shape: tuple[int, int, int]
    pixel_size_A: float | None
    mode: int


@dataclass(frozen=True)
class MrcImage:
    """The contents of an MRC file.

    Attributes
    ----------
    data : ndarray of float32
        ``(h, w)`` for an image, ``(n, h, w)`` for a stack or a volume. A ``.mrcs`` file is always a stack.
    pixel_size_A : float or None
        None where the header holds no usable value.
    """

    data: Float32Array
    pixel_size_A: float | None


@dataclass(frozen=True)
class _Layout:
    """Where the numbers of a file lie, checked against its length."""

    header: MrcHeader
    offset: int
    dtype: np.dtype[Any]
    axes: tuple[int, int, int]


def read_mrc_header(path: Path) -> MrcHeader:
    """Read the header of an MRC file and check the file's length against it.

    Raises
    ------
    BadInput
        If the file is missing, is not MRC, has a mode that is not read here, or is shorter than its header says.
    """
    return _layout(path).header


def read_mrc(path: Path) -> MrcImage:
    """Read an image, stack or volume.

    Raises
    ------
    BadInput
        As `read_mrc_header`, and if a value is not finite.
    """
    layout = _layout(path)
    data = _numbers(path, layout)
    if layout.header.shape[0] > 1 and layout.axes != (1, 2, 3):
        # Crystallographic maps may store another axis fastest; mapc, mapr and maps name columns, rows and sections.
        stored = layout.axes[::-1]
        data = np.ascontiguousarray(data.transpose([stored.index(axis) for axis in (3, 2, 1)]))
    if layout.header.shape[0] == 1 and path.suffix.lower() != ".mrcs":
        data = data[0]
    return MrcImage(data, layout.header.pixel_size_A)


def read_stack_images(path: Path, indices: Sequence[int] | NDArray[np.int64]) -> Float32Array:
    """Read some images of a stack without reading the others.

    Parameters
    ----------
    path : Path
        MRC stack.
    indices : sequence of int
        Which images, numbered from 0, in the order wanted.

    Returns
    -------
    ndarray of float32
        ``(n, h, w)``.

    Raises
    ------
    BadInput
        As `read_mrc`, and if an index lies outside the stack.
    """
    layout = _layout(path)
    wanted = np.asarray(indices, dtype=np.int64)
    count = layout.header.shape[0]
    if len(wanted) and (wanted.min() < 0 or wanted.max() >= count):
        raise BadInput(path, f"holds {count} images, image {int(wanted.max()) + 1} was asked for", COPY_AGAIN)
    mapped = np.memmap(path, layout.dtype, "r", layout.offset, layout.header.shape)
    return _finite(path, mapped[wanted].astype(np.float32))


def write_mrc(
    path: Path, data: NDArray[Any], pixel_size_A: float, kind: Literal["image", "stack", "volume"] = "image"
) -> None:
    """Write an image, stack or volume atomically, with its voxel size.

    Parameters
    ----------
    path : Path
        Target; a stack of particles must end in ``.mrcs`` for RELION.
    data : ndarray
        ``(h, w)`` for an image, ``(n, h, w)`` for a stack, ``(d, h, w)`` for a volume. int8, int16 and float16
        are kept, anything else is written as float32 (RELION 3.1 misreads mode 6).
    pixel_size_A : float
        Pixel or voxel size.
    kind : {"image", "stack", "volume"}
        Sets the space group: 1 for a volume, 0 otherwise.
    """
    if data.ndim != (2 if kind == "image" else 3):
        raise ValueError(f"an MRC {kind} cannot have shape {data.shape}")
    kept = data if data.dtype in (np.int8, np.int16, np.float16) else data.astype(np.float32, copy=False)
    with atomic_path(path) as temporary, mrcfile.new(temporary, overwrite=True) as handle:
        handle.set_data(np.ascontiguousarray(kept))
        if kind == "volume":
            handle.set_volume()
        elif kind == "stack":
            handle.set_image_stack()
        handle.voxel_size = pixel_size_A


def _layout(path: Path) -> _Layout:
    """Parse the header and hold it against the length of the file, before anything is allocated."""
    try:
        length = path.stat().st_size
        with path.open("rb") as handle:
            raw = handle.read(HEADER_BYTES)
    except FileNotFoundError:
        raise BadInput(path, "no such file", "check the name") from None
    except OSError as error:
        raise BadInput(path, f"cannot be read ({error.strerror})", "check the file and its permissions") from None
    if length == 0:
        raise BadInput(path, "is empty", COPY_AGAIN)
    if length < HEADER_BYTES:
        raise BadInput(path, "is not an MRC file (shorter than an MRC header)", NOT_MRC)
    header = _plausible_header(path, raw)
    shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
    mode = int(header["mode"])
    dtype = MODES[mode].newbyteorder(header.dtype["mode"].byteorder)
    imod_stamp, imod_flags = np.frombuffer(raw, header.dtype["mode"], 2, 152)
    if mode == 0 and imod_stamp == IMOD_STAMP and not imod_flags & 1:
        dtype = np.dtype("u1")  # IMOD's bytes are unsigned unless it says otherwise
    offset = HEADER_BYTES + int(header["nsymbt"])
    needed = offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if length < needed:
        raise BadInput(path, f"is truncated ({length} bytes, its header asks for {needed})", COPY_AGAIN)
    axes = (int(header["mapc"]), int(header["mapr"]), int(header["maps"]))
    if sorted(axes) != [1, 2, 3]:
        axes = (1, 2, 3)  # old headers leave them zero
    return _Layout(MrcHeader(shape, _pixel_size(header), mode), offset, dtype, axes)


def _plausible_header(path: Path, raw: bytes) -> Any:
    """Return the header in the byte order in which it makes sense.

    The machine stamp and the word MAP are often missing from old or home-made files, so the numbers decide.
    """
    modes: list[int] = []
    for order in "<>":
        header = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order))[0]
        sizes = [int(header[name]) for name in ("nx", "ny", "nz")]
        sensible = all(0 < size < 2**20 for size in sizes) and 0 <= int(header["nsymbt"]) < 2**31
        if sensible and int(header["mode"]) in MODES:
            return header
        if sensible and 0 <= int(header["mode"]) < 256:
            modes.append(int(header["mode"]))
    if modes:
        raise BadInput(path, f"has MRC mode {modes[0]}, which is not read here", "convert it to mode 1, 2 or 12")
    raise BadInput(path, "is not an MRC file (its header makes no sense)", NOT_MRC)


def _pixel_size(header: Any) -> float | None:
    """Return the pixel size along x; new files of several programs hold 0."""
    if int(header["mx"]) <= 0:
        return None
    pixel_size_A = float(header["cella"]["x"]) / int(header["mx"])
    return round(pixel_size_A, 6) if np.isfinite(pixel_size_A) and 0 < pixel_size_A < 1e4 else None


def _numbers(path: Path, layout: _Layout) -> Float32Array:
    """Read everything behind the header."""
    count = int(np.prod(layout.header.shape))
    values = np.fromfile(path, layout.dtype, count, offset=layout.offset).reshape(layout.header.shape)
    return _finite(path, values.astype(np.float32, copy=False))


def _finite(path: Path, data: Float32Array) -> Float32Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        sound = bool(np.isfinite(data.sum(dtype=np.float64)))
    if not sound:
        raise BadInput(path, "holds values that are not numbers (NaN or infinite)", "export the image again")
    return data
