"""What the figures are drawn from: curves, classes, picks, experiments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile

from scherzer.formats.mrc import write_mrc
from scherzer.report.columns import A, column_of, table_of
from scherzer.report.data import Micrograph, gather
from scherzer.report.experiments import estimates, view_of
from scherzer.report.figures_classes import ClassTile, tiles, within_mask
from scherzer.report.figures_defocus import defocus_by_class
from scherzer.report.figures_fsc import ResolutionCurves, fitted_line, read_curves
from scherzer.report.figures_micrographs import MicrographPicture, choose_examples, kind_of_reason, picture
from scherzer.report.reslog_view import ResLogView, reslog_plot
from scherzer.report.style import subset_colours
from scherzer.report.tables import Missing


def micrograph(
    name: str, state: str = "accepted", label: str | None = "good", defocus_A: float = 1e4, reason: str = ""
) -> Micrograph:
    record = {
        "name": name,
        "state": state,
        "reason": reason,
        "defocus_u_A": defocus_A + 100,
        "defocus_v_A": defocus_A - 100,
    }
    return Micrograph(
        {**record, "contrast": {"label": label} if label else None}, f"motion/{name}.mrc", Path(f"/{name}"), None, None
    )


def test_defocus_is_grouped_by_class_without_rejected_exposures() -> None:
    found = defocus_by_class(
        [micrograph("a", defocus_A=2e4), micrograph("b", label="bad", defocus_A=5e3), micrograph("c", state="rejected")]
    )
    by_label = {group.label: group.underfocus_um.tolist() for group in found}
    assert by_label == {"good": [2.0], "moderate": [], "bad": [0.5]}


def test_examples_cover_every_class_and_different_reasons() -> None:
    some = [micrograph(f"g{i}", defocus_A=1e4 + i) for i in range(9)] + [micrograph("m", label="moderate")]
    down = [micrograph(f"d{i}", "rejected", None, reason=f"drifted: {i} A") for i in range(3)]
    chosen = choose_examples([*some, *down, micrograph("e", "rejected", None, reason="empty: no rings")], 3, 2)
    assert [m.name for m in chosen] == ["g0", "g4", "g8", "m", "d0", "e"]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("drifted: 41.3 A in all", "drifted"),
        ("moved 12 A in the first frames", "moved"),
        ("image is 200 x 100 px, the session's are 400 x 300", "image is"),
        ("not an MRC file", "not an MRC file"),
        ("", "no reason recorded"),
    ],
)
def test_reasons_are_counted_by_kind(reason: str, kind: str) -> None:
    assert kind_of_reason(reason) == kind


def test_picks_are_drawn_where_they_are_and_told_apart(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", np.random.default_rng(0).normal(size=(400, 800)).astype(np.float32), 2.0, "image")
    picks = pd.DataFrame(
        {
            "rlnMicrographName": ["a", "a", "b"],
            "rlnCoordinateX": [100.0, 600.0, 5.0],
            "rlnCoordinateY": [50.0, 300.0, 5.0],
        }
    )
    one = Micrograph({"name": "a"}, "a", tmp_path / "a.mrc", None, None)
    drawn = picture(one, picks, picks.iloc[[1]], diameter_A=120.0, pixel_size_A=None)
    assert isinstance(drawn, MicrographPicture)
    assert (drawn.width, drawn.height) == (400, 200)
    assert drawn.radius == pytest.approx(15.0)
    assert [(c.x, c.y, c.kept) for c in drawn.circles] == [(50.0, 25.0, False), (300.0, 150.0, True)]
    assert drawn.bar_px == pytest.approx(10 * drawn.bar_nm / 2.0 / 2)


def test_a_broken_micrograph_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "a.mrc").write_bytes(b"not an image" * 200)
    found = picture(Micrograph({"name": "a"}, "a", tmp_path / "a.mrc", None, None), None, None, None, None)
    assert isinstance(found, Missing)
    assert found.reason


def test_guinier_line_gives_the_b_factor(tmp_path: Path) -> None:
    k = np.arange(1, 60) / 180.0
    fsc = pd.DataFrame({"rlnResolution": k, "rlnFourierShellCorrelationCorrected": 1 - k})
    inside = ((k > 0.1) & (k < 0.25)).astype(int)
    guinier = pd.DataFrame(
        {"rlnResolutionSquared": k**2, "rlnLogAmplitudesWeighted": 5 - 25.0 * k**2, "sczInGuinierFit": inside}
    )
    starfile.write({"fsc": fsc, "guinier": guinier}, tmp_path / "fsc.star")
    curves = read_curves(tmp_path / "fsc.star")
    assert isinstance(curves, ResolutionCurves)
    assert set(curves.curves) == {"corrected"}
    assert not isinstance(curves.guinier, Missing)
    line = fitted_line(curves.guinier)
    assert line is not None
    assert 4 * line[0] == pytest.approx(-100.0, rel=1e-4)


def test_curves_that_are_not_there_say_so(tmp_path: Path) -> None:
    assert isinstance(read_curves(None), Missing)
    assert isinstance(read_curves(tmp_path / "fsc.star"), Missing)
    starfile.write({"x": pd.DataFrame({"a": [1, 2]})}, tmp_path / "x.star")
    found = read_curves(tmp_path / "x.star")
    assert isinstance(found, Missing)
    assert "rlnResolution" in found.reason


def test_classes_come_by_population_whether_kept_or_not(session_root: Path) -> None:
    gallery = gather(session_root).galleries[0]
    found = tiles(gallery, 60)
    assert not isinstance(found, Missing)
    assert all(isinstance(tile, ClassTile) for tile in found)
    assert [tile.number for tile in found] == list(range(1, len(gallery.classes)))  # the last class is empty
    assert [tile.kept for tile in found[:3]] == [True, True, False]
    assert all(tile.reason for tile in found if not tile.kept)
    assert found[0].lines == ("400 particles", f"8.2 {A}")
    both = replace(gallery, classes=gallery.classes.assign(sczResolution143=7.0))
    assert tiles(both, 60)[0].lines == ("400 particles", f"8.2 (7.0) {A}")


def test_averages_are_cut_to_their_mask() -> None:
    images = np.zeros((2, 40, 40), dtype=np.float32)
    images[0, 20, 20], images[1, 11, 22] = 1.0, -1.0
    cut = within_mask(images)
    assert cut.shape == (2, 22, 22)
    assert cut[0, 11, 11] == 1
    assert within_mask(images + 1).shape == images.shape
    assert within_mask(0 * images).shape == images.shape


def test_every_subset_has_a_colour_and_classes_keep_theirs() -> None:
    colours = subset_colours(
        ["all selected", "good, selected", "good + moderate, selected", "bad, all picked", "odd", "even"]
    )
    assert colours["good, selected"] == "#0072B2"
    assert (
        len({colours[name] for name in ("all selected", "good, selected", "good + moderate, selected", "odd", "even")})
        == 5
    )


EXPERIMENT = {
    "title": "Equal counts",
    "performed": True,
    "reason": "",
    "notes": ["repeats were lowered"],
    "particles_per_draw": [400, 410],
    "equal_particles": {
        "bands": ["20-12 A"],
        "groups": {
            "good": {
                "draw_resolutions_A": [4.1, 4.3],
                "resolution_fsc143_A": {"value": 4.2, "low": 4.0, "high": 4.4, "method": "t"},
            },
            "bad": {
                "draw_resolutions_A": [None, 9.0],
                "resolution_fsc143_A": {"value": None, "reason": "1 of 2 draws found no resolution"},
            },
        },
        "differences": [
            {
                "first": "good",
                "second": "bad",
                "ln_ssnr": {"value": 1.0, "low": 0.5, "high": 1.5, "method": "t"},
                "ln_ssnr_by_band": {"20-12 A": {"value": 1.0, "low": 0.5, "high": 1.5, "method": "t"}},
                "resolution_fsc143_A": {"value": None, "reason": "a draw found no resolution"},
            }
        ],
    },
    "equal_micrographs": {"performed": False, "reason": "no repeats"},
}


def test_an_experiment_is_laid_out_with_its_reasons() -> None:
    view = view_of("E5", EXPERIMENT)
    assert view.title == "Equal counts"
    assert view.texts == ("Repeats were lowered.",)
    facts = {fact.heading: fact.text for fact in view.facts}
    assert facts["particles per draw"] == "400, 410"
    assert facts["equal micrographs"] == "not known: no repeats"
    groups, differences, bands = (named.table for named in view.tables)
    assert [cell.text for cell in groups.rows[0]] == ["good", "4.10, 4.30", "4.2 (4.0–4.4)"]
    assert groups.rows[1][2].text == "not known"
    assert any("1 of 2 draws found no resolution" in text for _, text in groups.notes)
    assert any(column.heading.startswith("first minus second") for column in differences.columns)
    assert [column.heading for column in bands.columns] == ["first", "second", "20-12 A"]


def test_an_experiment_that_was_not_done_says_why() -> None:
    assert view_of("E5", {"performed": False, "reason": "one group only"}).missing == "one group only"
    assert view_of("E7", None).missing


def test_only_groups_enter_the_comparison() -> None:
    found = estimates({"E5": EXPERIMENT, "E6": {"joined": {"particles": 9, "resolution_fsc143_A": 5.0}}}, ("E5", "E6"))
    assert [(e.experiment, e.label, e.draws_A) for e in found] == [
        ("E5", "equal particles, good", (4.1, 4.3)),
        ("E6", "joined", ()),
    ]


def test_reslog_line_passes_through_its_points_and_stops_at_the_target() -> None:
    slope, intercept = 0.006, 0.012
    points = [
        {"rung": str(n), "particles": n, "resolution_fsc143_A": (intercept + slope * np.log(n)) ** -0.5}
        for n in (500, 1000, 2000)
    ]
    entry = {
        "points": [*points, {"rung": "all", "particles": 4000, "resolution_fsc143_A": 3.0}],
        "slope_per_A2": {"value": slope, "low": 0.004, "high": 0.008, "method": ""},
        "intercept_per_A2": intercept,
        "bfactor_A2": {"value": 333.0, "low": 250.0, "high": 500.0, "method": ""},
        "target_resolution_A": 4.0,
        "dropped": ["all: at 95% of Nyquist or beyond"],
    }
    found = reslog_plot({"experiments": {"ResLog": entry}})
    assert isinstance(found, ResLogView)
    assert [point.used for point in found.plot.points] == [True, True, True, False]
    line = dict(zip(found.plot.line_particles, found.plot.line_inverse_square, strict=True))
    assert line[2000.0] == pytest.approx(found.plot.points[2].inverse_square)
    assert found.plot.line_inverse_square[-1] > 4.0**-2
    assert found.facts[0] == ("B-factor of the ladder", "333\N{NO-BREAK SPACE}Å² (250–500)")
    flat = reslog_plot(
        {"experiments": {"ResLog": {**entry, "slope_per_A2": {"value": slope, "low": -0.001, "high": 0.01}}}}
    )
    assert isinstance(flat, ResLogView)
    assert max(flat.plot.line_particles) == pytest.approx(2000.0)


def test_no_ladder_is_a_reason() -> None:
    assert isinstance(reslog_plot({}), Missing)
    assert reslog_plot({"experiments": {"ResLog": {"points": [], "reason": "2 usable"}}}) == Missing("2 usable")


def test_columns_read_units_from_keys_and_scale_to_the_page() -> None:
    assert column_of("dose_e_per_A2").unit == "e/Å²"
    assert column_of("early_motion_A").heading == "early motion"
    table = table_of(
        [{"name": "a", "defocus_u_A": 12345.0}, {"name": "b", "defocus_u_A": None, "reason": "no rings"}],
        ("name", "defocus_u_A"),
    )
    assert table.rows[0][1].text == "1.23"
    assert table.rows[1][1].text == "not known"
    assert table.notes == (("a", "not known: no rings"),)
    assert table.rows[1][1].mark == "a"
