"""FSC curves in the XML form that EMDB takes with a map."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from scherzer.formats.atomic import atomic_path


def write_fsc_xml(path: Path, title: str, frequency_per_A: Iterable[float], correlation: Iterable[float]) -> None:
    """Write one curve atomically.

    Parameters
    ----------
    path : Path
        Target.
    title : str
        What the curve is.
    frequency_per_A, correlation : iterable of float
        ``(s,)`` each; points without a value are left out.

    References
    ----------
    EMDB's FSC schema, https://www.ebi.ac.uk/emdb/validation/fsc; the same as RELION's ``postprocess_fsc.xml``.
    """
    root = ElementTree.Element("fsc", title=title, xaxis="Resolution (A-1)", yaxis="Correlation Coefficient")
    for x, y in zip(frequency_per_A, correlation, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            point = ElementTree.SubElement(root, "coordinate")
            ElementTree.SubElement(point, "x").text = f"{x:.6f}"
            ElementTree.SubElement(point, "y").text = f"{y:.6f}"
    ElementTree.indent(root)
    with atomic_path(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="unicode")
