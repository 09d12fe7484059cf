"""Movies through the motion stage: what is written of them, and what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile
import tifffile
from scipy import ndimage

from scherzer.formats.movie_writing import write_movie
from scherzer.formats.movies import open_exposure
from scherzer.formats.mrc import read_mrc
from scherzer.session.folder import Session
from scherzer.session.prepare import prepare
from scherzer.session.stages import import_, motion
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.workers import Workers

KNOWN = {"voltage_kV": 300.0, "cs_mm": 2.7, "pixel_size_A": 2.0, "dose_per_frame_e_per_A2": 1.0}
SIZE, FRAMES = 256, 6


def counts(seed: int = 0) -> np.ndarray:
    """Frames of a picture that moves right by 2 px and down in memory by 1 px from frame to frame."""
    generator = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(generator.normal(size=(SIZE, SIZE)), 1.5, mode="wrap")
    picture = 8 * np.clip(1 + 0.5 * blobs / blobs.std(), 0, None)
    frames = [generator.poisson(np.roll(picture, (number, 2 * number), (0, 1))) for number in range(FRAMES)]
    return np.stack(frames).astype(np.uint8)


def run(root: Path, folder: Path, workers: int = 1, even_odd: bool = False) -> tuple[Session, StageOutcome]:
    session, settings = prepare(root, [str(folder)], KNOWN, ())
    settings = replace(settings, motion=replace(settings.motion, even_odd_sums=even_odd))
    with Workers(workers) as pool:
        import_.run(session, settings, Context(pool))
        return session, motion.run(session, settings, Context(pool))


def shift_table(session: Session, row: pd.Series) -> pd.DataFrame:
    return starfile.read(session.absolute(row["rlnMicrographMetadata"]))["global_shift"]


def test_the_shifts_are_relions(tmp_path: Path) -> None:
    """RELION's shifts move the frame back: they grow where the picture's position falls."""
    write_movie(tmp_path / "data" / "m.tif", counts(), 2.0, FRAMES)
    session, _ = run(tmp_path / "s", tmp_path / "data")
    row = session.read("motion").rows.iloc[0]
    shifts = shift_table(session, row)
    steps = np.diff(shifts[["rlnMicrographShiftX", "rlnMicrographShiftY"]].to_numpy(), axis=0)
    frames = np.stack(list(open_exposure(tmp_path / "data" / "m.tif").frames()))
    down = 1 if np.array_equal(frames, counts()) else -1
    np.testing.assert_allclose(steps, np.tile([-2.0, -down], (FRAMES - 1, 1)), atol=0.05)
    assert shifts["rlnMicrographFrameNumber"].tolist() == list(range(1, FRAMES + 1))
    assert row["rlnAccumMotionTotal"] == pytest.approx(2.0 * 5 * np.hypot(2, 1), rel=0.01)
    assert row["rlnAccumMotionEarly"] == pytest.approx(2.0 * 3 * np.hypot(2, 1), rel=0.02)
    assert row["rlnAccumMotionEarly"] + row["rlnAccumMotionLate"] == pytest.approx(row["rlnAccumMotionTotal"])


def test_even_and_odd_sums_are_written_when_asked_for(tmp_path: Path) -> None:
    write_movie(tmp_path / "data" / "m.tif", counts(), 2.0, FRAMES)
    session, _ = run(tmp_path / "s", tmp_path / "data")
    assert "rlnMicrographNameEven" not in session.read("motion").rows
    session, outcome = run(tmp_path / "s", tmp_path / "data", even_odd=True)
    assert outcome.computed == 1
    row = session.read("motion").rows.iloc[0]
    assert (row["rlnMicrographNameEven"], row["rlnMicrographNameOdd"]) == ("motion/m_EVN.mrc", "motion/m_ODD.mrc")
    columns = ("rlnMicrographNameNoDW", "rlnMicrographNameEven", "rlnMicrographNameOdd")
    whole, even, odd = (read_mrc(session.absolute(row[name])).data for name in columns)
    np.testing.assert_allclose(even + odd, whole, atol=1e-3)
    assert even.mean() == pytest.approx(counts()[::2].sum(0).mean(), rel=1e-4)


def test_lost_frames_are_told(tmp_path: Path) -> None:
    frames = counts()
    frames[3] = 0
    write_movie(tmp_path / "data" / "m.tif", frames, 2.0, FRAMES)
    write_movie(tmp_path / "data" / "whole.tif", counts(1), 2.0, FRAMES)
    session, outcome = run(tmp_path / "s", tmp_path / "data")
    assert outcome.notes == ("m: frame 4 of 6 holds no picture: left out",)
    rows = session.read("motion").rows
    assert rows["sczState"].tolist() == ["accepted", "accepted"]
    assert rows["sczMotionNote"].tolist() == ["frame 4 of 6 holds no picture: left out", ""]
    shifts = shift_table(session, rows.iloc[0])
    assert shifts["sczFrameUsed"].tolist() == [1, 1, 1, 0, 1, 1]
    x = shifts["rlnMicrographShiftX"]
    assert x[3] == pytest.approx((x[2] + x[4]) / 2, abs=0.3)
    frames[0] = 0
    write_movie(tmp_path / "data" / "m.tif", frames, 2.0, FRAMES)
    _, outcome = run(tmp_path / "s", tmp_path / "data")
    assert outcome.notes == ("m: frames 1, 4 of 6 hold no picture: left out",)


def test_workers_change_no_byte(tmp_path: Path) -> None:
    for number in range(3):
        write_movie(tmp_path / "data" / f"m{number}.tif", counts(number), 2.0, FRAMES)
    folders = []
    for workers in (1, 2):
        session, outcome = run(tmp_path / f"s{workers}", tmp_path / "data", workers=workers)
        assert outcome.computed == 3
        folders.append(session.root / "motion")
    files = sorted(path.name for path in folders[0].iterdir() if path.is_file() and path.suffix in (".mrc", ".star"))
    assert len(files) == 3 * 3 + 1
    for name in files:
        one, two = ((folder / name).read_bytes() for folder in folders)
        # What tells the time of writing: an MRC file's header, a STAR file's first line.
        begins = [1024 if name.endswith(".mrc") else content.index(b"\n") for content in (one, two)]
        assert one[begins[0] :] == two[begins[1] :], name


def test_movies_of_real_numbers_and_of_no_picture(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    corrected = counts().astype(np.float32) * 1.01
    tifffile.imwrite(tmp_path / "data" / "real.tif", corrected)
    tifffile.imwrite(
        tmp_path / "data" / "flat.tif", np.stack([np.full((SIZE, SIZE), value, np.uint8) for value in (1, 2)])
    )
    session, _ = run(tmp_path / "s", tmp_path / "data")
    rows = session.read("motion").rows.set_index("sczName")
    assert rows.loc["real", "sczState"] == "accepted"
    assert read_mrc(session.absolute(rows.loc["real", "rlnMicrographNameNoDW"])).data.mean() == pytest.approx(
        corrected.sum(0).mean(), rel=1e-4
    )
    assert rows.loc["flat", "sczState"] == "failed"
    assert "no frame of the movie holds a picture" in rows.loc["flat", "sczReason"]
