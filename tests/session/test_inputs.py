"""From what is typed to exposures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.session.inputs import find_exposures


def exposure(path: Path, frames: int = 1) -> Path:
    counts = np.random.default_rng(0).poisson(2.0, (frames, 64, 64)).astype(np.int16)
    write_mrc(path, counts, 1.5, "stack")
    return path


def found(*inputs: Path | str, gain: Path | None = None) -> list[Path]:
    return list(find_exposures([str(entry) for entry in inputs], gain=None if gain is None else str(gain)).paths)


@pytest.fixture
def epu(tmp_path: Path) -> Path:
    """Return the folder of an EPU session of two squares, with all that EPU puts into it."""
    root = tmp_path / "epu"
    for square, stem in (("GridSquare_11", "FoilHole_1_Data_2_3_20200101_1200"), ("GridSquare_12", "FoilHole_4")):
        data = root / "Images-Disc1" / square / "Data"
        stem = stem if "Data" in stem else f"{stem}_Data_5_6_20200101_1300"
        exposure(data / f"{stem}_Fractions.mrc", 3)
        exposure(data / f"{stem}.mrc")
        (data / f"{stem}.xml").write_text("<x/>")
        (data / f"{stem}.jpg").write_bytes(b"jpg")
        exposure(root / "Images-Disc1" / square / "GridSquare_20200101_110000.mrc")
        exposure(root / "Images-Disc1" / square / "FoilHoles" / "FoilHole_1_20200101_1150.mrc")
    exposure(root / "Metadata" / "x.mrc")
    exposure(root / "K3_gain_ref.mrc")
    return root


def test_files_folders_and_patterns_each_once(exposures: Path) -> None:
    whole = sorted(exposures.glob("*.mrc"))
    assert found(exposures) == whole
    assert found(exposures / "*_1.mrc", exposures) == [whole[1], whole[0], whole[2]]


@pytest.mark.parametrize("entry", ["nowhere.mrc", "nowhere/*.mrc"])
def test_an_input_that_means_nothing_is_named(entry: str) -> None:
    with pytest.raises(BadInput, match=r"nowhere"):
        find_exposures([entry])


def test_a_folder_without_exposures_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no exposures"):
        find_exposures([str(tmp_path)])


@pytest.mark.parametrize("below", ["", "Images-Disc1", "Images-Disc1/GridSquare_11", "Images-Disc1/GridSquare_11/Data"])
def test_an_epu_session_gives_its_movies_and_nothing_else(epu: Path, below: str) -> None:
    movies = sorted(epu.rglob("*_Fractions.mrc"))
    assert len(movies) == 2
    assert found(epu / below) == (movies[:1] if "11" in below else movies)


@pytest.mark.parametrize("pattern", ["Images-Disc*/GridSquare_*/Data/*", "Images-Disc*/*/Data/*_Fractions.*", "**/*"])
def test_patterns_over_an_epu_session_do_the_same(epu: Path, pattern: str) -> None:
    inputs = find_exposures([str(epu / pattern)])
    wanted = set(epu.rglob("*_Fractions.mrc"))
    assert wanted <= set(inputs.paths)
    assert not [path for path in inputs.paths if path.name.startswith("GridSquare") or "gain" in path.name]
    assert not [path for path in inputs.paths if path.with_name(f"{path.stem}_Fractions.mrc").exists()]


def test_what_was_left_out_is_told(epu: Path) -> None:
    words = " ".join(find_exposures([str(epu / "Images-Disc1/*/Data/*")]).left_out)
    assert "2 sums beside their movies" in words
    assert "4 files of other kinds" in words


def test_lower_case_names_and_electron_events_have_their_sums_left_out(tmp_path: Path) -> None:
    exposure(tmp_path / "FoilHole_1_Data_2_fractions.mrc", 2)
    exposure(tmp_path / "FoilHole_1_Data_2.mrc")
    (tmp_path / "FoilHole_3_Data_4_EER.eer").write_bytes(b"II")
    exposure(tmp_path / "FoilHole_3_Data_4.mrc")
    names = [path.name for path in found(tmp_path)]
    assert names == ["FoilHole_1_Data_2_fractions.mrc", "FoilHole_3_Data_4_EER.eer"]


def test_a_sum_of_the_same_name_is_left_out_only_where_the_other_is_a_movie(tmp_path: Path) -> None:
    movie, total = exposure(tmp_path / "a.mrcs", 3), exposure(tmp_path / "a.mrc")
    exposure(tmp_path / "b.mrcs"), exposure(tmp_path / "b.mrc")
    exposure(tmp_path / "c_aligned_DW.mrc")
    names = [path.name for path in found(tmp_path)]
    assert names == [movie.name, "b.mrc", "b.mrcs", "c_aligned_DW.mrc"]
    assert found(total) == [total]
    exposure(tmp_path / "c.mrc")
    assert "c_aligned_DW.mrc" not in [path.name for path in found(tmp_path)]


def test_the_gain_reference_is_no_exposure(tmp_path: Path) -> None:
    exposure(tmp_path / "a.mrc"), exposure(tmp_path / "again.mrc")
    camera = exposure(tmp_path / "K3-2020.mrc")
    for name in ("gain.mrc", "K3_GainRef_x1.mrc", "CountRef_1.mrc", "defects.mrc", "CameraGain.mrc"):
        exposure(tmp_path / name)
    assert [path.name for path in found(tmp_path, gain=camera)] == ["a.mrc", "again.mrc"]
    assert found(tmp_path / "gain.mrc") == [tmp_path / "gain.mrc"]
    with pytest.raises(BadInput, match="2 gain references or defect maps"):
        found(tmp_path / "gain.mrc", tmp_path / "defects.mrc")


def test_one_folder_for_each_square_is_searched_and_links_are_followed(tmp_path: Path) -> None:
    exposure(tmp_path / "disk" / "sq1" / "a.mrc"), exposure(tmp_path / "disk" / "sq2" / "b.mrc")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sq1").symlink_to(tmp_path / "disk" / "sq1")
    (tmp_path / "mine" / "two.mrc").symlink_to(tmp_path / "disk" / "sq2" / "b.mrc")
    (tmp_path / "disk" / "sq1" / "loop").symlink_to(tmp_path / "disk")
    assert found(tmp_path / "disk") == [tmp_path / "disk/sq1/a.mrc", tmp_path / "disk/sq2/b.mrc"]
    # The name of the link stays, and a file under two names is one exposure.
    assert found(tmp_path / "mine" / "*.mrc", tmp_path / "disk") == [
        tmp_path / "mine" / "two.mrc",
        tmp_path / "disk" / "sq1" / "a.mrc",
    ]


def test_a_session_below_is_not_searched(tmp_path: Path) -> None:
    exposure(tmp_path / "sq1" / "a.mrc"), exposure(tmp_path / "session" / "motion" / "a.mrc")
    (tmp_path / "session" / "session.yaml").touch()
    assert found(tmp_path) == [tmp_path / "sq1" / "a.mrc"]


def test_a_text_list_names_exposures(exposures: Path) -> None:
    listed = exposures.parent / "list.txt"
    listed.write_text("# mine\n data/mic_2.mrc \n\ndata/mic_0.mrc  # good\ndata/gone.mrc\n")
    assert [path.name for path in found(listed)] == ["mic_2.mrc", "mic_0.mrc", "gone.mrc"]
    listed.write_text("gone.mrc\n")
    with pytest.raises(BadInput, match="none of the 1 files that it names is there"):
        found(listed)


STAR = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnMicrographOriginalPixelSize #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
1 0.83 300.0 2.7 0.07
2 0.83 300.0 1.4 0.07

data_movies

loop_
_rlnMicrographMovieName #1
_rlnOpticsGroup #2
Import/data/mic_1.mrc 1
Import/data/mic_0.mrc 2
"""


def test_a_star_file_names_exposures_from_its_project_and_states_their_optics(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for number in range(2):
        exposure(project / "Import" / "data" / f"mic_{number}.mrc")
    star = project / "Import" / "job001" / "movies.star"
    star.parent.mkdir()
    star.write_text(STAR)
    inputs = find_exposures([str(star)])
    assert [path.name for path in inputs.paths] == ["mic_1.mrc", "mic_0.mrc"]
    # The spherical aberrations contradict each other, so none is stated.
    assert inputs.optics == {"pixel_size_A": 0.83, "voltage_kV": 300.0, "amplitude_contrast": 0.07}


def test_a_star_file_without_optics_is_a_list(exposures: Path) -> None:
    star = exposures.parent / "old.star"
    star.write_text("data_\n\nloop_\n_rlnMicrographName\ndata/mic_0.mrc\ndata/mic_1.mrc\n")
    assert [path.name for path in found(star)] == ["mic_0.mrc", "mic_1.mrc"]
    star.write_text("data_\nloop_\n_rlnVoltage\n300\n")
    with pytest.raises(BadInput, match="names no exposures"):
        found(star)
    star.write_text("not a star file")
    with pytest.raises(BadInput, match=r"old\.star: not a readable STAR file"):
        found(star)


def test_what_a_session_knew_and_has_gone_costs_itself_only(exposures: Path) -> None:
    inputs = find_exposures(["mic_0.mrc", "gone.mrc"], exposures)
    assert [path.name for path in inputs.paths] == ["mic_0.mrc", "gone.mrc"]
