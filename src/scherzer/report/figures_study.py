"""Figures of the study: resolutions with their intervals, and ResLog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
class ResLogPlot:
    """Points of the ladder and its line; 1/d2 in 1/A2, the line as value at the particles given."""

    particles: tuple[float, ...]
    inverse_square: tuple[float, ...]
    line_particles: tuple[float, ...]
    line_inverse_square: tuple[float, ...]
    target_resolution_A: float | None
    particles_needed: float | None


def draw_reslog(plot: ResLogPlot) -> str:
    """Return ResLog: 1/d2 against the logarithm of the particles, with the line continued to the target."""
    with style():
        figure, (axes,) = panels(1, FULL_INCH, 2.6)
        axes.plot(
            plot.particles,
            plot.inverse_square,
            "o",
            color="#0072B2",
            mec="white",
            mew=0.6,
            ms=5.5,
            label="refined subsets",
        )
        if plot.line_particles:
            x, y = np.array(plot.line_particles), np.array(plot.line_inverse_square)
            here = x <= max(plot.particles)
            axes.plot(x[here], y[here], color=INK, lw=1.4, label="fit")
            if not here.all():
                beyond = x >= max(plot.particles)
                axes.plot(x[beyond], y[beyond], color=INK, lw=1.1, ls=(0, (4, 2)), label="continued")
        if plot.target_resolution_A:
            axes.axhline(plot.target_resolution_A**-2, color=MUTED, lw=0.8, ls=(0, (1, 2)))
            axes.annotate(
                f"target {plot.target_resolution_A:.1f} {A}",
                (0.0, plot.target_resolution_A**-2),
                xycoords=("axes fraction", "data"),
                xytext=(4, 2),
                textcoords="offset points",
                fontsize=7,
                color=MUTED,
            )
        axes.set_xscale("log")
        _number_ticks(axes)
        axes.set_xlabel("particles")
        axes.set_ylabel(f"1/d², 1/{A}²")
        other = axes.secondary_yaxis("right")
        low, high = axes.get_ylim()
        nice = [
            r
            for r in (30, 20, 15, 12, 10, 9, 8, 7, 6, 5.5, 5, 4.5, 4, 3.7, 3.5, 3.2, 3, 2.8, 2.5, 2.2, 2)
            if low <= r**-2 <= high
        ]
        other.set_yticks([r**-2 for r in nice], [f"{r:g}" for r in nice])
        other.set_ylabel(f"d, {A}")
        axes.legend(loc="lower right")
        return svg_uri(figure)


def _rows(estimates: Sequence[Estimate]) -> list[float]:
    """Heights of the rows, with a gap between experiments."""
    heights, at = [], 0.0
    for position, estimate in enumerate(estimates):
        at += 0.0 if position == 0 else (1.0 if estimate.experiment == estimates[position - 1].experiment else 1.7)
        heights.append(at)
    return heights


def _number_ticks(axes: Any) -> None:
    """Write particle counts out instead of as powers of ten."""
    low, high = axes.get_xlim()
    ticks = [m * 10**p for p in range(7) for m in (1, 2, 5) if low <= m * 10**p <= high]
    axes.set_xticks(ticks, [f"{tick:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") for tick in ticks])
    axes.minorticks_off()
