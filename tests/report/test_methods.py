"""The limits that the report names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scherzer.report.data import SessionData
from scherzer.report.methods import limits


def data(session: dict[str, Any]) -> SessionData:
    return SessionData(Path(), {"session": session}, {}, [], None, None, [], None, [], {})


def test_where_the_user_and_the_files_disagree_the_reader_is_told() -> None:
    sources = [
        {"agree": False, "words": "pixel size 0.75 A used, 1.5 in the headers"},
        {"agree": True, "words": "acceleration voltage 300 kV used, 300 in the EPU XML"},
    ]
    found = limits(data({"sources": {"sources": sources}, "camera": {"notes": ["12 bad pixels are replaced"]}}))
    assert "Sources disagree: pixel size 0.75 A used, 1.5 in the headers." in found
    assert "Of the camera: 12 bad pixels are replaced." in found
    assert not any("300 kV" in line for line in found)


def test_a_session_of_micrographs_says_nothing_of_a_camera() -> None:
    assert not any("camera" in line for line in limits(data({"sources": None, "camera": None})))
