"""A map's doubtful structure is said beside it, and beneath it among others."""

from __future__ import annotations

from typing import Any

from scherzer.report.data import MapEntry
from scherzer.report.sections_maps import map_facts, short_lines
from scherzer.report.tables import Missing


def entry(**record: Any) -> MapEntry:
    return MapEntry({"subset": "all", "resolution_fsc143_A": {"value": 7.5, "low": None, "high": None}, **record}, {})


def test_a_doubted_structure_is_said() -> None:
    doubted = entry(structure={"verdict": "no structure", "sentence": "no structure: the half-maps do not agree"})
    assert short_lines(doubted)[-1] == "no structure"
    facts = dict(map_facts(doubted, Missing("no picture"), sharpened=False))
    assert facts["a structure?"] == "no structure: the half-maps do not agree"


def test_a_structure_needs_no_line_among_others() -> None:
    sound = entry(structure={"verdict": "structure", "sentence": "structure: the half-maps agree to 5.0 A"})
    assert short_lines(sound) == short_lines(entry())
    facts = dict(map_facts(sound, Missing("no picture"), sharpened=False))
    assert facts["a structure?"] == "yes: the half-maps agree to 5.0 A"
    assert "a structure?" not in dict(map_facts(entry(structure=None), Missing("no picture"), sharpened=False))
