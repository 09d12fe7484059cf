"""One look for every figure: sizes that print at 1:1, a colour-blind safe palette, bytes that never change."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

# Text width of an A4 or letter page with 18 mm margins; the page shows figures 1.4 times as large on a screen.
FULL_INCH = 7.1
HALF_INCH = 3.45
SCREEN_SCALE = 1.36

INK = "#1a1a1a"
MUTED = "#6b6b6b"
GRID = "#dddddd"

# Okabe & Ito's blue and orange and Tol's purple: apart for every kind of colour vision, and in grey by lightness.
CLASS_COLOURS = {"good": "#0072B2", "moderate": "#E69F00", "bad": "#AA3377"}
CLASS_MARKERS = {"good": "o", "moderate": "s", "bad": "^"}
UNCLASSED = "#8a8a8a"
_CYCLE = ("#009E73", "#56B4E9", "#D55E00", "#666633", "#CC79A7", "#332288")
_ALL = "#333333"

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": True,
    "legend.edgecolor": "white",
    "legend.framealpha": 0.85,
    "legend.borderpad": 0.2,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.3,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "scherzer",
    "path.simplify": True,
}


@contextmanager
def style() -> Iterator[None]:
    """Set the look of figures made inside the block, whatever the user's own matplotlib settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def panels(columns: int, width_inch: float, height_inch: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with one row of axes; made without pyplot, so that nothing global is left behind."""
    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes[0])


def class_colour(label: str | None) -> str:
    """Return the colour of a contrast class."""
    return CLASS_COLOURS.get(label or "", UNCLASSED)


def class_in(name: str) -> str | None:
    """Return the contrast class that a subset's name stands for, if it is one class alone."""
    words = name.lower().replace(",", " ").split()
    found = [label for label in CLASS_COLOURS if label in words]
    return found[0] if len(found) == 1 and "+" not in words else None


def subset_colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for every subset: a class's own, dark grey for everything, others in order."""
    colours: dict[str, str] = {}
    spare = iter(_CYCLE * (1 + len(names) // len(_CYCLE)))
    for name in names:
        label = class_in(name)
        if label is not None:
            colours[name] = CLASS_COLOURS[label]
        elif name.lower().split()[:1] in (["all"], ["accepted"], ["pooled"]):
            colours[name] = _ALL
        else:
            colours[name] = next(spare)
    return colours


def rgb(colour: str) -> tuple[float, float, float]:
    """Return a #rrggbb colour as three numbers in 0 to 1."""
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]


def svg_uri(figure: Figure) -> str:
    """Return a figure as an SVG data URI with the same bytes on every run."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """Return an ``(h, w)`` grey or ``(h, w, 3)`` colour picture as a PNG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
