"""CTF fits: spectrum beside fit, profile, defocus histogram, fit resolution against defocus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_mrc
from scherzer.report.columns import UM, A
from scherzer.report.data import Micrograph
from scherzer.report.figures_defocus import mark_class
from scherzer.report.images import grey, grey_by_range, shrink
from scherzer.report.style import FULL_INCH, HALF_INCH, INK, class_colour, panels, png_uri, style, svg_uri
from scherzer.report.tables import Missing, numbers, read_blocks

SPECTRUM_PX = 256
FREQUENCY = "sczFrequencyPerA"
DATA = "sczCtfData"
MODEL = "sczCtfModel"
AGREEMENT = "sczCtfAgreement"


@dataclass(frozen=True)
class Profile:
    """The averaged spectrum of one micrograph: frequency (1/A), data, fitted rings, their agreement."""

    frequency_per_A: NDArray[np.float64]
    data: NDArray[np.float64]
    model: NDArray[np.float64]
    agreement: NDArray[np.float64] | None


def read_profile(path: Path | None) -> Profile | Missing:
    """Read a CTF profile: a STAR table with sczFrequencyPerA, sczCtfData, sczCtfModel, sczCtfAgreement."""
    if path is None:
        return Missing("the CTF stage kept no profile")
    blocks = read_blocks(path)
    if isinstance(blocks, Missing):
        return blocks
    for frame in blocks.values():
        frequency, data, model = (numbers(frame, (name,)) for name in (FREQUENCY, DATA, MODEL))
        if frequency is not None and data is not None and model is not None:
            return Profile(frequency, data, model, numbers(frame, (AGREEMENT,)))
    return Missing(f"{path.name} has no columns {FREQUENCY}, {DATA} and {MODEL}")


def spectrum_picture(path: Path | None) -> str | Missing:
    """Return the picture that the CTF stage made of spectrum and fit."""
    if path is None:
        return Missing("the CTF stage kept no picture")
    try:
        image = read_mrc(path).data
    except BadInput as error:
        return Missing(error.problem)
    small, _ = shrink(image.reshape(image.shape[-2:]), 2 * SPECTRUM_PX)
    within = float(small.min()) >= -0.001 and float(small.max()) <= 1.001
    return png_uri(grey(small, 0.0, 1.0, 64) if within else grey_by_range(small))


def draw_profile(profile: Profile, fit_resolution_A: float | None, label: str | None) -> str:
    """Return the profile: data and fitted rings over frequency, agreement below, fit resolution marked."""
    with style():
        figure, (axes,) = panels(1, HALF_INCH, 1.75)
        k = profile.frequency_per_A
        finite = np.isfinite(profile.data) & np.isfinite(profile.model)
        axes.plot(k[finite], profile.data[finite], color="#888888", lw=0.9, label="data")
        axes.plot(k[finite], profile.model[finite], color=class_colour(label), lw=1.2, label="fit")
        low, high = np.quantile(np.concatenate([profile.data[finite], profile.model[finite]]), (0.01, 0.99))
        axes.set_ylim(low - 0.15 * (high - low), high + 0.35 * (high - low))
        if fit_resolution_A and k[0] <= 1 / fit_resolution_A <= k[-1]:
            axes.axvline(1 / fit_resolution_A, color=INK, lw=0.8, ls=(0, (3, 2)))
            axes.annotate(
                f"{fit_resolution_A:.1f} {A}",
                (1 / fit_resolution_A, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-3, -2),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=7,
            )
        axes.set_xlim(0, k[-1])
        axes.set_xlabel(f"spatial frequency, 1/{A}")
        axes.set_ylabel("rings (a.u.)")
        axes.set_yticks([])
        axes.legend(
            loc="upper right" if not fit_resolution_A or 1 / fit_resolution_A < 0.6 * k[-1] else "upper left", ncols=2
        )
        return svg_uri(figure)


def draw_overview(micrographs: Sequence[Micrograph], labels: Sequence[str | None]) -> str:
    """Return the defocus histogram (stacked by class) and the fit resolution against defocus."""
    with style():
        figure, (left, right) = panels(2, FULL_INCH, 2.3)
        fitted = [m for m in micrographs if m.defocus_um is not None]
        every = np.array([m.defocus_um for m in fitted], dtype=np.float64)
        edges = _edges(every)
        by_label = [(label, [m for m in fitted if m.contrast == label]) for label in labels]
        present = [(label, group) for label, group in by_label if group]
        left.hist(
            [[m.defocus_um or 0.0 for m in group] for _, group in present],
            bins=list(edges),
            stacked=True,
            color=[class_colour(label) for label, _ in present],
            edgecolor="white",
            linewidth=0.6,
            label=[label or "not classed" for label, _ in present],
        )
        left.set_xlabel(f"underfocus, {UM}")
        left.set_ylabel("micrographs")
        left.yaxis.set_major_locator(MaxNLocator(integer=True))
        for label, group in present:
            points = [(m.defocus_um, m.record.get("ctf_fit_resolution_A")) for m in group]
            seen = [(x, float(y)) for x, y in points if x is not None and isinstance(y, int | float)]
            mark_class(right, [x for x, _ in seen], [y for _, y in seen], label)
        right.set_xlabel(f"underfocus, {UM}")
        right.set_ylabel(f"CTF fit resolution, {A}")
        right.invert_yaxis()
        right.grid(color="#e8e8e8", lw=0.6)
        right.set_axisbelow(True)
        if present:
            right.legend(loc="lower right")
        return svg_uri(figure)


def representatives(micrographs: Sequence[Micrograph], count: int) -> list[Micrograph]:
    """Return accepted micrographs with a fit, spread over the defocus from the smallest to the largest."""
    fitted = sorted(
        (
            m
            for m in micrographs
            if m.state == "accepted" and m.defocus_um is not None and (m.ctf_image or m.ctf_profile)
        ),
        key=lambda m: (m.defocus_um or 0.0, m.name),
    )
    if len(fitted) <= count:
        return fitted
    return [fitted[i] for i in np.unique(np.round(np.linspace(0, len(fitted) - 1, count)).astype(int))]


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bins at round values, some twelve of them."""
    low, high = float(values.min()), float(values.max())
    step = next(s for s in (0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0) if (high - low) / s <= 14 or s == 5.0)
    return np.arange(np.floor(low / step), np.ceil(high / step) + 1.5) * step
