"""The camera's pixels in a session: gain reference turned, defects replaced, and every doubt told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scherzer.formats.errors import BadInput
from scherzer.formats.movie_writing import write_movie
from scherzer.formats.mrc import read_mrc, write_mrc
from scherzer.micrographs.gain_orientation import turned
from scherzer.session.folder import Session
from scherzer.session.prepare import prepare
from scherzer.session.stages import import_, motion
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.workers import Workers

KNOWN = {"voltage_kV": 300.0, "cs_mm": 2.7, "pixel_size_A": 1.0, "dose_per_frame_e_per_A2": 1.0}
SHAPE = (192, 256)
FRAMES = 10


def gain_of(seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 0.05, shape).astype(np.float32)


def movies(folder: Path, response: np.ndarray, count: int = 3, hot: tuple[int, int] | None = None) -> Path:
    for number in range(count):
        frames = np.random.default_rng(number).poisson(3.0 * response, (FRAMES, *response.shape)).astype(np.uint8)
        if hot is not None:
            frames[:, hot[0], hot[1]] = 200
        write_movie(folder / f"m{number}.tif", frames, 1.0, FRAMES)
    return folder


def run(root: Path, folder: Path, **stated: object) -> tuple[Session, StageOutcome]:
    session, settings = prepare(root, [str(folder)], {**KNOWN, **stated}, ())
    with Workers(1) as workers:
        import_.run(session, settings, Context(workers))
        return session, motion.run(session, settings, Context(workers))


@pytest.mark.parametrize(("rotation", "flip"), [(0, 0), (2, 0), (0, 1), (2, 1)])
def test_the_reference_is_turned_as_the_movies_show(tmp_path: Path, rotation: int, flip: int) -> None:
    gain = gain_of()
    lying = turned(gain, rotation, flip)
    folder = movies(tmp_path / "data", 1 / lying)
    write_mrc(tmp_path / "ref.mrc", gain, 1.0)
    session, outcome = run(tmp_path / "s", folder, gain=tmp_path / "ref.mrc")
    np.testing.assert_array_equal(read_mrc(session.root / "camera" / "gain.mrc").data, lying)
    assert f"--gain_rot {rotation} --gain_flip {flip} in RELION; found from 3 movies" in outcome.notes[0]
    # What is left of the pattern in the sums is the noise of counting.
    sums = [read_mrc(session.root / "motion" / f"m{number}_noDW.mrc").data for number in range(3)]
    mean = np.mean(sums, axis=0)
    assert abs(np.corrcoef((1 / lying).ravel(), mean.ravel())[0, 1]) < 0.03
    facts = json.loads((session.root / "camera" / "camera.json").read_text())
    assert facts["gain"]["lead_sigma"] > 6
    assert facts["defects"] == 0


def test_a_camera_on_its_side_is_found_too(tmp_path: Path) -> None:
    gain = gain_of(shape=(256, 192))
    folder = movies(tmp_path / "data", 1 / turned(gain, 3, 0))
    write_mrc(tmp_path / "ref.mrc", gain, 1.0)
    session, outcome = run(tmp_path / "s", folder, gain=tmp_path / "ref.mrc")
    assert "turned by 270 degrees (--gain_rot 3 --gain_flip 0 in RELION" in outcome.notes[0]
    np.testing.assert_array_equal(read_mrc(session.root / "camera" / "gain.mrc").data, turned(gain, 3, 0))


def test_what_a_user_says_of_the_orientation_holds_and_a_contradiction_is_told(tmp_path: Path) -> None:
    gain = gain_of()
    folder = movies(tmp_path / "data", 1 / gain)
    write_mrc(tmp_path / "ref.mrc", gain, 1.0)
    session, outcome = run(tmp_path / "s", folder, gain=tmp_path / "ref.mrc", gain_rotation=2)
    np.testing.assert_array_equal(read_mrc(session.root / "camera" / "gain.mrc").data, turned(gain, 2, 0))
    assert outcome.notes[0].startswith("gain reference turned as stated (--gain_rot 2 --gain_flip 0 in RELION), though")
    session, outcome = run(tmp_path / "s", folder, gain_rotation=0)
    assert outcome.computed == 3
    assert outcome.notes[0] == "gain reference turned as stated (--gain_rot 0 --gain_flip 0 in RELION)"


def test_a_reference_to_divide_by_is_told_from_one_to_multiply_by(tmp_path: Path) -> None:
    gain = gain_of()
    folder = movies(tmp_path / "data", gain)
    write_mrc(tmp_path / "ref.mrc", gain, 1.0)
    session, outcome = run(tmp_path / "s", folder, gain=tmp_path / "ref.mrc")
    assert outcome.notes[0].endswith("; the frames are divided by it, for they follow it")
    np.testing.assert_allclose(read_mrc(session.root / "camera" / "gain.mrc").data, 1 / gain, rtol=1e-6)


def test_corrected_movies_and_a_foreign_reference_are_told(tmp_path: Path) -> None:
    write_mrc(tmp_path / "ref.mrc", gain_of(), 1.0)
    corrected = movies(tmp_path / "corrected", np.ones(SHAPE))
    session, outcome = run(tmp_path / "s", corrected, gain=tmp_path / "ref.mrc")
    assert "its pattern is not in the frames" in outcome.notes[0]
    assert "they look corrected already: if so, leave --gain out" in outcome.notes[0]
    np.testing.assert_array_equal(read_mrc(session.root / "camera" / "gain.mrc").data, gain_of())
    foreign = movies(tmp_path / "foreign", 1 / gain_of(7))
    _, outcome = run(tmp_path / "t", foreign, gain=tmp_path / "ref.mrc")
    assert "is it the reference of this camera and mode?" in outcome.notes[0]


def test_with_too_few_electrons_the_reference_is_used_as_given_and_the_doubt_is_told(tmp_path: Path) -> None:
    gain = gain_of()
    folder = movies(tmp_path / "data", 0.001 / turned(gain, 2, 0))
    write_mrc(tmp_path / "ref.mrc", gain, 1.0)
    session, outcome = run(tmp_path / "s", folder, gain=tmp_path / "ref.mrc")
    assert outcome.notes[0].startswith("how the gain reference lies on the frames cannot be told (the likeliest")
    np.testing.assert_array_equal(read_mrc(session.root / "camera" / "gain.mrc").data, gain)


def test_a_missing_reference_is_noticed_and_clean_movies_need_no_word(tmp_path: Path) -> None:
    _, outcome = run(tmp_path / "s", movies(tmp_path / "raw", 1 / gain_of()))
    assert outcome.notes[0].startswith("pixels deviate alike in all movies, by 5.")
    session, outcome = run(tmp_path / "t", movies(tmp_path / "clean", np.ones(SHAPE)))
    assert outcome.notes == ()
    assert not (session.root / "camera" / "gain.mrc").exists()


def test_a_reference_that_fits_in_no_orientation_is_refused(tmp_path: Path) -> None:
    folder = movies(tmp_path / "data", np.ones(SHAPE))
    write_mrc(tmp_path / "ref.mrc", gain_of(shape=(128, 128)), 1.0)
    with pytest.raises(BadInput, match="gain reference is 128 x 128"):
        run(tmp_path / "s", folder, gain=tmp_path / "ref.mrc")


def test_defects_found_and_given_are_replaced(tmp_path: Path) -> None:
    folder = movies(tmp_path / "data", np.ones(SHAPE), hot=(50, 60))
    (tmp_path / "bad.txt").write_text("10 20 1 1\n")
    session, outcome = run(tmp_path / "s", folder, defects=tmp_path / "bad.txt")
    assert outcome.notes == ("2 bad pixels are replaced by their neighbours, 1 of them as given",)
    assert np.argwhere(read_mrc(session.root / "camera" / "defects.mrc").data).tolist() == [[20, 10], [50, 60]]
    sums = read_mrc(session.root / "motion" / "m0_noDW.mrc").data
    assert abs(sums[50, 60] - 30) < 25


def test_one_movie_is_not_asked_for_defects(tmp_path: Path) -> None:
    session, outcome = run(tmp_path / "s", movies(tmp_path / "data", np.ones(SHAPE), 1, hot=(50, 60)))
    assert outcome.notes == ()
    assert not (session.root / "camera" / "defects.mrc").exists()


def test_a_movie_that_cannot_be_read_is_not_looked_at(tmp_path: Path) -> None:
    folder = movies(tmp_path / "data", 1 / gain_of(), 4)
    whole = (folder / "m0.tif").read_bytes()
    (folder / "m0.tif").write_bytes(whole[:3000] + bytes(2000) + whole[5000:])
    write_mrc(tmp_path / "ref.mrc", gain_of(), 1.0)
    session, outcome = run(tmp_path / "s", folder, gain=tmp_path / "ref.mrc")
    assert "found from 3 movies" in outcome.notes[0]
    assert session.read("motion").rows["sczState"].tolist() == ["failed", "accepted", "accepted", "accepted"]


def test_a_second_run_repeats_nothing_and_another_reference_everything(tmp_path: Path) -> None:
    folder = movies(tmp_path / "data", 1 / gain_of())
    write_mrc(tmp_path / "ref.mrc", gain_of(), 1.0)
    _, first = run(tmp_path / "s", folder, gain=tmp_path / "ref.mrc")
    _, again = run(tmp_path / "s", folder)
    assert (first.computed, again.computed) == (3, 0)
    assert again.notes == first.notes
    write_mrc(tmp_path / "ref.mrc", gain_of() * np.float32(1.1), 1.0)
    _, other = run(tmp_path / "s", folder)
    assert other.computed == 3
