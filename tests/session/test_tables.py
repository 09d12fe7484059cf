"""Between stages: rows pass through, particles load in the order of their table, unknown numbers say why."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable
from scherzer.fourier.grids import centred_irfft2
from scherzer.particles.extraction import ExtractSettings
from scherzer.session.folder import Session
from scherzer.session.items import Done, Job, Results
from scherzer.session.results import further_map, micrograph_entry
from scherzer.session.stages.extract import ExtractTask, particles_table
from scherzer.session.stages.micrograph_stage import with_results
from scherzer.session.stages.particle_sets import load_particles
from scherzer.session.stages.subset_refiner import RefinementCache
from scherzer.study.refined import RefinedSubset

OPTICS = pd.DataFrame(
    {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnMicrographPixelSize": [1.5],
    }
)


def micrographs() -> StarTable:
    rows = pd.DataFrame(
        {
            "rlnMicrographName": ["a.mrc", "b.mrc", "c.mrc"],
            "rlnOpticsGroup": 1,
            "sczName": ["a", "b", "c"],
            "sczState": ["accepted", "failed", "accepted"],
            "sczReason": ["", "is truncated", ""],
        }
    )
    return StarTable("micrographs", OPTICS, rows)


def test_rejected_and_failed_rows_pass_through_untouched(tmp_path: Path) -> None:
    done = [
        Done({"rlnDefocusU": 1e4, "rlnCtfImage": "ctf/a.mrc"}),
        Done(state="rejected", reason="drift: it moved"),
    ]
    session = Session(tmp_path)
    session.write("ctf", with_results(micrographs(), Results(done, 2, "key")))
    rows = session.read("ctf").rows
    assert rows["sczState"].tolist() == ["accepted", "failed", "rejected"]
    assert rows["sczReason"].tolist() == ["", "is truncated", "drift: it moved"]
    assert rows["rlnDefocusU"].iloc[0] == 1e4
    assert rows["rlnDefocusU"].iloc[1:].isna().all()
    assert rows["rlnCtfImage"].tolist() == ["ctf/a.mrc", "", ""]


def extracted(root: Path) -> tuple[StarTable, dict[str, np.ndarray]]:
    """Write two stacks, of which one pick in each was not kept; return the table and the images by name."""
    rng = np.random.default_rng(0)
    jobs, done, images = [], [], {}
    for number, (name, kept) in enumerate((("a", [0, 2]), ("c", [1, 2]))):
        stack = rng.normal(size=(len(kept), 16, 16)).astype(np.float32)
        write_mrc(root / "extract" / f"{name}.mrcs", stack, 3.0, "stack")
        picks = {f"rlnCoordinate{axis}": [10.0 * number + n for n in range(3)] for axis in "XY"}
        row = {
            "rlnMicrographName": f"{name}.mrc",
            "rlnOpticsGroup": 1,
            "rlnDefocusU": 1e4 * (number + 1),
            "rlnDefocusV": 9e3 * (number + 1),
            "rlnDefocusAngle": 30.0,
            "picks": picks,
        }
        jobs.append(Job(name, row, ()))
        done.append(Done(data={"kept": kept, "stack": f"extract/{name}.mrcs"}))
        images |= {f"{index:06d}@extract/{name}.mrcs": image for index, image in enumerate(stack, start=1)}
    task = ExtractTask(1.5, 130.0, 32, 16, 3.0, 32, {}, ExtractSettings())
    return particles_table(micrographs(), jobs, done, task), images


def test_particles_know_their_image_place_and_half(tmp_path: Path) -> None:
    table, images = extracted(tmp_path)
    assert table.rows["rlnImageName"].tolist() == list(images)
    assert table.rows["rlnCoordinateX"].tolist() == [0.0, 2.0, 11.0, 12.0]
    assert sorted(table.rows.groupby("rlnMicrographName")["rlnRandomSubset"].unique().map(list).tolist()) == [[1], [2]]
    assert table.optics["rlnImagePixelSize"].tolist() == [3.0]


def test_particles_load_in_the_order_of_their_table(tmp_path: Path) -> None:
    table, images = extracted(tmp_path)
    session = Session(tmp_path)
    session.write("extract", table)
    order = [3, 0, 2, 1]
    mixed = session.read("extract", "particles")
    mixed = mixed.with_rows(mixed.rows.iloc[order])
    particles = load_particles(session, mixed)
    back = centred_irfft2(particles.spectra())
    for number, name in enumerate(mixed.rows["rlnImageName"]):
        assert torch.allclose(back[number], torch.from_numpy(images[name]), atol=3e-3)
    assert particles.pixel_size_A == 3.0
    assert particles.ctf.defocus_u_A.tolist() == mixed.rows["rlnDefocusU"].tolist()
    assert math.isclose(float(particles.ctf.defocus_angle_rad[0]), math.radians(30.0), rel_tol=1e-6)
    names = mixed.rows["rlnMicrographName"].tolist()
    same = particles.micrograph[:, None] == particles.micrograph[None, :]
    assert same.tolist() == [[first == second for second in names] for first in names]
    assert particles.half.tolist() == mixed.rows["rlnRandomSubset"].tolist()


def test_an_unknown_number_is_null_with_its_reason() -> None:
    row = {"rlnMicrographName": "x/b.mrc", "sczState": "failed", "sczReason": "is truncated", "rlnDefocusU": math.nan}
    entry = micrograph_entry(row, {"x/a.mrc": 7}, {})
    assert entry["name"] == "b.mrc"
    assert (entry["defocus_u_A"], entry["defocus_u_A_reason"]) == (None, "no reliable CTF fit")
    assert (entry["picks"], entry["picks_reason"]) == (None, "the micrograph was failed")
    assert (entry["contrast"], entry["contrast_reason"]) == (None, "not classified")
    accepted = {"rlnMicrographName": "x/a.mrc", "sczState": "accepted", "sczReason": "", "rlnDefocusU": 1.2e4}
    found = micrograph_entry(accepted, {"x/a.mrc": 7}, {})
    assert (found["picks"], found["defocus_u_A"], found["particles_kept"]) == (7, 1.2e4, None)
    assert micrograph_entry({**accepted, "rlnMicrographName": "x/c.mrc"}, {"x/a.mrc": 7}, {})["picks"] == 0
    json.dumps([entry, found], allow_nan=False)


def test_what_was_seen_of_the_ice_goes_into_the_results() -> None:
    row = {"rlnMicrographName": "a.mrc", "sczState": "accepted", "sczReason": "", "rlnCtfIceRingDensity": 1.25,
           "sczIceThicknessRelative": 0.1, "sczIceThicknessMethod": "relative", "sczNote": "carbon in 12%"}  # fmt: skip
    entry = micrograph_entry(row, {}, {})
    assert (entry["ice_ring"], entry["ice_thickness_relative"], entry["note"]) == (1.25, 0.1, "carbon in 12%")
    assert entry["ice_thickness_A"] is None
    assert "empty exposure" in entry["ice_thickness_A_reason"]
    assert micrograph_entry({**row, "sczNote": math.nan}, {}, {})["note"] == ""


def test_micrographs_of_one_name_in_two_folders_keep_the_names_that_tell_them_apart() -> None:
    rows = [
        {"rlnMicrographName": f"{square}/x.mrc", "sczName": f"{square}_x_mrc", "sczState": "failed", "sczReason": ""}
        for square in ("sq1", "sq2")
    ]
    assert [micrograph_entry(row, {}, {})["name"] for row in rows] == ["sq1_x_mrc.mrc", "sq2_x_mrc.mrc"]


def numbers(resolution_A: float | None, files: dict[str, str] | None = None) -> RefinedSubset:
    shells = np.linspace(0, 0.25, 5)
    return RefinedSubset(resolution_A, None, None, shells, np.ones(5) / 3, 100, 4, 1.5, files or {})


def test_a_map_without_a_resolution_says_so() -> None:
    entry = further_map("all", "O", "start", numbers(None))
    assert entry["resolution_fsc143_A"] == {"value": None, "reason": "the FSC never rises above 0.143"}
    assert entry["bfactor_A2_reason"]
    assert further_map("all", "O", "start", numbers(7.5))["resolution_fsc143_A"]["value"] == 7.5


def test_refinements_are_remembered_under_their_key_only(tmp_path: Path) -> None:
    cache = RefinementCache(tmp_path / "cache", "one", tmp_path)
    cache["subset"] = numbers(7.123456789012345)
    assert RefinementCache(tmp_path / "cache", "one", tmp_path)["subset"].resolution_fsc143_A == 7.123456789012345
    assert "subset" not in RefinementCache(tmp_path / "cache", "two", tmp_path)
    cache["kept"] = numbers(8.0, {"map": "study/kept/map.mrc"})
    assert "kept" not in cache
    (tmp_path / "study" / "kept").mkdir(parents=True)
    (tmp_path / "study" / "kept" / "map.mrc").touch()
    assert "kept" in cache


def test_a_class_of_contrast_says_why_and_how_sure_d_prime_is() -> None:
    row = {
        "rlnMicrographName": "x/a.mrc",
        "sczState": "accepted",
        "sczReason": "",
        "sczContrastClass": "moderate",
        "sczContrastWhy": "moderate (0.97): d' 11.2 (9.6 to 13.1)",
        "sczDetectability": 11.24,
        "sczDetectabilityLow": 9.6,
        "sczDetectabilityHigh": 13.1,
    }
    found = micrograph_entry(row, {}, {})["contrast"]
    assert found["why"] == row["sczContrastWhy"]
    assert [found["d_prime"][key] for key in ("value", "low", "high")] == [11.24, 9.6, 13.1]
    assert found["d_prime"]["method"]
