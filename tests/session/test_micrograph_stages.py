"""The stages from exposures to particles over a small simulated session, held against its truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from scherzer.formats.mrc import read_mrc, read_mrc_header, write_mrc
from scherzer.formats.star import read_star
from scherzer.physics.ctf import electron_wavelength_A
from scherzer.physics.optics import optics_of_groups
from scherzer.session.demo import prepare_simulated
from scherzer.session.folder import Session
from scherzer.session.found_diameter import with_found_diameter
from scherzer.session.settings import SessionSettings
from scherzer.session.stages import contrast, ctf, extract, import_, motion, pick
from scherzer.session.stages.context import Context
from scherzer.session.stages.micrograph_stage import LEFT_OUT, jobs_of
from scherzer.session.stages.particle_sets import load_particles
from scherzer.session.stages.study import recording
from scherzer.session.workers import Workers
from scherzer.simulate.presets import read_preset

OTHER_KV = 306
STAGES = (import_, motion, ctf, contrast, pick, extract)


def run_stages(session: Session, settings: SessionSettings) -> list[int]:
    with Workers(1) as workers:
        return [stage.run(session, settings, Context(workers)).computed for stage in STAGES]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, SessionSettings]:
    """Return a session of three two-frame movies, run to particles."""
    simulation = read_preset(
        "small",
        {
            "micrographs": 3,
            "microscope.defocus_um": (1.2, 2.4),
            "exposure.frames": 2,
            "faults.drift": 0.0,
            "faults.empty": 0.0,
        },
    )
    session, settings = prepare_simulated(tmp_path_factory.mktemp("tiny"), simulation, 1)
    # One exposure has a voltage of its own, so near the true one that its defocus hardly changes.
    for movie, kV in zip(sorted((session.root / "movies").iterdir()), (OTHER_KV, 300, 300), strict=True):
        movie.with_suffix(".xml").write_text(
            f"<MicroscopeImage><microscopeData><gun><AccelerationVoltage>{kV}e3</AccelerationVoltage></gun>"
            "</microscopeData></MicroscopeImage>"
        )
    run_stages(session, settings)
    return session, settings


def test_defocus_is_the_simulated_one(finished: tuple[Session, SessionSettings]) -> None:
    session, _ = finished
    truth = read_star(session.root / "truth" / "micrographs.star").rows
    found = session.read("ctf").rows
    mean = (found["rlnDefocusU"] + found["rlnDefocusV"]) / 2
    assert found["rlnMicrographMovieName"].tolist() == truth["rlnMicrographName"].tolist()
    assert np.allclose(mean, (truth["rlnDefocusU"] + truth["rlnDefocusV"]) / 2, rtol=0.05)


def test_motion_writes_both_sums_with_their_pixel_size(finished: tuple[Session, SessionSettings]) -> None:
    session, settings = finished
    rows = session.read("motion").rows
    for name in [*rows["rlnMicrographName"], *rows["rlnMicrographNameNoDW"]]:
        header = read_mrc_header(session.absolute(name))
        assert header.pixel_size_A == pytest.approx(settings.acquisition.pixel_size_A)
        assert header.shape == (1, 1024, 1024)


def test_picks_are_particles(finished: tuple[Session, SessionSettings]) -> None:
    session, settings = finished
    truth = read_star(session.root / "truth" / "particles.star").rows
    picks = session.read("pick", "particles").rows
    movies = session.read("pick").rows.set_index("rlnMicrographName")["rlnMicrographMovieName"]
    reach_px = 0.25 * float(settings.acquisition.diameter_A or 0) / float(settings.acquisition.pixel_size_A or 1)
    hits = 0
    for name, own in picks.groupby("rlnMicrographName"):
        there = truth[truth["rlnMicrographName"] == movies[name]]
        x = own["rlnCoordinateX"].to_numpy()[:, None] - there["rlnCoordinateX"].to_numpy()
        y = own["rlnCoordinateY"].to_numpy()[:, None] - there["rlnCoordinateY"].to_numpy()
        hits += int((np.hypot(x, y).min(axis=1) < reach_px).sum())
    assert len(picks) > 60
    assert hits > 0.8 * len(picks)


def test_moving_the_threshold_selects_again_without_picking(finished: tuple[Session, SessionSettings]) -> None:
    session, settings = finished
    candidates = read_star(session.stage("pick") / "candidates.star").rows
    with Workers(1) as workers:
        strict = replace(settings, pick=replace(settings.pick, threshold=0.9))
        assert pick.run(session, strict, Context(workers)).computed == 0
        picks = session.read("pick", "particles").rows
        assert picks["rlnAutopickFigureOfMerit"].min() > 0.9
        assert len(picks) == (candidates["rlnAutopickFigureOfMerit"] > 0.9).sum() > 0
        assert session.read("pick").rows["sczPickCount"].sum() == len(picks)
        assert pick.run(session, settings, Context(workers)).computed == 0
    assert len(picks) < len(session.read("pick", "particles").rows) < len(candidates)


def test_a_diameter_that_is_not_stated_is_measured_and_told(finished: tuple[Session, SessionSettings]) -> None:
    session, settings = finished
    true_A = float(settings.acquisition.diameter_A or 0)
    silent = replace(settings, acquisition=replace(settings.acquisition, diameter_A=None))
    assert with_found_diameter(session, silent) == silent
    with Workers(1) as workers:
        outcome = pick.run(session, silent, Context(workers))
        assert pick.run(session, silent, Context(workers)).computed == 0
        found_A = with_found_diameter(session, silent).acquisition.diameter_A
        assert found_A == pytest.approx(true_A, rel=0.15)
        assert f"diameter {found_A:.0f} +- " in outcome.summary
        assert recording(session)["diameter"]["diameter_A"] == found_A
        assert with_found_diameter(session, settings) == settings
        pick.run(session, settings, Context(workers))
    assert recording(session)["diameter"] is None


def test_nothing_is_picked_in_what_the_contrast_stage_leaves_out(finished: tuple[Session, SessionSettings]) -> None:
    session, settings = finished
    table = session.read("contrast")
    optics, job = optics_of_groups(table.optics), jobs_of(session, table)[0]
    task = pick.PickTask(optics, float(settings.acquisition.diameter_A or 0), settings.pick)
    mask = session.root / "left.mrc"
    write_mrc(mask, np.repeat([[1, 0]], 2, axis=0).astype(np.int8), 800.0)
    folder = session.stage("pick")
    whole = pick.find(job, folder, task).data["x_px"]
    right = pick.find(replace(job, row={**job.row, LEFT_OUT: mask.name}), folder, task).data["x_px"]
    assert min(whole) < 200
    assert len(right) > 0.3 * len(whole)
    assert min(right) >= 510


def test_what_is_left_out_is_written_and_named(finished: tuple[Session, SessionSettings]) -> None:
    session, settings = finished
    table = session.read("contrast")
    job = jobs_of(session, table)[0]
    name = job.row["rlnMicrographNameNoDW"]
    image = read_mrc(session.absolute(name)).data.copy()
    image[:, :400] -= image.std()
    write_mrc(session.root / "spoilt.mrc", image, 1.6)
    task = contrast.ContrastTask(optics_of_groups(table.optics), settings.condition, None, ("", ""))
    spoilt = replace(job, name="spoilt", row={**job.row, "rlnMicrographNameNoDW": "spoilt.mrc"})
    done = contrast.look(spoilt, session.stage("contrast"), task)
    mask = read_mrc(session.absolute(done.columns[LEFT_OUT])).data
    assert done.files[0].is_file()
    assert mask[:, : int(0.35 * mask.shape[1])].all()
    assert not mask[:, int(0.5 * mask.shape[1]) :].any()
    assert LEFT_OUT not in job.row


def test_extracted_particles_have_both_halves_and_their_images(finished: tuple[Session, SessionSettings]) -> None:
    session, _ = finished
    particles = session.read("extract", "particles")
    assert set(particles.rows["rlnRandomSubset"]) == {1, 2}
    assert (particles.rows.groupby("rlnMicrographName")["rlnRandomSubset"].nunique() == 1).all()
    for stack in particles.rows["rlnImageName"].str.split("@").str[1].unique():
        count = read_mrc_header(session.absolute(stack)).shape[0]
        assert count == particles.rows["rlnImageName"].str.endswith(stack).sum()


def test_two_optics_groups_go_through_all_stages_and_keep_their_wavelengths(
    finished: tuple[Session, SessionSettings],
) -> None:
    session, _ = finished
    for stage in ("import", "motion", "ctf", "contrast", "pick"):
        table = session.read(stage)
        assert table.rows["rlnOpticsGroup"].tolist() == [1, 2, 2]
        assert table.optics["rlnVoltage"].tolist() == [OTHER_KV, 300.0]
    particles = session.read("extract", "particles")
    assert set(particles.rows["rlnOpticsGroup"]) == {1, 2}
    # What 2D classification and refinement take.
    wavelengths = load_particles(session, particles).ctf.wavelength_A
    first = torch.tensor((particles.rows["rlnOpticsGroup"] == 1).to_numpy())
    assert torch.allclose(wavelengths[first], electron_wavelength_A(OTHER_KV), atol=1e-6)
    assert torch.allclose(wavelengths[~first], electron_wavelength_A(300.0), atol=1e-6)


def test_a_second_run_repeats_nothing_and_a_changed_setting_only_what_depends_on_it(
    finished: tuple[Session, SessionSettings],
) -> None:
    session, settings = finished
    assert run_stages(session, settings) == [0] * len(STAGES)
    changed = replace(settings, extract=replace(settings.extract, dust_sigma=4.5))
    assert [count > 0 for count in run_stages(session, changed)] == [False] * 5 + [True]
    assert [count > 0 for count in run_stages(session, settings)] == [False] * 5 + [True]
