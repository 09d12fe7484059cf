"""``results.json``: every number of the report; ``docs/results-schema.md`` describes each field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from scherzer.session.settings import SessionSettings, software
from scherzer.study.maps_of_groups import structure_json
from scherzer.study.refined import RefinedSubset
from scherzer.study.run import StudyResult

SCHEMA = 1
# Name in results.json, STAR label, and why it may be unknown.
NUMBERS = (
    ("defocus_u_A", "rlnDefocusU", "no reliable CTF fit"),
    ("defocus_v_A", "rlnDefocusV", "no reliable CTF fit"),
    ("defocus_angle_deg", "rlnDefocusAngle", "no reliable CTF fit"),
    ("defocus_error_A", "sczDefocusError", "no reliable CTF fit"),
    ("phase_shift_deg", "rlnPhaseShift", "no reliable CTF fit"),
    ("ctf_fit_resolution_A", "rlnCtfMaxResolution", "no CTF was fitted"),
    ("ctf_score", "rlnCtfFigureOfMerit", "no CTF was fitted"),
    ("ctf_confidence", "sczCtfConfidence", "no CTF was fitted"),
    ("film_tilt_deg", "sczFilmTilt", "no reliable CTF fit, or too small an image"),
    ("film_tilt_error_deg", "sczFilmTiltError", "no reliable CTF fit, or too small an image"),
    ("motion_total_A", "rlnAccumMotionTotal", "not a movie"),
    ("motion_early_A", "rlnAccumMotionEarly", "not a movie, or its dose is not known"),
    ("motion_late_A", "rlnAccumMotionLate", "not a movie, or its dose is not known"),
    ("ice_ring", "rlnCtfIceRingDensity", "not measured"),
    ("ice_thickness_A", "rlnMicrographIceThickness", "neither an empty exposure nor counts per electron are known"),
    ("ice_thickness_relative", "sczIceThicknessRelative", "the grey levels cannot be compared"),
)
TEXTS = {"ice_thickness_method": "sczIceThicknessMethod", "motion_note": "sczMotionNote", "note": "sczNote"}
PROBABILITIES = {
    "probability_good": "sczProbabilityGood",
    "probability_moderate": "sczProbabilityModerate",
    "probability_bad": "sczProbabilityBad",
}

DETECTABILITY = {"value": "sczDetectability", "low": "sczDetectabilityLow", "high": "sczDetectabilityHigh"}


def results_of(
    name: str,
    settings: SessionSettings,
    micrographs: pd.DataFrame,
    picks: Mapping[str, int],
    kept: Mapping[str, int],
    study: StudyResult,
    recording: Mapping[str, Any],
    further_maps: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the contents of ``results.json``.

    Nothing in it depends on when or how often the session was run.

    Parameters
    ----------
    name : str
        Of the session.
    settings : SessionSettings
        As used.
    micrographs : DataFrame
        Rows of the last micrograph table, all states.
    picks, kept : mapping
        Number of picks and of particles in kept 2D classes by ``rlnMicrographName``; empty where there were none.
    study : StudyResult
        Verdict, experiments and maps.
    recording : mapping
        What was found of how the session was recorded: ``sources`` and ``camera``.
    further_maps : sequence of mapping
        Maps outside the study.
    """
    found = study.to_json()
    return {
        "schema": SCHEMA,
        "software": software(),
        "session": {
            "name": name,
            "inputs": len(settings.inputs),
            "micrographs": {
                state: int((micrographs["sczState"] == state).sum()) for state in ("accepted", "rejected", "failed")
            },
            "acquisition": asdict(settings.acquisition),
            **recording,
        },
        "verdict": found["verdict"],
        "micrographs": [micrograph_entry(row, picks, kept) for row in micrographs.to_dict("records")],
        "maps": [*found["maps"], *further_maps],
        "experiments": found["experiments"],
    }


def micrograph_entry(row: Mapping[Any, Any], picks: Mapping[str, int], kept: Mapping[str, int]) -> dict[str, Any]:
    """Return one micrograph; what is not known is null beside its reason."""
    path = str(row["rlnMicrographName"])
    accepted = row["sczState"] == "accepted"
    # The session's own name is unique where two folders hold files of one name.
    name = f"{row['sczName']}{Path(path).suffix}" if "sczName" in row else Path(path).name
    entry: dict[str, Any] = {"name": name, "state": row["sczState"], "reason": row["sczReason"]}
    for key, label, reason in NUMBERS:
        entry[key] = _number(row.get(label))
        if entry[key] is None:
            entry[f"{key}_reason"] = reason
    for key, label in TEXTS.items():
        text = row.get(label)
        entry[key] = text if isinstance(text, str) else ""
    contrast = row.get("sczContrastClass")
    if isinstance(contrast, str) and contrast:
        entry["contrast"] = {
            "label": contrast,
            **{key: _number(row.get(name)) for key, name in PROBABILITIES.items()},
            "d_prime": {
                **{key: _number(row.get(name)) for key, name in DETECTABILITY.items()},
                "method": "90 % interval as the networks state it, calibrated on micrographs of known d'",
            },
            "why": str(row.get("sczContrastWhy", "")),
        }
    else:
        entry |= {"contrast": None, "contrast_reason": "not classified"}
    for key, counts in (("picks", picks), ("particles_kept", kept)):
        entry[key] = counts.get(path, 0) if accepted and counts else None
        if entry[key] is None:
            entry[f"{key}_reason"] = "there is no such table" if accepted else f"the micrograph was {row['sczState']}"
    return entry


def further_map(subset: str, symmetry: str, start: str, numbers: RefinedSubset) -> dict[str, Any]:
    """Return the entry of a refinement that the study did not make."""
    reason = "one refinement, no repeated draws"
    resolution: dict[str, Any] = {"value": numbers.resolution_fsc143_A, "low": None, "high": None, "reason": reason}
    if numbers.resolution_fsc143_A is None:
        resolution = {"value": None, "reason": "the FSC never rises above 0.143"}
    return {
        "subset": subset,
        "symmetry": symmetry,
        "particles": numbers.particles,
        "micrographs": numbers.micrographs,
        "resolution_fsc143_A": resolution,
        "resolution_fsc05_A": numbers.resolution_fsc05_A,
        "resolution_fsc05_A_reason": None if numbers.resolution_fsc05_A else "the FSC never rises above 0.5",
        "bfactor_A2": numbers.bfactor_A2,
        "bfactor_A2_reason": None if numbers.bfactor_A2 is not None else "the Guinier window is too short",
        "start": start,
        "files": dict(numbers.files),
        **structure_json(numbers),
    }


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
