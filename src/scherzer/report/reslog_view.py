"""The ResLog ladder of ``results.json`` as points, line and facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scherzer.report.columns import A
from scherzer.report.figures_study import ResLogPlot, ResLogPoint
from scherzer.report.tables import Missing
from scherzer.report.words import bounds_of, number_of, quantity

Record = Mapping[str, Any]


@dataclass(frozen=True)
class ResLogView:
    """What the figure needs and what stands beneath it."""

    plot: ResLogPlot
    facts: tuple[tuple[str, str], ...]


def reslog_plot(results: Record) -> ResLogView | Missing:
    """Return the ladder, or why it cannot be shown."""
    reslog = find_reslog(results)
    if reslog is None:
        return Missing("results.json holds no ResLog ladder")
    dropped = [str(text) for text in reslog.get("dropped") or []]
    points = [point for point in (_point(entry, dropped) for entry in reslog.get("points") or []) if point is not None]
    if not points:
        return Missing(str(reslog.get("reason") or "no refinement of the ladder found a resolution"))
    used = [point.particles for point in points if point.used]
    slope, intercept = number_of(reslog.get("slope_per_A2")), number_of(reslog.get("intercept_per_A2"))
    target_A = number_of(reslog.get("target_resolution_A"))
    line: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    if slope is not None and intercept is not None and used:
        # A slope whose interval holds zero is drawn where it was measured and not followed any further.
        bounds = bounds_of(reslog.get("slope_per_A2"))
        rises = bounds is None or bounds[0] > 0
        furthest = _furthest(max(used), slope, intercept, target_A) if rises else max(used)
        at = np.unique(np.concatenate([np.geomspace(min(used), furthest, 40), [max(used)]]))
        line = tuple(at.tolist()), tuple((intercept + slope * np.log(at)).tolist())
    facts = [("B-factor of the ladder", quantity(reslog.get("bfactor_A2"), f"{A}²", _why(reslog)))]
    if "micrographs_needed" in reslog:
        wanted = f"micrographs needed for {target_A:.1f} {A}" if target_A else "micrographs needed"
        facts.append((wanted, quantity(reslog["micrographs_needed"], "", _why(reslog), 0)))
    facts += [("left out of the fit", text) for text in dropped]
    return ResLogView(ResLogPlot(tuple(points), *line, target_A), tuple(facts))


def find_reslog(results: Record) -> Record | None:
    """Return the ladder from where it stands: ``reslog`` at the top, among the experiments or inside one of them."""
    experiments = results.get("experiments") or {}
    places = [results, experiments, *(entry for entry in experiments.values() if isinstance(entry, Mapping))]
    for place in places:
        for key in ("reslog", "ResLog"):
            if isinstance(place.get(key), Mapping):
                return dict(place[key])
    return None


def _point(entry: object, dropped: list[str]) -> ResLogPoint | None:
    if not isinstance(entry, Mapping):
        return None
    particles, resolution_A = number_of(entry.get("particles")), number_of(entry.get("resolution_fsc143_A"))
    if not particles or not resolution_A:
        return None
    rung = str(entry.get("rung", ""))
    return ResLogPoint(particles, resolution_A**-2, not any(text.startswith(f"{rung}:") for text in dropped))


def _furthest(particles: float, slope: float, intercept: float, target_A: float | None) -> float:
    """How far the line is continued: to the target, but not beyond a hundred times the particles at hand."""
    if target_A is None or slope <= 0:
        return particles
    wanted = float(np.exp(min((target_A**-2 - intercept) / slope, 60.0)))
    return min(max(wanted * 1.3, particles), 100 * particles)


def _why(reslog: Record) -> str | None:
    reason = reslog.get("reason") or reslog.get("bfactor_A2_reason")
    return str(reason) if reason else None
