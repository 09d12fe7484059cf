"""Figures of the study: resolutions with their intervals, and ResLog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from scherzer.report.columns import A
from scherzer.report.experiments import Estimate
from scherzer.report.style import CLASS_MARKERS, FULL_INCH, INK, MUTED, class_colour, class_in, panels, style, svg_uri
from scherzer.report.words import bounds_of, number_of

Record = Mapping[str, Any]


def draw_estimates(estimates: Sequence[Estimate]) -> str:
    """Return resolution by experiment and group: value, interval as a bar, each draw as a tick; finer is right."""
    with style():
        rows = _rows(estimates)
        figure, (axes,) = panels(1, FULL_INCH, 0.7 + 0.21 * (rows[-1] + 1))
        for row, estimate in zip(rows, estimates, strict=True):
            value, bounds = number_of(estimate.entry), bounds_of(estimate.entry)
            label = class_in(estimate.label)
            colour = class_colour(label) if label else INK
            axes.plot(
                estimate.draws_A, np.full(len(estimate.draws_A), row), "|", color=colour, ms=7, mew=0.8, alpha=0.55
            )
            if bounds is not None:
                axes.plot(bounds, [row, row], color=colour, lw=1.6, solid_capstyle="butt")
            if value is not None:
                axes.plot(
                    [value], [row], CLASS_MARKERS.get(label or "", "D"), color=colour, mec="white", mew=0.6, ms=5.5
                )
        axes.set_yticks(rows, [f"{e.experiment}   {e.label}" for e in estimates])
        axes.set_ylim(rows[-1] + 0.8, -0.8)
        axes.tick_params(axis="y", length=0)
        axes.invert_xaxis()
        axes.set_xlabel(f"resolution at FSC 0.143, {A} (finer to the right)")
        axes.grid(axis="x", color="#e8e8e8", lw=0.6)
        axes.set_axisbelow(True)
        return svg_uri(figure)


@dataclass(frozen=True)
class ResLogPoint:
    """One refinement of the ladder: particles, 1/d2 in 1/A2, and whether the fit used it."""

    particles: float
    inverse_square: float
    used: bool


@dataclass(frozen=True)
class ResLogPlot:
    """Points of the ladder, its line as values at the particles given, and the resolution that is wanted."""

    points: tuple[ResLogPoint, ...]
    line_particles: tuple[float, ...]
    line_inverse_square: tuple[float, ...]
    target_resolution_A: float | None


def draw_reslog(plot: ResLogPlot) -> str:
    """Return ResLog: 1/d2 against the logarithm of the particles, with the line continued to the target."""
    with style():
        figure, (axes,) = panels(1, FULL_INCH, 2.6)
        for used, fill, label in ((True, "#0072B2", "refined subsets"), (False, "white", "left out of the fit")):
            shown = [point for point in plot.points if point.used == used]
            if shown:
                x, y = [point.particles for point in shown], [point.inverse_square for point in shown]
                axes.plot(x, y, "o", mfc=fill, mec="#0072B2", mew=0.8, ms=5.5, label=label)
        _draw_line(axes, plot)
        if plot.target_resolution_A:
            axes.axhline(plot.target_resolution_A**-2, color=MUTED, lw=0.8, ls=(0, (1, 2)))
            axes.annotate(
                f"wanted: {plot.target_resolution_A:.1f} {A}",
                (0.0, plot.target_resolution_A**-2),
                xycoords=("axes fraction", "data"),
                xytext=(4, 2),
                textcoords="offset points",
                fontsize=7,
                color=MUTED,
            )
        axes.set_xscale("log")
        axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
        _number_ticks(axes)
        axes.set_xlabel("particles")
        axes.set_ylabel(f"1/d², 1/{A}²")
        _resolution_ticks(axes)
        axes.legend(loc="best")
        return svg_uri(figure)


def _draw_line(axes: Axes, plot: ResLogPlot) -> None:
    if not plot.line_particles:
        return
    x, y = np.array(plot.line_particles), np.array(plot.line_inverse_square)
    last = max(point.particles for point in plot.points if point.used)
    axes.plot(x[x <= last], y[x <= last], color=INK, lw=1.4, label="fit")
    if x[-1] > last:
        axes.plot(x[x >= last], y[x >= last], color=INK, lw=1.1, ls=(0, (4, 2)), label="continued")


def _resolution_ticks(axes: Axes) -> None:
    """Write d beside 1/d2, as many values as there is room for."""
    low, high = axes.get_ylim()
    ticks: list[float] = []
    for step in (5.0, 2.0, 1.0, 0.5, 0.2, 0.1):
        ticks = []
        for resolution in np.round(np.arange(30.0, 1.0, -step), 1):
            at = float(resolution) ** -2
            if low <= at <= high and (not ticks or at - ticks[-1] ** -2 > 0.1 * (high - low)):
                ticks.append(float(resolution))
        if len(ticks) >= 4:
            break
    other = axes.secondary_yaxis("right")
    other.set_yticks([tick**-2 for tick in ticks], [f"{tick:g}" for tick in ticks])
    other.set_ylabel(f"d, {A}")


def _rows(estimates: Sequence[Estimate]) -> list[float]:
    """Heights of the rows, with a gap between experiments."""
    heights, at = [], 0.0
    for position, estimate in enumerate(estimates):
        at += 0.0 if position == 0 else (1.0 if estimate.experiment == estimates[position - 1].experiment else 1.7)
        heights.append(at)
    return heights


def _number_ticks(axes: Axes) -> None:
    """Write particle counts out instead of as powers of ten."""
    low, high = axes.get_xlim()
    ticks = [m * 10**p for p in range(7) for m in (1, 2, 5) if low <= m * 10**p <= high]
    axes.set_xticks(ticks, [f"{tick:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") for tick in ticks])
    axes.minorticks_off()
