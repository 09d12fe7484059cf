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
from scherzer.simulate.presets import demo_settings, tiny_settings
from scherzer.simulate.session import SimulatedSession, plan_session, simulate_session
from scherzer.simulate.settings import SimulationSettings

SMALL = SimulationSettings(
    micrographs=2,
    empty=1,
    height_px=192,
    width_px=224,
    pixel_size_A=2.5,
    frames=2,
    symmetry="D2",
    diameter_A=80,
    particles_per_micrograph=6,
)


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
    assert facts["dose_per_frame_e_per_A2"] == 20
    assert facts["symmetry"] == "D2"
    assert 60 < facts["diameter_A"] <= 80


def test_truth_is_in_relion_tables(session: SimulatedSession) -> None:
    micrographs = read_star(session.folder / "truth" / "micrographs.star")
    particles = read_star(session.folder / "truth" / "particles.star")
    assert micrographs.rows["rlnMicrographName"].tolist() == [f"movies/{file.name}" for file in session.files]
    assert sorted(micrographs.rows["sczArtefact"]) == ["empty", "none", "none"]
    assert optics_of_groups(micrographs.optics)[1] == SMALL.optics
    assert isinstance(ctf_parameters_of(particles.rows, particles.optics), CtfParameters)
    assert particles.rows["rlnCoordinateX"].between(0, 223).all()
    assert particles.rows["rlnCoordinateY"].between(0, 191).all()
    assert len(particles) >= 6
    empty = micrographs.rows.loc[micrographs.rows["sczArtefact"] == "empty", "rlnMicrographName"].item()
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
    settings = replace(SMALL, frames=1, empty=0, micrographs=1)
    made = simulate_session(tmp_path, settings, lambda fraction, _: told.append(fraction))
    assert made.files[0].parent.name == "micrographs"
    assert made.files[0].suffix == ".mrc"
    assert open_exposure(made.files[0]).frame_count == 1
    assert told == [1.0]


def test_a_session_without_particles_still_has_its_tables(tmp_path: Path) -> None:
    simulate_session(tmp_path, replace(SMALL, frames=1, micrographs=0))
    particles = read_star(tmp_path / "truth" / "particles.star")
    assert len(particles) == 0
    assert "rlnCoordinateX" in particles.rows


def test_the_demo_covers_all_defoci_and_artefacts() -> None:
    plans = plan_session(demo_settings())
    kinds = [plan.artefact for plan in plans]
    assert (kinds.count("none"), kinds.count("drifted"), kinds.count("empty")) == (14, 1, 1)
    sound = [plan.defocus_u_A / 1e4 for plan in plans if plan.artefact == "none"]
    counts = np.histogram(sound, [0.4, 1.0, 1.5, 2.0, 2.8])[0]
    assert counts.min() >= 2
    assert all(plan.defocus_u_A >= plan.defocus_v_A for plan in plans)
    assert tiny_settings().frames == 1


@pytest.mark.parametrize(
    "wrong", [{"pixel_size_A": 0.0}, {"frames": 0}, {"defocus_low_um": 3.0}, {"dose_e_per_A2": -1.0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        replace(SMALL, **wrong)  # type: ignore[arg-type]
