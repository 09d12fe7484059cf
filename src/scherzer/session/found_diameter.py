"""The particle diameter that picking measured when nobody stated one, for the stages after it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from scherzer.formats.atomic import write_text
from scherzer.particles.diameter import Diameter
from scherzer.session.folder import Session
from scherzer.session.settings import SessionSettings


def found_diameter_path(session: Session) -> Path:
    """Return where it is kept; there is no such file where the diameter was stated."""
    return session.stage("pick") / "diameter.json"


def write_found_diameter(session: Session, found: Diameter | None) -> None:
    """Keep what was measured, in whole A; None takes away what was kept."""
    path = found_diameter_path(session)
    if found is None:
        path.unlink(missing_ok=True)
        return
    content = {
        "diameter_A": round(found.diameter_A),
        "error_A": round(found.error_A),
        "micrographs": found.micrographs,
    }
    write_text(path, json.dumps(content) + "\n")


def with_found_diameter(session: Session, settings: SessionSettings) -> SessionSettings:
    """Return the settings with the measured diameter where none is stated and one was measured."""
    path = found_diameter_path(session)
    if settings.acquisition.diameter_A is not None or not path.is_file():
        return settings
    diameter_A = float(json.loads(path.read_text(encoding="utf-8"))["diameter_A"])
    return replace(settings, acquisition=replace(settings.acquisition, diameter_A=diameter_A))
