"""The page as a reader gets it."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scherzer.report import ReportSettings
from scherzer.report import build_report as build_full_report
from scherzer.report.render import RenderSettings

# The whole page with fewer examples and coarse pictures: what is asserted here does not depend on their number.
QUICK = ReportSettings(1, 2, 1, 60, 1, 1, RenderSettings(width_px=32, supersampling=1, step_voxels=3.0))


def build_report(root: Path) -> Path:
    return build_full_report(root, QUICK)


def text_of(page: str) -> str:
    body = re.sub(r"<(style|script).*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


class Balance(HTMLParser):
    """Checks that what is opened is closed in order, and collects ids and what the page loads."""

    VOID = frozenset({"meta", "img", "br", "image", "line", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            if name in ("src", "href", "xlink:href", "action", "data") and value:
                self.loads.append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(session_root: Path) -> str:
    target = build_report(session_root)
    assert target == session_root / "report.html"
    return target.read_text(encoding="utf-8")


def test_the_verdict_comes_first_and_whole(page: str, session_root: Path) -> None:
    verdict = json.loads((session_root / "results.json").read_text())["verdict"]
    text = text_of(page.split("<body>")[1])
    assert verdict["decision"] == "collect"
    assert text.lstrip("✓ ").startswith("Collect")
    assert text.index("Underfocus to collect at") < text.index("Why") < text.index("Defocus by contrast class")
    low, high = verdict["underfocus_um"]["low"], verdict["underfocus_um"]["high"]
    assert f"{low:.1f}–{high:.1f} µm" in text


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    parser = Balance()
    parser.feed(page)
    assert not parser.open
    assert parser.loads
    for address in parser.loads:
        assert address.startswith(("data:image/", "#")), address[:60]
        if address.startswith("#"):
            assert address[1:] in parser.ids
    assert not re.search(r"https?://|url\(|@import|<script|<link", page)


def test_every_section_has_its_content(page: str) -> None:
    text = text_of(page)
    for expected in (
        "drifted: 41.3 Å in all, 12.0 Å allowed",
        "truncated: 3 of 16 frames are there",
        "13 of 20 classes kept",
        "off centre by 0.21 diameters",
        "E2: ",
        "E4: ",
        "E5: ",
        "E6: ",
        "B-factor of the ladder",
        "300 kV",
        "torch 2.13.0",
        "E7 (Micrographs chosen by defocus range instead of by class) was not done",
    ):
        assert expected in text, expected
    assert page.count("data:image/png") > 25
    assert page.count("data:image/svg") >= 8


def test_numbers_carry_their_intervals(page: str, session_root: Path) -> None:
    maps = json.loads((session_root / "results.json").read_text())["maps"]
    found = [m["resolution_fsc143_A"] for m in maps if m["resolution_fsc143_A"].get("low")]
    assert found
    text = text_of(page)
    assert re.search(r"\d\.\d+ \(\d\.\d+–\d\.\d+\)", text)
    assert found[0]["method"] in text


def test_the_same_session_gives_the_same_bytes(page: str, session_root: Path) -> None:
    again = build_report(session_root).read_text(encoding="utf-8")
    assert again == page


@pytest.mark.slow
def test_the_full_page_is_the_same_each_time_and_below_10_MB(make_session: Callable[..., Path], tmp_path: Path) -> None:
    root = make_session(tmp_path / "session", per_class=6, side=1024, box=80)
    first = build_full_report(root).read_text(encoding="utf-8")
    assert build_full_report(root).read_text(encoding="utf-8") == first
    assert len(first) < 10e6


def test_an_empty_folder_has_a_report_of_reasons(tmp_path: Path) -> None:
    text = text_of(build_report(tmp_path).read_text(encoding="utf-8").split("<body>")[1])
    assert text.lstrip("? ").startswith("No verdict yet")
    assert text.count("has not been run") >= 6
    assert "None" not in text


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ("results.json", "the stage 'study' has not been run"),
        ("class2d", "the stage 'class2d' has not been run"),
        ("refine", "the refinement kept no map"),
        ("abinitio", "along z"),
        ("pick", "picks whose 2D class was kept"),
        ("session.yaml", "processed with scherzer"),
        ("ctf", "the CTF stage kept no"),
        ("motion", "has not been run|image is not where|no micrograph's image was found"),
    ],
)
def test_a_stage_that_is_missing_is_missed_with_a_reason(
    gone: str, reason: str, session_root: Path, tmp_path: Path
) -> None:
    root = tmp_path / "session"
    shutil.copytree(session_root, root)
    target = root / gone
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    page = build_report(root).read_text(encoding="utf-8")
    assert re.search(reason, text_of(page))
    parser = Balance()
    parser.feed(page)
    assert not parser.open


def test_broken_files_are_named_and_the_rest_is_there(session_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "session"
    shutil.copytree(session_root, root)
    for path in (root / "class2d" / "classes.mrcs", root / "abinitio" / "map.mrc", root / "motion" / "good_0000.mrc"):
        path.write_bytes(b"\x00garbage" * 300)
    for path in (root / "refine").glob("*/fsc.star"):
        path.write_text("this is not STAR")
    for path in (root / "ctf").glob("*_profile.star"):
        path.write_text("data_\n\nloop_\n_rlnSomething #1\n1\n")
    text = text_of(build_report(root).read_text(encoding="utf-8"))
    assert text.count("Not known") >= 4
    assert "Collect" in text


def test_a_results_file_that_cannot_be_read_is_a_reason(session_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "session"
    shutil.copytree(session_root, root)
    (root / "results.json").write_text("{ truncated")
    text = text_of(build_report(root).read_text(encoding="utf-8").split("<body>")[1])
    assert "results.json cannot be read" in text
    assert "Underfocus by contrast class" in text  # from the STAR tables alone


@pytest.mark.parametrize(
    ("decision", "headline"),
    [("improve", "Improve the grid first"), ("stop", "Stop"), ("cannot_tell", "Cannot be told from these data")],
)
def test_other_verdicts_and_unknown_numbers(decision: str, headline: str, tmp_path: Path) -> None:
    verdict = {
        "decision": decision,
        "sentence": f"{headline}: 12 particles <b>&amp; more</b> reach 8.0 A.",
        "underfocus_um": {"low": None, "high": None, "reason": "one defocus only"},
        "reasons": ["2 of 12 accepted"],
        "next": ["take 20 at 1.5 um"],
        "micrographs_needed": {"value": None, "reason": "too few particles"},
    }
    (tmp_path / "results.json").write_text(json.dumps({"schema": 1, "verdict": verdict, "micrographs": [], "maps": []}))
    page = build_report(tmp_path).read_text(encoding="utf-8")
    text = text_of(page.split("<body>")[1])
    assert headline in text[:60]
    assert "one defocus only" in text
    assert "too few particles" in text
    assert "take 20 at 1.5 µm" in text
    assert "&lt;b&gt;" in page  # what a file says is never taken for markup


def test_report_of_one_class_without_comparison(make_session: Callable[..., Path], tmp_path: Path) -> None:
    root = make_session(tmp_path / "session", per_class=2, side=128, box=24, ladder=False)
    text = text_of(build_report(root).read_text(encoding="utf-8"))
    assert "not known" in text.lower()
    assert "rests on those alone" in text


def test_notes_on_accepted_micrographs_are_shown(session_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "session"
    shutil.copytree(session_root, root)
    results = json.loads((root / "results.json").read_text())
    for entry in results["micrographs"]:
        if entry["state"] == "accepted":
            entry |= {"note": "carbon in 17%", "ice_ring": 1.31}
    (root / "results.json").write_text(json.dumps(results))
    page = text_of(build_report(root).read_text(encoding="utf-8"))
    assert "carbon in 17%" in page
    assert "ice ring" in page
    assert "1.31" in page


def test_each_example_and_the_table_say_why_a_class(page: str) -> None:
    text = text_of(page)
    why = "good (0.80): d' 11.2 (9.6 to 13.1); particle-band power 1.8 times the noise"
    cards = re.findall(r'<figure class="card">.*?</figure>', page, flags=re.S)
    assert any(why in text_of(card) for card in cards)
    assert text.count(why) > sum(why in text_of(card) for card in cards)
    assert "why this contrast class" in text
    assert "11 (10\N{EN DASH}13)" in text
