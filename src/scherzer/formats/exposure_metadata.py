"""What acquisition programs write beside an exposure, in one form and one set of units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from scherzer.formats.errors import BadInput

# EPU writes 20 to 100 kB a file and SerialEM a few kB a frame set; anything larger is something else.
MAX_BYTES = 8 * 2**20
# Beyond these a number was read from the wrong place.
MAX_WIDTH_PX = 2**17
MAX_FRAMES = 10**6
MAX_DOSE_E_PER_A2 = 1000.0


@dataclass(frozen=True)
class ExposureMetadata:
    """What is known of one exposure besides its image; None is "not said".

    Attributes
    ----------
    source : str
        Who wrote it: "EPU XML" or "SerialEM mdoc".
    pixel_size_A : float or None
        Of an image ``image_width_px`` wide, which need not be the width of the frames on disk.
    image_width_px : int or None
        To which the pixel size belongs.
    voltage_kV : float or None
        Acceleration voltage.
    dose_e_per_A2 : float or None
        Exposure of the whole movie at the specimen.
    frame_count : int or None
        Number of frames that the program says it wrote.
    target_underfocus_A : float or None
        What was asked for; positive is underfocus.
    beam_shift : tuple of float or None
        x and y in the instrument's own units (EPU) or um of image shift (SerialEM); comparable within a session only.
    exposure_s : float or None
        Exposure time.
    tilt_deg : float or None
        Of the stage.
    """

    source: str
    pixel_size_A: float | None = None
    image_width_px: int | None = None
    voltage_kV: float | None = None
    dose_e_per_A2: float | None = None
    frame_count: int | None = None
    target_underfocus_A: float | None = None
    beam_shift: tuple[float, float] | None = None
    exposure_s: float | None = None
    tilt_deg: float | None = None

    def pixel_size_at(self, width_px: int) -> float | None:
        """Return the pixel size, A, of an image of the same field that is ``width_px`` wide.

        Super-resolution and binning change the width by a power of two; with any other ratio the image was cropped, and
        the pixel size stays.
        """
        if self.pixel_size_A is None or not self.image_width_px:
            return self.pixel_size_A
        steps = round(math.log2(self.image_width_px / width_px))
        # Some cameras cut a few lines in one of the modes.
        alike = abs(self.image_width_px / width_px / 2**steps - 1) < 0.02
        return self.pixel_size_A * 2.0**steps if alike and abs(steps) <= 3 else self.pixel_size_A


def read_small(path: Path) -> bytes:
    """Return the contents of a metadata file.

    Raises
    ------
    BadInput
        If it cannot be read, is empty or larger than such files are.
    """
    try:
        length = path.stat().st_size
        if length > MAX_BYTES:
            raise BadInput(path, f"is too large for metadata ({length} bytes)", "check what it is")
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(path, f"cannot be read ({error.strerror})", "check the file and its permissions") from None
    if not content.strip(b"\0 \t\r\n"):
        raise BadInput(path, "is empty", "copy it again from where it was recorded")
    return content


def number(text: object, low: float = -math.inf, high: float = math.inf) -> float | None:
    """Return a finite number from text where it is one and lies within limits, else None."""
    try:
        value = float(str(text).strip())
    except ValueError:
        return None
    return value if math.isfinite(value) and low <= value <= high else None


def whole(text: object, high: int) -> int | None:
    """Return a whole number from 1 up to a limit, else None."""
    value = number(text, 1, high)
    return None if value is None or value != round(value) else int(value)
