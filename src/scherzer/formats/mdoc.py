"""SerialEM's mdoc beside a movie."""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath

from scherzer.formats.errors import BadInput
from scherzer.formats.exposure_metadata import (
    MAX_DOSE_E_PER_A2,
    MAX_FRAMES,
    MAX_WIDTH_PX,
    ExposureMetadata,
    number,
    read_small,
    whole,
)

SOURCE = "SerialEM mdoc"
UM_TO_A = 1e4
Section = dict[str, str]
# [ZValue = 3] and [FrameSet = 0] begin an exposure; [T = ...] is a title.
_HEADING = re.compile(r"\[\s*(\w+)\s*=\s*(.*?)\s*\]?")


def read_mdoc(path: Path, movie_name: str) -> ExposureMetadata:
    """Read what SerialEM says of a movie.

    Parameters
    ----------
    path : Path
        The mdoc, of one frame set or of many.
    movie_name : str
        File name of the movie: a section whose ``SubFramePath`` ends in it is the movie's own.

    Raises
    ------
    BadInput
        If it cannot be read, holds no ``key = value`` lines, or describes several movies but not this one.
    """
    shared, sections = _sections(read_small(path).decode("utf-8", errors="replace"))
    if not shared and not any(sections):
        raise BadInput(path, "is not a SerialEM mdoc (no 'key = value' lines)", "check what it is")
    entries = {**shared, **_own_section(path, sections, movie_name)}
    defocus_um = number(entries.get("TargetDefocus"), -100, 100)
    width = entries.get("ImageSize", "").split()
    shift = [number(text) for text in entries.get("ImageShift", "").split()[:2]]
    dose, frame_count = _dose(entries)
    return ExposureMetadata(
        SOURCE,
        pixel_size_A=number(entries.get("PixelSpacing"), 1e-2, 1e4),
        image_width_px=whole(width[0], MAX_WIDTH_PX) if width else None,
        voltage_kV=number(entries.get("Voltage"), 1, 2000),
        dose_e_per_A2=dose,
        frame_count=frame_count,
        # SerialEM has underfocus negative.
        target_underfocus_A=None if defocus_um is None else -defocus_um * UM_TO_A,
        beam_shift=(shift[0], shift[1]) if len(shift) == 2 and shift[0] is not None and shift[1] is not None else None,
        exposure_s=number(entries.get("ExposureTime"), 0, 1e4),
        tilt_deg=number(entries.get("TiltAngle"), -90, 90),
    )


def _sections(text: str) -> tuple[Section, list[Section]]:
    """Return the entries before the first exposure, and those of each."""
    shared: Section = {}
    sections: list[Section] = []
    current = shared
    for line in text.splitlines():
        line = line.strip().lstrip("\ufeff")
        heading = _HEADING.fullmatch(line) if line.startswith("[") else None
        if heading is not None:
            if heading[1] != "T":
                current = {}
                sections.append(current)
        elif "=" in line:
            key, _, value = line.partition("=")
            current[key.strip()] = value.strip()
    return shared, sections


def _own_section(path: Path, sections: list[Section], movie_name: str) -> Section:
    # Windows paths, and forward slashes where SerialEM talked to a camera's Linux.
    names = [PureWindowsPath(section.get("SubFramePath", "")).name.lower() for section in sections]
    own = [section for section, name in zip(sections, names, strict=True) if name == movie_name.lower()]
    if own:
        return own[-1]
    if len(sections) > 1:
        raise BadInput(path, f"describes {len(sections)} movies, none named {movie_name}", "check the names")
    return sections[0] if sections else {}


def _dose(entries: Section) -> tuple[float | None, int | None]:
    """Return the dose and the number of frames; ``FrameDosesAndNumber`` is "dose count [dose count ...]"."""
    pairs = entries.get("FrameDosesAndNumber", "").split()
    doses = [number(text, 0, MAX_DOSE_E_PER_A2) for text in pairs[::2]]
    counts = [whole(text, MAX_FRAMES) for text in pairs[1::2]]
    frame_count = whole(entries.get("NumSubFrames"), MAX_FRAMES)
    if counts and len(doses) == len(counts) and None not in doses and None not in counts:
        listed = sum(count or 0 for count in counts)
        dose = sum((dose or 0) * (count or 0) for dose, count in zip(doses, counts, strict=True))
        return (dose if 0 < dose <= MAX_DOSE_E_PER_A2 else None), frame_count or listed
    # SerialEM writes 0 where the dose was never calibrated.
    dose_e_per_A2 = number(entries.get("ExposureDose"), 1e-4, MAX_DOSE_E_PER_A2)
    return dose_e_per_A2, frame_count
