"""The gallery of micrographs, with the picks as circles of the particle's diameter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scherzer.formats.errors import BadInput
from scherzer.formats.movies import open_exposure
from scherzer.formats.mrc import read_mrc
from scherzer.report.data import Micrograph
from scherzer.report.images import grey_by_sd, shrink
from scherzer.report.style import png_uri
from scherzer.report.tables import Missing

PICTURE_PX = 400
GREY_LEVELS = 48
_NICE_BARS_NM = (5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True)
class Circle:
    """One pick in pixels of the picture."""

    x: float
    y: float
    kept: bool


@dataclass(frozen=True)
class MicrographPicture:
    """A shrunken micrograph and what is drawn over it, all in pixels of the picture."""

    uri: str
    width: int
    height: int
    radius: float
    circles: tuple[Circle, ...]
    bar_px: float
    bar_nm: int


def choose_examples(micrographs: Sequence[Micrograph], per_class: int, rejected: int) -> list[Micrograph]:
    """Return a few micrographs of every class, spread over its defocus, then rejected ones of different reasons."""
    chosen: list[Micrograph] = []
    for label in ("good", "moderate", "bad", None):
        members = [m for m in micrographs if m.state == "accepted" and m.contrast == label and m.image]
        members.sort(key=lambda m: (m.defocus_um or 0.0, m.name))
        if members:
            places = np.linspace(0, len(members) - 1, min(per_class, len(members)))
            chosen += [members[i] for i in np.unique(np.round(places).astype(int))]
    turned_down = [m for m in micrographs if m.state != "accepted" and m.image]
    first_of_reason: dict[str, Micrograph] = {}
    for micrograph in turned_down:
        first_of_reason.setdefault(kind_of_reason(str(micrograph.record.get("reason") or "")), micrograph)
    firsts = list(first_of_reason.values())
    others = [m for m in turned_down if m not in firsts]
    return chosen + (firsts + others)[:rejected]


def kind_of_reason(reason: str) -> str:
    """Return what kind of reason a sentence gives: what stands before its colon or its first number."""
    kind = re.split(r":|;|\s[(<>]?[\d.+-]*\d", reason, maxsplit=1)[0].strip(" ,(")
    return kind or "no reason recorded"


def picture(
    micrograph: Micrograph,
    picks: pd.DataFrame | None,
    kept: pd.DataFrame | None,
    diameter_A: float | None,
    pixel_size_A: float | None,
) -> MicrographPicture | Missing:
    """Return the picture of a micrograph with its picks."""
    if micrograph.image is None:
        return Missing("its image is not where the table says")
    try:
        image, header_pixel_A = _read(micrograph.image)
    except BadInput as error:
        return Missing(error.problem)
    pixel_A = pixel_size_A or header_pixel_A
    small, factor = shrink(image, PICTURE_PX)
    height, width = small.shape
    radius = diameter_A / 2 / pixel_A / factor if diameter_A and pixel_A else 0.02 * width
    bar_nm = max((b for b in _NICE_BARS_NM if pixel_A and 10 * b / pixel_A / factor < width / 3), default=0)
    return MicrographPicture(
        uri=png_uri(grey_by_sd(small, 3.0, GREY_LEVELS)),
        width=width,
        height=height,
        radius=radius,
        circles=_circles(micrograph, picks, kept, factor),
        bar_px=10 * bar_nm / pixel_A / factor if pixel_A else 0.0,
        bar_nm=bar_nm,
    )


def _read(path: Path) -> tuple[NDArray[np.float32], float | None]:
    if path.suffix == ".mrc":
        image = read_mrc(path)
        data, pixel_A = image.data, image.pixel_size_A
    else:
        movie = open_exposure(path)
        data, pixel_A = movie.read(), movie.pixel_size_A
    return (data if data.ndim == 2 else data.sum(axis=0)), pixel_A


def _circles(
    micrograph: Micrograph, picks: pd.DataFrame | None, kept: pd.DataFrame | None, factor: float
) -> tuple[Circle, ...]:
    own, used = _positions(micrograph, picks), _positions(micrograph, kept)
    known = {(round(float(x)), round(float(y))) for x, y in used}
    # Without a 2D classification, no pick has been turned down yet.
    return tuple(
        Circle(x / factor, y / factor, kept is None or (round(float(x)), round(float(y))) in known) for x, y in own
    )


def _positions(micrograph: Micrograph, table: pd.DataFrame | None) -> NDArray[np.float64]:
    if table is None or "rlnMicrographName" not in table:
        return np.zeros((0, 2))
    mine = table["rlnMicrographName"].astype(str) == micrograph.table_name
    return np.asarray(table.loc[mine, ["rlnCoordinateX", "rlnCoordinateY"]], dtype=np.float64)
