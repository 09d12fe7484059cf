"""The stage of a session and the command on a table give the same maps of the same particles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scherzer.maps.settings import RefineSettings
from scherzer.session.acquisition import Acquisition
from scherzer.session.complete import complete
from scherzer.session.folder import Session
from scherzer.session.settings import SessionSettings
from scherzer.session.stages import refine
from scherzer.session.stages.context import Context
from scherzer.session.standalone.commands import refine_particles
from scherzer.session.standalone.inputs import particle_input
from scherzer.session.workers import Workers

Project = Any  # of conftest.py
SETTINGS = RefineSettings(start_resolution_A=24.0, iterations=2, finest_A=9.0, shift_range_A=8.0)


def test_a_session_and_a_table_give_the_same(project: Project, tmp_path: Path) -> None:
    given = particle_input(project.star, "D2", 92.0)
    refine_particles(given, project.map, tmp_path / "out", SETTINGS, lambda fraction, message: None)
    session = Session(project.root)
    session.write("class2d", given.table)
    complete(session, "class2d", "key")
    acquisition = Acquisition(symmetry="D2", diameter_A=92.0, initial_map=str(project.map))
    settings = SessionSettings(acquisition=acquisition, refine=SETTINGS)
    with Workers(1) as workers:
        outcome = refine.run(session, settings, Context(workers))
        again = refine.run(session, settings, Context(workers))
    assert (outcome.computed, again.computed) == (1, 0)
    assert outcome.notes == again.notes
    assert outcome.notes[0].startswith("from the given map start.mrc: structure: ")
    folder = session.stage("refine") / "all"
    for name in ("map.mrc", "half1.mrc", "mask.mrc", "sharpened.mrc"):
        assert (folder / name).read_bytes()[1024:] == (tmp_path / "out" / name).read_bytes()[1024:]
    here, there = (json.loads((place / "numbers.json").read_text()) for place in (folder, tmp_path / "out"))
    assert here.pop("files")["fsc_xml"] == "refine/all/fsc.xml"
    assert there.pop("files")["fsc_xml"] == "fsc.xml"
    assert here == there
    assert (session.stage("refine") / "particles.star").read_text() == (tmp_path / "out/particles.star").read_text()
