"""The header of an MRC file: what the numbers behind it are, and whether they can all be there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from numpy.typing import NDArray

from scherzer.formats.content import (
    COPY_AGAIN,
    MOST_EXPANSION,
    file_length,
    is_compressed,
    open_content,
    unpacked_pairs,
    wrong_ending,
)
from scherzer.formats.errors import BadInput

HEADER_BYTES = 1024
PACKED_MODE = 101
MODES: dict[int, np.dtype[Any]] = {
    0: np.dtype("i1"),
    1: np.dtype("i2"),
    2: np.dtype("f4"),
    6: np.dtype("u2"),
    12: np.dtype("f2"),
    PACKED_MODE: np.dtype("u1"),
}
LARGEST_SIDE = 2**20
IMOD_STAMP = 1146047817
IMOD_SIGNED_BYTES, IMOD_PACKED_BYTES = 1, 16
NOT_MRC = "give an MRC file (mode 0, 1, 2, 6, 12 or 101)"
MODE_NAMES = {3: "complex int16", 4: "complex float32", 16: "colour"}


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
        0 int8, 1 int16, 2 float32, 6 uint16, 12 float16, 101 4-bit numbers.
    """

    shape: tuple[int, int, int]
    pixel_size_A: float | None
    mode: int


@dataclass(frozen=True)
class MrcLayout:
    """Where the numbers of a file lie, checked against its length.

    Attributes
    ----------
    header : MrcHeader
        As for the reader.
    offset : int
        Where the numbers begin, in bytes.
    dtype : numpy.dtype
        As stored, with its byte order.
    axes : tuple of int
        ``mapc, mapr, maps``: the axis along columns, rows and sections, 1 to 3 for x to z.
    packed : bool
        Two numbers a byte, the first in the lower half, each row in whole bytes (as IMOD).
    """

    header: MrcHeader
    offset: int
    dtype: np.dtype[Any]
    axes: tuple[int, int, int]
    packed: bool

    @property
    def section_bytes(self) -> int:
        """Stored bytes of one section."""
        _, height, width = self.header.shape
        return height * ((width + 1) // 2) if self.packed else height * width * self.dtype.itemsize

    def section(self, content: bytes | bytearray) -> NDArray[Any]:
        """Return the numbers of one section, ``(h, w)``, in their stored type; not a copy where none is needed."""
        _, height, width = self.header.shape
        if not self.packed:
            return np.frombuffer(content, self.dtype).reshape(height, width)
        return unpacked_pairs(np.frombuffer(content, np.uint8).reshape(height, -1))[:, :width]


def read_layout(path: Path) -> MrcLayout:
    """Parse the header and hold it against the length of the file, before anything is allocated.

    Raises
    ------
    BadInput
        If the file is missing, is not MRC, has a mode that is not read here, or is shorter than its header says.
    """
    length = file_length(path)
    with open_content(path) as content:
        raw = content.read(HEADER_BYTES)
    if not is_compressed(path) and (error := wrong_ending(path, "MRC")):
        raise error
    if len(raw) < HEADER_BYTES:
        raise BadInput(path, "is not an MRC file (shorter than an MRC header)", NOT_MRC)
    layout = _parsed(_plausible_header(path, raw), raw)
    needed = layout.offset + layout.header.shape[0] * layout.section_bytes
    # How long compressed data are is known only when they are read; that ends, too, where they end.
    if needed > (MOST_EXPANSION * length if is_compressed(path) else length):
        raise truncated(path, layout)
    return layout


def truncated(path: Path, layout: MrcLayout) -> BadInput:
    """Return the error of a file that is shorter than its header says."""
    needed = layout.offset + layout.header.shape[0] * layout.section_bytes
    return BadInput(path, f"is truncated ({file_length(path)} bytes, its header asks for {needed})", COPY_AGAIN)


def _plausible_header(path: Path, raw: bytes) -> Any:
    """Return the header in the byte order in which it makes sense.

    The machine stamp and the word MAP are often missing from old or home-made files, so the numbers decide.
    """
    modes: list[int] = []
    for order in "<>":
        header = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order))[0]
        sizes = [int(header[name]) for name in ("nx", "ny", "nz")]
        sensible = all(0 < size < LARGEST_SIDE for size in sizes) and 0 <= int(header["nsymbt"]) < 2**31
        if sensible and int(header["mode"]) in MODES:
            return header
        if sensible and 0 <= int(header["mode"]) < 256:
            modes.append(int(header["mode"]))
    if modes:
        name = f" ({MODE_NAMES[modes[0]]})" if modes[0] in MODE_NAMES else ""
        raise BadInput(path, f"has MRC mode {modes[0]}{name}, which is not read here", "convert it to mode 1, 2 or 12")
    raise BadInput(path, "is not an MRC file (its header makes no sense)", NOT_MRC)


def _parsed(header: Any, raw: bytes) -> MrcLayout:
    mode = int(header["mode"])
    sections, height, width = (int(header[name]) for name in ("nz", "ny", "nx"))
    dtype = MODES[mode].newbyteorder(header.dtype["mode"].byteorder)
    packed = mode == PACKED_MODE
    imod_stamp, imod_flags = np.frombuffer(raw, header.dtype["mode"], 2, 152)
    if mode == 0 and imod_stamp == IMOD_STAMP:
        # IMOD's bytes are unsigned unless it says otherwise, and may be pairs of 4-bit numbers, which nx counts.
        if imod_flags & IMOD_PACKED_BYTES:
            packed, width = True, 2 * width
        elif not imod_flags & IMOD_SIGNED_BYTES:
            dtype = np.dtype("u1")
    axes = (int(header["mapc"]), int(header["mapr"]), int(header["maps"]))
    if sorted(axes) != [1, 2, 3]:
        axes = (1, 2, 3)  # old headers leave them zero
    offset = HEADER_BYTES + int(header["nsymbt"])
    return MrcLayout(MrcHeader((sections, height, width), _pixel_size(header), mode), offset, dtype, axes, packed)


def _pixel_size(header: Any) -> float | None:
    """Return the pixel size along x; new files of several programs hold 0."""
    if int(header["mx"]) <= 0:
        return None
    pixel_size_A = float(header["cella"]["x"]) / int(header["mx"])
    return round(pixel_size_A, 6) if np.isfinite(pixel_size_A) and 0 < pixel_size_A < 1e4 else None
