"""MRC images, stacks and volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mrcfile
import numpy as np
from numpy.typing import NDArray

from scherzer.formats.atomic import atomic_path
from scherzer.formats.content import COPY_AGAIN, empty_frames, is_compressed, open_content
from scherzer.formats.errors import BadInput
from scherzer.formats.mrc_layout import MrcHeader, MrcLayout, read_layout, truncated

Float32Array = NDArray[np.float32]


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


def read_mrc_header(path: Path) -> MrcHeader:
    """Read the header of an MRC file and check the file's length against it.

    Raises
    ------
    BadInput
        If the file is missing, is not MRC, has a mode that is not read here, or is shorter than its header says.
    """
    return read_layout(path).header


def read_mrc(path: Path) -> MrcImage:
    """Read an image, stack or volume: modes 0, 1, 2, 6, 12 and 101, also compressed by gzip or bzip2.

    Raises
    ------
    BadInput
        As `read_mrc_header`, and if a value is not finite or compressed data are damaged.
    """
    layout = read_layout(path)
    data = empty_frames(path, layout.header.shape)
    for number, section in enumerate(_stored_sections(path, layout)):
        data[number] = section
    _require_finite(path, data)
    if layout.header.shape[0] > 1 and layout.axes != (1, 2, 3):
        # Crystallographic maps may store another axis fastest; mapc, mapr and maps name columns, rows and sections.
        stored = layout.axes[::-1]
        data = np.ascontiguousarray(data.transpose([stored.index(axis) for axis in (3, 2, 1)]))
    if layout.header.shape[0] == 1 and ".mrcs" not in path.name.lower():
        data = data[0]
    return MrcImage(data, layout.header.pixel_size_A)


def mrc_sections(path: Path) -> Iterator[Float32Array]:
    """Read one section after the other, so that only one is in memory.

    Yields
    ------
    ndarray of float32
        ``(h, w)``, in the order stored.

    Raises
    ------
    BadInput
        As `read_mrc`, except that values are not looked at.
    """
    for section in _stored_sections(path, read_layout(path)):
        yield section.astype(np.float32)


def read_stack_images(path: Path, indices: Sequence[int] | NDArray[np.int64]) -> Float32Array:
    """Read some images of a stack without keeping the others.

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
    layout = read_layout(path)
    wanted = np.asarray(indices, dtype=np.int64)
    count, *shape = layout.header.shape
    if len(wanted) and (wanted.min() < 0 or wanted.max() >= count):
        raise BadInput(path, f"holds {count} images, image {int(wanted.max()) + 1} was asked for", COPY_AGAIN)
    if layout.packed or is_compressed(path):
        images = empty_frames(path, (len(wanted), *shape))
        for number, section in enumerate(_stored_sections(path, layout)):
            images[wanted == number] = section
    else:
        mapped = np.memmap(path, layout.dtype, "r", layout.offset, layout.header.shape)
        images = mapped[wanted].astype(np.float32)
    _require_finite(path, images)
    return images


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


def _stored_sections(path: Path, layout: MrcLayout) -> Iterator[NDArray[Any]]:
    """Read sections in their stored type; each is valid until the next is asked for."""
    buffer = bytearray(layout.section_bytes)
    with open_content(path) as content:
        content.seek(layout.offset)
        for _ in range(layout.header.shape[0]):
            if content.readinto(buffer) < len(buffer):  # type: ignore[attr-defined]
                raise truncated(path, layout)
            yield layout.section(buffer)


def _require_finite(path: Path, data: Float32Array) -> None:
    # Not-a-number and infinity carry through a sum, and cost no second array.
    with np.errstate(invalid="ignore", over="ignore"):
        sound = bool(np.isfinite(data.sum(dtype=np.float64)))
    if not sound:
        raise BadInput(path, "holds values that are not numbers (NaN or infinite)", "export the image again")
