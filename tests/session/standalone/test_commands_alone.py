"""``scherzer refine`` and ``abinitio`` over a particles.star: what they write and refuse, and that RELION reads it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from scherzer.cli.main import app
from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_mrc, write_mrc
from scherzer.formats.star import read_star
from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.maps.settings import AbInitioSettings, RefineSettings
from scherzer.session.stages.context import StageOutcome
from scherzer.session.stages.start_maps import StartMap
from scherzer.session.standalone.commands import ab_initio_of_particles, refine_particles
from scherzer.session.standalone.inputs import particle_input

Project = Any  # of conftest.py
DIAMETER_A = 92.0
SETTINGS = RefineSettings(start_resolution_A=24.0, iterations=2, finest_A=9.0, shift_range_A=8.0)


def refine(project: Project, out: Path, settings: RefineSettings = SETTINGS) -> StageOutcome:
    given = particle_input(project.star, "D2", DIAMETER_A)
    return refine_particles(given, project.map, out, settings, lambda fraction, message: None)


@pytest.fixture(scope="module")
def refined(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "refined"
    assert refine(project, out).computed == 1
    return out


def test_maps_have_the_particles_box_where_refinement_needs_a_smaller_one(project: Project, tmp_path: Path) -> None:
    refine(project, tmp_path / "coarse", replace(SETTINGS, iterations=1, finest_A=16.0))
    truth = read_mrc(project.map)
    for name in ("map", "half1", "mask", "sharpened"):
        written = read_mrc(tmp_path / "coarse" / f"{name}.mrc")
        assert written.data.shape == truth.data.shape
        assert written.pixel_size_A == pytest.approx(4.0)
    numbers = json.loads((tmp_path / "coarse" / "numbers.json").read_text())
    assert (numbers["box_px"], numbers["pixel_size_A"]) == (len(truth.data), pytest.approx(4.0))
    assert len(numbers["fsc"]) < len(truth.data) // 2  # the curve is that of the box in which it was refined
    found, expected = (torch.from_numpy(image.data) for image in (read_mrc(tmp_path / "coarse" / "map.mrc"), truth))
    assert (fourier_shell_correlation(found, expected)[:6] > 0.8).all()


def test_everything_is_written_and_is_the_map_of_the_particles(project: Project, refined: Path) -> None:
    names = ("map", "half1", "half2", "mask", "sharpened")
    maps = {name: read_mrc(refined / f"{name}.mrc") for name in names}
    assert len({image.data.shape for image in maps.values()}) == 1
    pixel_size_A = maps["map"].pixel_size_A
    truth = torch.from_numpy(read_mrc(project.map).data)
    assert pixel_size_A == pytest.approx(4.0)
    assert (fourier_shell_correlation(torch.from_numpy(maps["map"].data), truth)[:11] > 0.8).all()
    assert np.allclose((maps["half1"].data + maps["half2"].data) / 2, maps["map"].data, atol=1e-4)
    numbers = json.loads((refined / "numbers.json").read_text())
    assert numbers["particles"] == 240
    assert numbers["files"]["map"] == "map.mrc"
    assert numbers["structure"]["verdict"] == "structure"
    assert json.loads((refined / "run.json").read_text())["complete"] is True


def test_the_curve_in_xml_is_that_of_the_star(refined: Path) -> None:
    root = ElementTree.parse(refined / "fsc.xml").getroot()
    assert (root.tag, root.get("xaxis"), root.get("yaxis")) == ("fsc", "Resolution (A-1)", "Correlation Coefficient")
    points = np.array([[float(point.findtext(axis) or "nan") for axis in "xy"] for point in root])
    numbers = json.loads((refined / "numbers.json").read_text())
    assert np.allclose(points, np.stack([numbers["frequency_per_A"], numbers["fsc"]], axis=1), atol=1e-6)


def test_particles_keep_what_they_had_and_get_poses(project: Project, refined: Path) -> None:
    table = read_star(refined / "particles.star")
    poses = {"rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"}
    assert set(table.rows) - set(project.table.rows) == {"rlnRandomSubset", "sczScore"} | poses
    before = read_star(project.star)
    assert table.optics.equals(before.optics)
    assert table.rows[list(before.rows)].equals(before.rows)
    assert table.rows["rlnOriginXAngst"].abs().median() < 2  # the phantoms are centred


def test_the_same_command_again_does_nothing(project: Project, refined: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in refined.iterdir()}
    again = refine(project, refined)
    assert again.computed == 0
    assert again.notes[0] == "half-sets made here, of 16 micrographs"
    assert again.notes[-1].startswith("structure: ")
    assert {path.name: path.stat().st_mtime_ns for path in refined.iterdir()} == before


def test_another_run_does_not_overwrite(project: Project, refined: Path) -> None:
    with pytest.raises(BadInput, match="holds another run of 'scherzer refine'"):
        refine(project, refined, replace(SETTINGS, seed=1))
    given = particle_input(project.star, "D2", DIAMETER_A)
    with pytest.raises(BadInput, match="holds another run of 'scherzer refine'"):
        ab_initio_of_particles(given, refined, AbInitioSettings(), lambda fraction, message: None)


def test_a_folder_of_other_files_is_left_alone(project: Project, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="holds other files, which are not overwritten"):
        refine(project, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_unfinished_run_is_done_again(project: Project, refined: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(refined, broken)
    (broken / "half2.mrc").unlink()
    assert refine(project, broken).computed == 1
    for name in ("half2.mrc", "particles.star", "numbers.json"):
        assert (broken / name).read_bytes()[1024:] == (refined / name).read_bytes()[1024:]  # past an MRC's date


def test_a_killed_refinement_goes_on_and_ends_as_an_unbroken_one(
    project: Project, refined: Path, tmp_path: Path
) -> None:
    given = particle_input(project.star, "D2", DIAMETER_A)
    out, told = tmp_path / "out", []

    def killed(fraction: float, message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine_particles(given, project.map, out, SETTINGS, killed)
    assert not (out / "map.mrc").exists()
    assert json.loads((out / "run.json").read_text())["complete"] is False
    refine_particles(given, project.map, out, SETTINGS, lambda fraction, message: told.append(fraction))
    assert told == [1.0]
    assert (out / "numbers.json").read_text() == (refined / "numbers.json").read_text()
    assert {path.name for path in out.iterdir()} == {path.name for path in refined.iterdir()}


def test_ab_initio_writes_a_map(project: Project, tmp_path: Path) -> None:
    given = particle_input(project.star, "D2", DIAMETER_A)
    settings = AbInitioSettings(seeds=1, batches=3, batch_particles=60)
    outcome = ab_initio_of_particles(given, tmp_path / "first", settings, lambda fraction, message: None)
    assert outcome.computed == 1
    assert read_mrc(tmp_path / "first" / "map.mrc").data.std() > 0


def screen(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_commands_ask_for_what_is_missing(project: Project, tmp_path: Path) -> None:
    star, out = project.star, tmp_path / "out"
    for arguments, expected in (
        (("refine", star, "--diameter", 92, "--out", out), "start map: not given; give --initial-map"),
        (("refine", star, "--initial-map", project.map, "--out", out), "particle diameter: not given; give --diameter"),
        (("refine", star, "--initial-map", project.map, "--diameter", 92), "output folder: not given; give --out"),
        (("abinitio", star, "--out", out), "particle diameter: not given; give --diameter"),
        (("abinitio", project.root, "--out", out), "--diameter, --out and --invert are not for a session"),
        (("refine", project.root), "is not a session"),
        (("refine", star, "--initial-map", star, "--diameter", 92, "--out", out), "is not an MRC file"),
    ):
        code, text = screen(*arguments)
        assert code == 2
        assert expected in text
        assert len(text.strip().splitlines()) == 1
    assert not out.exists()


def test_maps_that_cannot_be_a_start_are_refused(project: Project, tmp_path: Path) -> None:
    write_mrc(tmp_path / "flat.mrc", np.ones((8, 36, 36), np.float32), 4.0, "volume")
    write_mrc(tmp_path / "sizeless.mrc", np.ones((36, 36, 36), np.float32), 0.0, "volume")
    write_mrc(tmp_path / "empty.mrc", np.ones((36, 36, 36), np.float32), 4.0, "volume")
    reasons = {"flat.mrc": "is not a cube", "sizeless.mrc": "has no voxel size", "empty.mrc": "holds one value"}
    for name, expected in reasons.items():
        with pytest.raises(BadInput, match=expected):
            refine(replace(project, map=tmp_path / name), tmp_path / "out")


def test_a_start_in_an_odd_box_keeps_its_centre(project: Project, tmp_path: Path) -> None:
    whole = read_mrc(project.map).data
    write_mrc(tmp_path / "odd.mrc", whole[1:, 1:, 1:], 4.0, "volume")
    odd = StartMap("all", "", tmp_path / "odd.mrc", is_model=True).read()[0].numpy()
    assert odd.shape == (36, 36, 36)
    assert np.array_equal(odd[1:, 1:, 1:], whole[1:, 1:, 1:])


def relion(program: str, *arguments: object, cwd: Path) -> str:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    command = [program, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_relion_reads_the_maps_and_finds_their_resolution(refined: Path, tmp_path: Path) -> None:
    halves = tmp_path / "run_half1_class001_unfil.mrc", tmp_path / "run_half2_class001_unfil.mrc"
    for number, path in enumerate(halves, start=1):
        shutil.copy(refined / f"half{number}.mrc", path)
    relion("relion_image_handler", "--i", refined / "sharpened.mrc", "--stats", cwd=tmp_path)
    options = ("--mask", refined / "mask.mrc", "--angpix", 4.0, "--o", "post/process")
    (tmp_path / "post").mkdir()
    relion("relion_postprocess", "--i", halves[0], *options, cwd=tmp_path)
    theirs = read_blocks(tmp_path / "post/process.star")["general"]["rlnFinalResolution"]
    ours = json.loads((refined / "numbers.json").read_text())["resolution_fsc143_A"]
    assert theirs == pytest.approx(ours, rel=0.1)


def test_relion_reconstructs_the_map_from_the_poses(project: Project, refined: Path, tmp_path: Path) -> None:
    star = refined / "particles.star"
    options = ("--sym", "D2", "--ctf", "--o", tmp_path / "theirs.mrc")
    relion("relion_reconstruct", "--i", star, *options, cwd=project.root)
    theirs, ours = (torch.from_numpy(read_mrc(path).data) for path in (tmp_path / "theirs.mrc", refined / "map.mrc"))
    assert (fourier_shell_correlation(theirs, ours)[1:11] > 0.9).all()


def read_blocks(path: Path) -> dict[str, Any]:
    import starfile

    return dict(starfile.read(path, always_dict=True))
