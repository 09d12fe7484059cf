"""How far the stated confidence of the contrast classifier and of its rival can be trusted."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import binomtest

from scherzer.report.style import FULL_INCH, GRID, INK, MUTED, panels, style

TITLES = {"network": "network", "measurements": "physical measurements"}
COLOURS = {"network": "#0072B2", "measurements": "#D55E00"}


def draw_reliability(evaluation: Mapping[str, Any]) -> bytes:
    """Return a PNG: for each method the share of right micrographs over stated confidence, with 95 % Wilson intervals.

    Parameters
    ----------
    evaluation : mapping
        From :func:`scherzer.micrographs.contrast.evaluation.evaluate`.
    """
    with style():
        figure, axes = panels(2, FULL_INCH, 3.0)
        for place, method in zip(axes, TITLES, strict=True):
            bins = evaluation[method]["reliability"]
            confidence, right, count = (
                np.array([entry[key] for entry in bins]) for key in ("confidence", "right", "micrographs")
            )
            bounds = [
                binomtest(round(share * n), n).proportion_ci(0.95, "wilson")
                for share, n in zip(right, count, strict=True)
            ]
            low, high = (np.array([getattr(bound, side) for bound in bounds]) for side in ("low", "high"))
            spread = np.clip([right - low, high - right], 0, None)
            place.plot([1 / 3, 1], [1 / 3, 1], color=MUTED, lw=0.8, ls=(0, (3, 2)))
            place.errorbar(confidence, right, spread, color=COLOURS[method], marker="o", ms=4, lw=1.2, elinewidth=0.8)
            for x, y, n in zip(confidence, right, count, strict=True):
                place.annotate(
                    str(n), (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6, color=INK, clip_on=False
                )
            error = evaluation[method]["calibration_error"]["value"]
            place.set_title(f"{TITLES[method]}: calibration error {error:.3f}")
            place.set(xlim=(0.3, 1.02), ylim=(0, 1.04), xlabel="stated confidence", ylabel="share right")
            place.grid(color=GRID, lw=0.6)
            place.set_axisbelow(True)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=200, metadata={"Software": None})
        return picture.getvalue()
