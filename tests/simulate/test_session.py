"""Simulated sessions on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from scherzer.formats.errors import BadInput
from scherzer.formats.movies import open_exposure
from scherzer.formats.mrc import read_mrc
from scherzer.formats.star import read_star
from scherzer.physics.ctf import CtfParameters
from scherzer.physics.optics import ctf_parameters_of, optics_of_groups
from scherzer.simulate.plan import plan_session
from scherzer.simulate.presets import preset_names, read_preset
from scherzer.simulate.session import SimulatedSession, simulate_session

CHANGES = {
    "micrographs": 3,
    "specimen.symmetry": "D2",
    "specimen.diameter_A": 80,
    "microscope.height_px": 192,
    "microscope.width_px": 224,
    "microscope.pixel_size_A": 2.5,
    "particles.per_micrograph": 6,
    "exposure.frames": 2,
    "faults.empty": 0.34,
}
SMALL = read_preset("small", CHANGES)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSession:
    return simulate_session(tmp_path_factory.mktemp("s") / "out", SMALL)


def test_everything_is_written(session: SimulatedSession) -> None:
    assert len(session.files) == 3
    for file in session.files:
        movie = open_exposure(file)
        assert (movie.frame_count, movie.shape) == (2, (192, 224))
        assert movie.pixel_size_A == pytest.approx(2.5)
        assert movie.read().mean() > 10
    volume = read_mrc(session.map_file)
    assert volume.pixel_size_A == pytest.approx(2.5)
    assert volume.data.ndim == 3
    assert not [path for path in session.folder.rglob("*") if path.name.startswith(".")]


def test_acquisition_is_what_a_user_would_state(session: SimulatedSession) -> None:
    facts = yaml.safe_load((session.folder / "acquisition.yaml").read_text())
    assert facts == session.acquisition
    assert facts["pixel_size_A"] == 2.5
    assert facts["voltage_kV"] == 300
    assert facts["dose_per_frame_e_per_A2"] == SMALL.exposure.dose_e_per_A2 / 2
    assert facts["symmetry"] == "D2"
    assert 60 < facts["diameter_A"] <= 80


@pytest.mark.parametrize(("format", "suffix"), [("mrc", ".mrc"), ("eer", ".eer")])
def test_movies_of_every_format_hold_the_dose_that_is_stated(tmp_path: Path, format: str, suffix: str) -> None:
    settings = read_preset(
        "small",
        {**CHANGES, "micrographs": 1, "faults.empty": 0.0, "exposure.format": format, "exposure.dose_e_per_A2": 4.0}
        | {"detector.gain_spread": 0.03, "exposure.raw_frames_per_frame": 40},
    )
    made = simulate_session(tmp_path, settings)
    movie = open_exposure(made.files[0])
    assert made.files[0].suffix == suffix
    stated = float(made.acquisition["dose_per_frame_e_per_A2"])
    assert stated * movie.frame_count == pytest.approx(settings.exposure.dose_e_per_A2)
    counted = movie.read().mean() / 2.5**2
    assert 0.6 * stated < counted < stated
    gain = read_mrc(tmp_path / str(made.acquisition["gain"])).data
    assert gain.shape[-2:] == movie.shape
    assert gain.std() == pytest.approx(0.03, abs=0.01)


def test_truth_is_in_relion_tables(session: SimulatedSession) -> None:
    micrographs = read_star(session.folder / "truth" / "micrographs.star")
    particles = read_star(session.folder / "truth" / "particles.star")
    assert micrographs.rows["rlnMicrographName"].tolist() == [f"movies/{file.name}" for file in session.files]
    assert sorted(micrographs.rows["sczFault"]) == ["empty", "none", "none"]
    assert optics_of_groups(micrographs.optics)[1] == SMALL.microscope.optics
    assert isinstance(ctf_parameters_of(particles.rows, particles.optics), CtfParameters)
    assert particles.rows["rlnCoordinateX"].between(0, 223).all()
    assert particles.rows["rlnCoordinateY"].between(0, 191).all()
    assert len(particles) >= 6
    empty = micrographs.rows.loc[micrographs.rows["sczFault"] == "empty", "rlnMicrographName"].item()
    assert empty not in set(particles.rows["rlnMicrographName"])
    own = particles.rows.merge(micrographs.rows, on="rlnMicrographName", suffixes=("", "Micrograph"))
    np.testing.assert_allclose(own["rlnDefocusU"], own["rlnDefocusUMicrograph"] + own["sczHeight"], atol=1e-3)
    motion = (session.folder / "truth" / "motion.csv").read_text().splitlines()
    assert motion[0] == "micrograph,frame,x_A,y_A"
    assert len(motion) == 1 + 3 * 2


def test_the_same_seed_gives_the_same_files_whatever_the_workers(session: SimulatedSession, tmp_path: Path) -> None:
    again = simulate_session(tmp_path, SMALL, workers=2)
    for first, second in zip(session.files, again.files, strict=True):
        np.testing.assert_array_equal(open_exposure(first).read(), open_exposure(second).read())
    assert session.particles.rows.equals(again.particles.rows)
    other = simulate_session(tmp_path / "other", replace(SMALL, seed=99))
    assert not np.array_equal(open_exposure(other.files[0]).read(), open_exposure(session.files[0]).read())


def test_sums_are_micrographs_and_progress_is_told(tmp_path: Path) -> None:
    told: list[float] = []
    settings = read_preset(
        "small", {**CHANGES, "exposure.frames": 1, "exposure.output": "sums", "faults.empty": 0.0, "micrographs": 1}
    )
    made = simulate_session(tmp_path, settings, lambda fraction, _: told.append(fraction))
    assert made.files[0].parent.name == "micrographs"
    assert made.files[0].suffix == ".mrc"
    assert open_exposure(made.files[0]).frame_count == 1
    assert told == [1.0]


def test_a_session_without_particles_still_has_its_tables(tmp_path: Path) -> None:
    simulate_session(tmp_path, read_preset("small", {**CHANGES, "micrographs": 1, "faults.empty": 1.0}))
    particles = read_star(tmp_path / "truth" / "particles.star")
    assert len(particles) == 0
    assert "rlnCoordinateX" in particles.rows


def test_the_demo_covers_all_defoci_and_artefacts() -> None:
    plans = plan_session(read_preset("small"))
    kinds = [plan.faults for plan in plans]
    assert (kinds.count(()), kinds.count(("drift",)), kinds.count(("empty",))) == (14, 1, 1)
    sound = [plan.defocus_u_A / 1e4 for plan in plans if not plan.faults]
    counts = np.histogram(sound, [0.4, 1.0, 1.5, 2.0, 2.8])[0]
    assert counts.min() >= 2
    assert all(plan.defocus_u_A >= plan.defocus_v_A for plan in plans)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("microscope.pixel_size_A", 0.0, "in A, from 0.3"),
        ("exposure.frames", 0, "from 1"),
        ("exposure.frames", "many", "exposure.frames is 'many'"),
        ("microscope.defocus_um", (3.0, 1.0), "um of underfocus"),
        ("exposure.dose_e_per_A2", -1.0, "e/A2"),
        ("ice.thickness_A", (0.0, 300.0), "in A, from 20"),
        ("ice.thikness_A", (100.0, 300.0), "unknown setting ice.thikness_A"),
        ("exposure.format", "avi", "exposure.format is 'avi'"),
        ("exposure.format", "eer", "give at least"),
    ],
)
def test_impossible_settings_are_named_with_their_unit(name: str, value: object, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_preset("small", {name: value})
    assert "small" in str(refused.value)
    assert said in str(refused.value)


def test_a_preset_is_a_file_that_anyone_can_write(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("micrographs: 4\nspecimen:\n  model: a.pdb\nfaults: {crystalline: 0.5}\n")
    settings = read_preset(file)
    assert settings.specimen.model == tmp_path / "a.pdb"
    assert sum(plan.faults == ("crystalline",) for plan in plan_session(settings)) == 2
    with pytest.raises(BadInput, match="no such preset"):
        read_preset("nothing")
    with pytest.raises(BadInput, match="no such file"):
        read_preset(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_read_and_names_its_source(name: str) -> None:
    settings = read_preset(name)
    assert settings.source
    assert len(plan_session(settings)) == settings.micrographs


def test_faults_are_dealt_one_each_before_any_gets_two() -> None:
    rates = {"faults.drift": 0.25, "faults.empty": 0.0, "faults.thick_ice": 0.25, "faults.wrong_focus": 0.25}
    plans = plan_session(read_preset("small", {"micrographs": 40, **rates}))
    assert max(len(plan.faults) for plan in plans) == 1
    assert sum(not plan.faults for plan in plans) == 10
    thick = [plan.thickness_A for plan in plans if "thick_ice" in plan.faults]
    usual = [plan.thickness_A for plan in plans if "thick_ice" not in plan.faults]
    assert min(thick) >= 2 * SMALL.ice.thickness_A[1] > max(usual)
    focus = [plan.defocus_u_A / 1e4 for plan in plans if "wrong_focus" in plan.faults]
    assert all(defocus < 0.25 or defocus > 4 for defocus in focus)
