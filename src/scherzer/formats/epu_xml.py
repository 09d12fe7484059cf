"""EPU's XML beside a movie."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

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

SOURCE = "EPU XML"
M_TO_A = 1e10
PER_M2_TO_PER_A2 = 1e-20


def read_epu_xml(path: Path) -> ExposureMetadata:
    """Read what EPU says of an exposure.

    EPU writes SI units: metres, volts, electrons per square metre. Names are matched without their namespaces, which
    change between versions.

    Raises
    ------
    BadInput
        If it cannot be read, is not XML, declares a document type (entities can be made to explode) or is not EPU's.
    """
    root = _parsed(path, read_small(path))
    if _name(root) != "MicroscopeImage":
        raise BadInput(path, f"is not EPU's description of an image (root element {_name(root)})", "check what it is")
    data = _child(root, "microscopeData")
    camera = _child(data, "acquisition", "camera")
    custom = dict(_pairs(_child(root, "CustomData")))
    voltage_V = number(_text(data, "gun", "AccelerationVoltage"), 1e3, 2e6)
    pixel_m = number(_text(root, "SpatialScale", "pixelSize", "x", "numericValue"), 1e-12, 1e-6)
    dose_per_m2 = number(_value(custom.get("Dose")), 1e16, MAX_DOSE_E_PER_A2 / PER_M2_TO_PER_A2)
    defocus_m = number(_value(custom.get("AppliedDefocus")), -1e-4, 1e-4)
    shift = _child(data, "optics", "BeamShift")
    x, y = number(_text(shift, "_x")), number(_text(shift, "_y"))
    # Stage angles are radians; a stage tilts by no more than 90 degrees.
    tilt_rad = number(_text(data, "stage", "Position", "A"), -1.6, 1.6)
    return ExposureMetadata(
        SOURCE,
        pixel_size_A=None if pixel_m is None else pixel_m * M_TO_A,
        image_width_px=whole(_text(camera, "ReadoutArea", "width"), MAX_WIDTH_PX),
        voltage_kV=None if voltage_V is None else voltage_V / 1e3,
        dose_e_per_A2=None if dose_per_m2 is None else dose_per_m2 * PER_M2_TO_PER_A2,
        frame_count=_frame_count(camera),
        # EPU has underfocus negative.
        target_underfocus_A=None if defocus_m is None else -defocus_m * M_TO_A,
        beam_shift=None if x is None or y is None else (x, y),
        exposure_s=number(_text(camera, "ExposureTime"), 0, 1e4),
        tilt_deg=None if tilt_rad is None else math.degrees(tilt_rad),
    )


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type before any entity of it is read; no acquisition program writes one."""

    def doctype(self, name: str, pubid: str, system: str) -> NoReturn:
        raise ValueError("it declares a document type, which EPU never does")


def _parsed(path: Path, content: bytes) -> ElementTree.Element:
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(content)
        root: ElementTree.Element = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError, UnicodeError) as error:
        problem = " ".join(str(error).split())[:120]
        raise BadInput(path, f"is not readable XML ({problem})", "copy it again from where it was recorded") from None
    return root


def _name(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _child(element: ElementTree.Element | None, *names: str) -> ElementTree.Element | None:
    """Follow a path of local names, the first of each."""
    for name in names:
        if element is None:
            return None
        element = next((child for child in element if _name(child) == name), None)
    return element


def _text(element: ElementTree.Element | None, *names: str) -> str:
    found = _child(element, *names)
    return "" if found is None else found.text or ""


def _value(element: ElementTree.Element | None) -> str:
    return "" if element is None else element.text or ""


def _pairs(element: ElementTree.Element | None) -> Iterator[tuple[str, ElementTree.Element]]:
    """Yield the key and the value of each entry of one of EPU's lists."""
    for entry in () if element is None else element:
        key, value = _text(entry, "Key"), _child(entry, "Value")
        if key and value is not None:
            yield key, value


def _frame_count(camera: ElementTree.Element | None) -> int | None:
    """Return the number of fractions: a number for Gatan cameras, a list of definitions for Falcons."""
    settings = dict(_pairs(_child(camera, "CameraSpecificInput"))).get("FractionationSettings")
    stated = whole(_text(settings, "NumberOffractions"), MAX_FRAMES)
    if stated is not None:
        return stated
    fractions = _child(settings, "DoseFractions")
    return len(fractions) if fractions is not None and len(fractions) else None
