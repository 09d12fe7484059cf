"""E1, the paper's Fig. 1c: the underfocus of every micrograph, by contrast class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from scherzer.report.columns import UM
from scherzer.report.data import Micrograph
from scherzer.report.style import CLASS_MARKERS, FULL_INCH, MUTED, class_colour, panels, style, svg_uri

CLASSES = ("good", "moderate", "bad")


@dataclass(frozen=True)
class ClassDefocus:
    """Underfocus of one contrast class in micrometres: every micrograph's, in no order."""

    label: str
    underfocus_um: NDArray[np.float64]

    def summary(self) -> dict[str, object]:
        """Return count, median and range as one row of a table."""
        values = self.underfocus_um
        if not len(values):
            return {"contrast class": self.label, "micrographs": 0, "reason": "no micrograph"}
        return {
            "contrast class": self.label,
            "micrographs": len(values),
            "underfocus_median_um": float(np.median(values)),
            "smallest_um": float(values.min()),
            "largest_um": float(values.max()),
        }


def defocus_by_class(micrographs: Sequence[Micrograph]) -> list[ClassDefocus]:
    """Return the underfocus of the accepted micrographs by contrast class, best first; unclassed ones last."""
    accepted = [m for m in micrographs if m.state == "accepted" and m.defocus_um is not None]
    labels = [*CLASSES, *sorted({m.contrast for m in accepted if m.contrast and m.contrast not in CLASSES})]
    groups = [ClassDefocus(label, _values(accepted, label)) for label in labels]
    unclassed = _values(accepted, None)
    if len(unclassed):
        groups.append(ClassDefocus("not classed", unclassed))
    return [group for group in groups if len(group.underfocus_um) or group.label in CLASSES]


def draw_defocus(groups: Sequence[ClassDefocus], recommended_um: tuple[float, float] | None) -> str:
    """Return the figure: one row per class, one mark per micrograph, box of the quartiles, recommended range shaded."""
    with style():
        figure, (axes,) = panels(1, FULL_INCH, 0.75 + 0.52 * len(groups))
        if recommended_um is not None:
            axes.axvspan(*recommended_um, color="#009E73", alpha=0.13, lw=0)
            axes.text(
                sum(recommended_um) / 2, -0.62, "recommended", ha="center", va="bottom", color="#00694d", fontsize=7
            )
        for row, group in enumerate(groups):
            _draw_class(axes, row, group)
        axes.set_yticks(range(len(groups)), [f"{group.label}\nn = {len(group.underfocus_um)}" for group in groups])
        axes.set_ylim(len(groups) - 0.5, -0.65)
        axes.set_xlabel(f"underfocus, {UM}")
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.04)
        axes.grid(axis="x", color="#e8e8e8", lw=0.6)
        axes.set_axisbelow(True)
        return svg_uri(figure)


def _draw_class(axes: Axes, row: int, group: ClassDefocus) -> None:
    values = np.sort(group.underfocus_um)
    if not len(values):
        return
    colour = class_colour(group.label)
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    axes.plot([values[0], values[-1]], [row, row], color=colour, lw=1.0, alpha=0.6)
    if len(values) >= 4:
        axes.barh(row, high - low, left=low, height=0.46, color=colour, alpha=0.18, lw=0)
    axes.plot([median, median], [row - 0.27, row + 0.27], color=colour, lw=2.0)
    marker = CLASS_MARKERS.get(group.label, "D")
    axes.plot(
        values, row + _spread(values), marker, ms=4.2, mfc=colour, mec="white", mew=0.5, ls="none", label=group.label
    )


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heights that keep marks at nearly the same value apart: zero, up, down, up further, without chance."""
    offsets = np.zeros(len(values))
    near = 0.012 * max(float(np.ptp(values)), 0.5)
    for i in range(1, len(values)):
        crowd = int(np.sum(values[i] - values[:i] < near))
        offsets[i] = (0.09 * ((crowd + 1) // 2)) * (-1 if crowd % 2 else 1)
    return np.clip(offsets, -0.36, 0.36)


def _values(micrographs: Sequence[Micrograph], label: str | None) -> NDArray[np.float64]:
    return np.array([m.defocus_um for m in micrographs if m.contrast == label], dtype=np.float64)


def mark_class(axes: Axes, xs: Sequence[float], ys: Sequence[float], label: str | None) -> None:
    """Draw the micrographs of one class in a scatter plot, with the class's colour and mark."""
    axes.plot(
        xs,
        ys,
        CLASS_MARKERS.get(label or "", "D"),
        ms=4,
        mfc=class_colour(label),
        mec="white",
        mew=0.5,
        ls="none",
        label=label or "not classed",
        color=MUTED,
    )
