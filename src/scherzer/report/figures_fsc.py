"""Fourier shell correlation and Guinier plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from scherzer.report.columns import A
from scherzer.report.style import FULL_INCH, HALF_INCH, INK, MUTED, panels, style, svg_uri
from scherzer.report.tables import Missing, block_with, numbers, read_blocks

Curve = NDArray[np.float64]

# RELION's postprocess labels; the model's curve has none there.
FREQUENCY = "rlnResolution"
CURVES = {
    "corrected": "rlnFourierShellCorrelationCorrected",
    "unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
    "masked": "rlnFourierShellCorrelationMaskedMaps",
    "randomised": "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
    "model": "sczFourierShellCorrelationModelMap",
}
_LOOK = {
    "unmasked": {"color": "#777777", "lw": 1.0, "ls": "-", "label": "unmasked"},
    "masked": {"color": "#56B4E9", "lw": 1.0, "ls": "--", "label": "masked"},
    "randomised": {"color": "#D55E00", "lw": 1.0, "ls": ":", "label": "phases randomised"},
    "model": {"color": "#009E73", "lw": 1.2, "ls": "-.", "label": "map against model"},
    "corrected": {"lw": 1.8, "ls": "-", "label": "corrected"},
}


@dataclass(frozen=True)
class Guinier:
    """Logarithm of the amplitudes over squared frequency (1/A2), and which points the line was fitted to."""

    squared_per_A2: Curve
    log_amplitude: Curve
    sharpened: Curve | None
    in_fit: NDArray[np.bool_]
    slope_A2: float | None
    intercept: float | None


@dataclass(frozen=True)
class ResolutionCurves:
    """What ``fsc.star`` holds: frequency (1/A), the curves by name, and the Guinier plot or why there is none."""

    frequency_per_A: Curve
    curves: Mapping[str, Curve]
    guinier: Guinier | Missing


def read_curves(path: Path | None) -> ResolutionCurves | Missing:
    """Read ``fsc.star``: blocks laid out as RELION's ``postprocess.star``."""
    if path is None:
        return Missing("the refinement kept no fsc.star")
    blocks = read_blocks(path)
    if isinstance(blocks, Missing):
        return blocks
    frame = block_with(blocks, FREQUENCY)
    if frame is None:
        return Missing(f"{path.parent.name}/{path.name} has no column {FREQUENCY}")
    found = {name: numbers(frame, (label,)) for name, label in CURVES.items()}
    curves = {name: curve for name, curve in found.items() if curve is not None}
    if not curves:
        return Missing(f"{path.parent.name}/{path.name} holds no correlation curve")
    return ResolutionCurves(np.asarray(frame[FREQUENCY], dtype=np.float64), curves, _guinier(blocks))


def draw_fsc(curves: ResolutionCurves, colour: str, resolution_A: float | None) -> str:
    """Return the FSC of one map with every curve that there is."""
    with style():
        figure, (axes,) = panels(1, HALF_INCH, 2.35)
        for name, look in _LOOK.items():
            if name in curves.curves:
                axes.plot(curves.frequency_per_A, curves.curves[name], **({"color": colour} | look))  # type: ignore[arg-type]
        _resolution_axis(axes, curves.frequency_per_A)
        if resolution_A:
            axes.plot([1 / resolution_A], [0.143], "o", ms=4.5, mfc="white", mec=INK, mew=1.0, zorder=5)
            at_edge = 1 / resolution_A > 0.85 * curves.frequency_per_A[-1]
            axes.annotate(
                f"{resolution_A:.2f} {A}",
                (1 / resolution_A, 0.143),
                xytext=(-6, -10) if at_edge else (4, 5),
                ha="right" if at_edge else "left",
                textcoords="offset points",
                fontsize=7,
            )
        axes.legend(loc="best", handlelength=2.2, labelspacing=0.25)
        return svg_uri(figure)


def draw_fsc_together(entries: Sequence[tuple[str, ResolutionCurves]], colours: Mapping[str, str]) -> str:
    """Return the corrected FSC of every subset in one plot."""
    with style():
        figure, (axes,) = panels(1, FULL_INCH, 2.6)
        widest = max((entry.frequency_per_A for _, entry in entries), key=lambda k: float(k[-1]))
        dashes = ["-", (0, (5, 1.5)), (0, (2, 1.2)), "-."]
        drawn: list[str] = []
        for subset, entry in entries:
            curve = entry.curves.get("corrected")
            if curve is not None:
                # Subsets of one class share its colour; each further one gets the next dash.
                line = dashes[drawn.count(colours[subset]) % len(dashes)]
                drawn.append(colours[subset])
                axes.plot(entry.frequency_per_A, curve, color=colours[subset], ls=line, lw=1.6, label=subset)
        _resolution_axis(axes, widest)
        axes.set_ylabel("FSC, corrected")
        axes.legend(loc="best", ncols=1 + (len(entries) > 5), labelspacing=0.25)
        return svg_uri(figure)


FADED = 20.0  # ln |F| this far below the strongest shell is nothing


def draw_guinier(guinier: Guinier, colour: str, bfactor_text: str) -> str:
    """Return the Guinier plot with the window of the fit shaded and the fitted line through it."""
    with style():
        figure, (axes,) = panels(1, HALF_INCH, 2.35)
        x, y = guinier.squared_per_A2, guinier.log_amplitude
        axes.plot(x, y, color="#777777", lw=1.0, label="half-map average")
        if guinier.sharpened is not None:
            axes.plot(x, guinier.sharpened, color=colour, lw=1.0, ls="--", label="sharpened")
        if guinier.in_fit.any():
            inside = x[guinier.in_fit]
            axes.axvspan(float(inside[0]), float(inside[-1]), color=colour, alpha=0.12, lw=0, label="fit window")
            line = fitted_line(guinier)
            if line is not None:
                ends = np.array([inside[0], inside[-1]])
                axes.plot(ends, line[1] + line[0] * ends, color=INK, lw=1.6, label=f"fit, {bfactor_text}")
        axes.set_xlim(0, float(x[np.isfinite(y)][-1]))
        finite = y[np.isfinite(y) & (y > y[np.isfinite(y)].max() - FADED)]  # a shell of no FSC has no amplitude at all
        axes.set_ylim(float(finite.min()) - 0.08 * np.ptp(finite), float(finite.max()) + 0.12 * np.ptp(finite))
        axes.set_xlabel(f"1/d², 1/{A}²")
        axes.set_ylabel("ln |F|")
        axes.legend(loc="best", labelspacing=0.25)
        return svg_uri(figure)


def fitted_line(guinier: Guinier) -> tuple[float, float] | None:
    """Return slope (A2) and intercept: those of the refinement, or of a straight line through its window."""
    if guinier.slope_A2 is not None and guinier.intercept is not None:
        return guinier.slope_A2, guinier.intercept
    use = guinier.in_fit & np.isfinite(guinier.log_amplitude)
    if use.sum() < 2:
        return None
    slope, intercept = np.polyfit(guinier.squared_per_A2[use], guinier.log_amplitude[use], 1)
    return float(slope), float(intercept)


def _guinier(blocks: Mapping[str, pd.DataFrame]) -> Guinier | Missing:
    frame = block_with(blocks, "rlnResolutionSquared")
    if frame is None:
        return Missing("fsc.star has no Guinier block")
    y = numbers(frame, ("rlnLogAmplitudesWeighted", "rlnLogAmplitudesOriginal"))
    x = numbers(frame, ("rlnResolutionSquared",))
    if x is None or y is None or not np.isfinite(y).any():
        return Missing("fsc.star has no amplitudes in its Guinier block")
    inside = numbers(frame, ("sczInGuinierFit",))
    general = block_with(blocks, "rlnFittedSlopeGuinierPlot")
    slope, intercept = (
        (None, None)
        if general is None
        else (_first(general, "rlnFittedSlopeGuinierPlot"), _first(general, "rlnFittedInterceptGuinierPlot"))
    )
    in_fit = np.zeros(len(x), dtype=bool) if inside is None else inside > 0
    return Guinier(x, y, numbers(frame, ("rlnLogAmplitudesSharpened",)), in_fit, slope, intercept)


def _first(frame: pd.DataFrame, name: str) -> float | None:
    values = numbers(frame, (name,))
    return float(values[0]) if values is not None and np.isfinite(values[0]) else None


def _resolution_axis(axes: Axes, frequency_per_A: Curve) -> None:
    """Label the frequency axis in angstrom, and draw the two thresholds."""
    last = float(frequency_per_A[-1])
    candidates = np.array(
        [40, 20, 15, 12, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.5], dtype=np.float64
    )
    ticks: list[float] = []
    for resolution in candidates[candidates >= 0.999 / last]:
        if not ticks or 1 / resolution - 1 / ticks[-1] > 0.085 * last:
            ticks.append(float(resolution))
    axes.set_xticks([1 / r for r in ticks], [f"{r:g}" for r in ticks])
    axes.set_xlim(0, last)
    axes.set_ylim(-0.08, 1.03)
    axes.set_xlabel(f"resolution, {A}")
    axes.set_ylabel("FSC")
    for threshold, text in ((0.143, "0.143"), (0.5, "0.5")):
        axes.axhline(threshold, color=MUTED, lw=0.6, ls=(0, (4, 3)))
        axes.annotate(
            text,
            (1.0, threshold),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
            color=MUTED,
        )
    axes.axhline(0.0, color=MUTED, lw=0.5)
