"""The chain of directories of a TIFF, one a page, walked before the file is given to a library.

A damaged chain may run in a circle, on which libraries go round for hours, or stop early, and then a movie would pass
as a shorter one.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

MOST_PAGES = 2**17
# The words behind the byte order: format of the number of entries, bytes of an entry, format of an offset.
FORMS = {42: ("H", 12, "I"), 43: ("Q", 20, "Q")}
MOST_ENTRIES = 4096


def require_whole_directories(path: Path) -> None:
    """Go through all directories of a TIFF or BigTIFF.

    Raises
    ------
    ValueError
        If this is not a TIFF, or its chain of directories does not end as it should.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as handle:
        mark = handle.read(4)
        order = {b"II": "<", b"MM": ">"}.get(mark[:2])
        form = FORMS.get(struct.unpack(order + "H", mark[2:])[0]) if order and len(mark) == 4 else None
        if order is None or form is None:
            raise ValueError("no TIFF header")
        entries, entry_bytes, offsets = order + form[0], form[1], order + form[2]
        if offsets.endswith("Q"):
            handle.seek(8)
        _walk(handle, entries, entry_bytes, offsets)


def _walk(handle: BinaryIO, entries: str, entry_bytes: int, offsets: str) -> None:
    seen: set[int] = set()
    offset = _number(handle, offsets)
    while offset:
        if offset in seen:
            raise ValueError("its directories run in a circle")
        seen.add(offset)
        if len(seen) > MOST_PAGES:
            raise ValueError(f"more than {MOST_PAGES} pages")
        if offset >= 2**62:
            raise ValueError("truncated in its directories")
        handle.seek(offset)
        count = _number(handle, entries)
        if not 0 < count <= MOST_ENTRIES:
            raise ValueError(f"a directory of {count} entries")
        handle.seek(count * entry_bytes, 1)
        offset = _number(handle, offsets)


def _number(handle: BinaryIO, form: str) -> int:
    content = handle.read(struct.calcsize(form))
    if len(content) < struct.calcsize(form):
        raise ValueError("truncated in its directories")
    return int(struct.unpack(form, content)[0])
