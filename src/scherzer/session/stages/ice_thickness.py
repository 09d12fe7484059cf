"""The columns of the ice's thickness, which only a whole session can fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from scherzer.formats.star import StarTable
from scherzer.micrographs.ice_thickness import Brightness, Thickness, ThicknessSettings, ice_thicknesses
from scherzer.physics.optics import Optics
from scherzer.session.stages.micrograph_stage import COMPARISON_COLUMNS

NEEDED = ("sczIceLevel", "sczNoisePerLevel", "sczCondition")
# RELION's label holds absolute numbers only.
LABELS = dict(zip(COMPARISON_COLUMNS, ("thickness_A", "error_A", "relative", "method"), strict=True))


def with_thickness(
    table: StarTable, optics: Mapping[int, Optics], dose_per_frame_e_per_A2: float | None, settings: ThicknessSettings
) -> StarTable:
    """Return a table of measured micrographs with the thickness of their ice.

    Parameters
    ----------
    table : StarTable
        Rows that were not measured are left empty.
    optics : mapping
        By optics group.
    dose_per_frame_e_per_A2 : float or None
        As stated; metadata of an exposure come first.
    settings : ThicknessSettings
        What is known of the losses.
    """
    rows = table.rows.copy()
    if any(name not in rows for name in NEEDED):
        return table
    measured = rows[rows["sczIceLevel"].notna() & (rows["sczState"] != "failed")]
    found: dict[Any, Thickness] = {}
    # Micrographs can be compared where voltage and number of frames are the same.
    kinds = [(optics[int(row["rlnOpticsGroup"])].voltage_kV, row["sczFrameCount"]) for _, row in measured.iterrows()]
    for kind in sorted(set(kinds)):
        alike = measured[[other == kind for other in kinds]]
        exposures = [
            _brightness(row, optics[int(row["rlnOpticsGroup"])].pixel_size_A, dose_per_frame_e_per_A2)
            for _, row in alike.iterrows()
        ]
        found |= dict(zip(alike.index, ice_thicknesses(exposures, kind[0], settings), strict=True))
    for label, name in LABELS.items():
        empty = "" if name == "method" else np.nan
        values = [getattr(found[index], name) if index in found else empty for index in rows.index]
        rows[label] = pd.Series(values, index=rows.index)
    if rows["rlnMicrographIceThickness"].isna().all():
        rows = rows.drop(columns=["rlnMicrographIceThickness", "sczIceThicknessError"])
    last = [name for name in ("sczState", "sczReason") if name in rows]
    return table.with_rows(rows[[*(name for name in rows if name not in last), *last]])


def _brightness(row: pd.Series, pixel_size_A: float, dose_per_frame_e_per_A2: float | None) -> Brightness:
    dose_e_per_A2 = row.get("sczExposureDose")
    if dose_e_per_A2 is None or pd.isna(dose_e_per_A2):
        # One frame is a sum of frames whose number is not known.
        known = dose_per_frame_e_per_A2 is not None and row["sczFrameCount"] > 1
        dose_e_per_A2 = dose_per_frame_e_per_A2 * row["sczFrameCount"] if known else None
    return Brightness(
        level=float(row["sczIceLevel"]),
        noise_per_level=float(row["sczNoisePerLevel"]),
        has_ice=row["sczCondition"] != "no_ice",
        dose_e_per_px=None if dose_e_per_A2 is None else float(dose_e_per_A2) * pixel_size_A**2,
    )
