"""Every rule of the verdict, with facts that just make it apply."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from scherzer.study.comparisons import Difference
from scherzer.study.defocus import DefocusPair, GroupDefocus
from scherzer.study.evidence import Curation, Evidence, curation_of, subject_of
from scherzer.study.intervals import Interval, Unknown
from scherzer.study.reslog import Need
from scherzer.study.underfocus import recommend_underfocus
from scherzer.study.verdict import RULES, decide

NEED = Need(Interval(120.0, 80.0, 200.0, "m"), 80.0)
SOUND = Evidence(
    curation=Curation(40, 2, 0, {"drift": 2}, 5000, 3800, 4.5, (0.9, 2.4)),
    symmetry_order=24,
    start_resolution_A=20.0,
    target_resolution_A=4.0,
    resolution=Interval(5.2, 4.9, 5.6, "m"),
    nyquist_A=3.0,
    need=NEED,
)


def curated(**changes) -> Evidence:
    return replace(SOUND, curation=replace(SOUND.curation, **changes))


def difference(first: str, second: str, low: float, high: float, separated: bool) -> Difference:
    return Difference(first, second, Interval((low + high) / 2, low, high, "m"), Unknown(""), {}, 0.01, separated)


def group(low: float, high: float) -> GroupDefocus:
    middle = (low + high) / 2
    return GroupDefocus(20, (low, low, middle, middle, middle, high, high), Unknown(""), 4.5)


COMPARED = replace(
    SOUND,
    equal_particles=(difference("good", "moderate", 0.4, 0.9, True),),
    equal_micrographs=(difference("good", "moderate", 0.5, 1.5, True),),
    control_shows_effect=False,
    defocus={"good": group(1.52, 2.71), "moderate": group(0.84, 2.07)},
    defocus_pairs=(DefocusPair("good", "moderate", 0.3, Interval(0.9, 0.8, 1.0, "m")),),
)

NO_SIGNAL = Unknown("not clearly finer than the start map", 19.5)
WHY = "the half-maps do not agree beyond 14.0 A"
NO_NEED = Need(Unknown("no ladder"), None)

CASES = [
    ("nothing readable", "cannot_tell", curated(accepted=0, rejected=0, failed=9)),
    ("mostly rejected", "improve", curated(accepted=8, rejected=30, rejected_for={"ice": 25, "drift": 5})),
    ("nothing classifies", "stop", curated(selected=20)),
    ("too few", "cannot_tell", curated(selected=150, picked=400)),
    ("too few", "cannot_tell", curated(accepted=4)),
    ("poor CTF fits", "improve", curated(ctf_fit_resolution_A=14.0)),
    ("no structure", "stop", replace(curated(selected=6000, picked=9000), resolution=NO_SIGNAL, need=NO_NEED)),
    ("not yet", "cannot_tell", replace(SOUND, resolution=NO_SIGNAL, need=NO_NEED)),
    ("not yet", "cannot_tell", replace(SOUND, resolution=Unknown("none"), need=NO_NEED)),
    (
        "no structure",
        "stop",
        replace(curated(selected=6000, picked=9000), structure="no structure", structure_reason=WHY),
    ),
    ("not yet", "cannot_tell", replace(SOUND, structure="no structure", structure_reason=WHY)),
    ("not certain", "cannot_tell", replace(SOUND, structure="not certain", structure_reason=WHY)),
    ("out of reach", "improve", replace(SOUND, need=Need(Unknown("far"), 9000.0))),
    ("need known", "collect", SOUND),
    ("need known", "collect", replace(SOUND, resolution=Interval(3.8, 3.7, 3.9, "m"), need=NO_NEED)),
    ("helices", "collect", replace(SOUND, need=NO_NEED)),
    ("otherwise", "cannot_tell", replace(SOUND, resolution=Interval(14.0, 12.0, 15.0, "m"), need=NO_NEED)),
]


@pytest.mark.parametrize(("rule", "decision", "evidence"), CASES)
def test_rule(rule: str, decision: str, evidence: Evidence):
    verdict = decide(evidence)
    assert (verdict.rule, verdict.decision) == (rule, decision)
    assert verdict.sentence.endswith(".")
    assert any(character.isdigit() for character in verdict.sentence)
    assert verdict.reasons
    if decision != "collect":
        assert verdict.next
        assert verdict.underfocus.low_um is None
    entry = verdict.to_json()
    assert entry["underfocus_um"]["reason"]
    assert entry["micrographs_needed"]["target_resolution_A"] == 4.0


def test_every_rule_is_tested():
    assert {case[0] for case in CASES} == {rule.name for rule in RULES}


@pytest.mark.parametrize("structure", ["no structure", "not certain"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_without_a_certain_structure_nothing_is_collected(structure: str, case: tuple[str, str, Evidence]):
    """Whatever the resolution and the need are; a verdict that rests on the map says why."""
    verdict = decide(replace(case[2], structure=structure, structure_reason=WHY))
    assert verdict.decision != "collect"
    assert verdict.underfocus.low_um is None
    assert any(WHY in line for line in verdict.reasons)
    if verdict.rule in ("no structure", "not yet", "not certain") and structure == "no structure":
        assert WHY in verdict.sentence


def test_a_structure_is_a_reason_and_changes_no_decision():
    verdict = decide(replace(SOUND, structure="structure", structure_reason=WHY))
    assert verdict.decision == "collect"
    assert f"Structure: {WHY}." in verdict.reasons


def test_rejections_for_ice_lead_to_thinner_ice():
    verdict = decide(CASES[1][2])
    assert "30 of 38" in verdict.sentence
    assert "ice" in verdict.next[0]


def test_single_defocus_gets_no_range_but_a_defocus_ladder():
    verdict = decide(replace(COMPARED, curation=replace(SOUND.curation, underfocus_um=(1.75, 1.9))))
    assert verdict.decision == "collect"
    assert verdict.underfocus.low_um is None
    assert "one setting" in verdict.underfocus.reason
    assert any("one defocus" in step for step in verdict.next)


def test_separated_groups_give_the_better_groups_range_in_the_sentence():
    verdict = decide(COMPARED)
    assert (verdict.underfocus.low_um, verdict.underfocus.high_um) == (1.52, 2.71)
    assert "1.5 to 2.7 um" in verdict.sentence
    assert "0.65" in verdict.underfocus.reason


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"equal_particles": (difference("good", "moderate", -0.2, 0.9, False),)}, "told apart"),
        ({"control_shows_effect": True}, "shuffled"),
        ({"equal_micrographs": (difference("good", "moderate", -1.5, -0.5, True),)}, "other way round"),
        ({"defocus_pairs": (DefocusPair("good", "moderate", 0.9, Interval(0.55, 0.4, 0.7, "m")),)}, "same underfocus"),
        ({"equal_particles": (), "no_comparison": "only good is present"}, "only good"),
    ],
)
def test_no_range_without_evidence(changes: dict, why: str):
    found = recommend_underfocus(replace(COMPARED, **changes))
    assert found.low_um is None
    assert why in found.reason


def test_groups_not_told_apart_share_the_range():
    three = replace(
        COMPARED,
        equal_particles=(
            difference("good", "moderate", -0.2, 0.5, False),
            difference("good", "bad", 0.8, 1.5, True),
            difference("moderate", "bad", 0.5, 1.2, True),
        ),
        equal_micrographs=(),
        defocus={**COMPARED.defocus, "bad": group(0.31, 1.2)},
        defocus_pairs=(
            DefocusPair("good", "bad", 0.1, Interval(0.97, 0.9, 1.0, "m")),
            DefocusPair("moderate", "bad", 0.3, Interval(0.85, 0.7, 1.0, "m")),
        ),
    )
    found = recommend_underfocus(three)
    assert (found.low_um, found.high_um) == (0.84, 2.71)


def test_the_worse_contrast_may_win():
    found = recommend_underfocus(
        replace(COMPARED, equal_particles=(difference("good", "moderate", -0.9, -0.4, True),), equal_micrographs=())
    )
    assert (found.low_um, found.high_um) == (0.84, 2.07)


def test_rejection_sentences_are_understood():
    assert subject_of("drifted: 41.3 A in all, 12.0 A allowed") == "drift"
    assert subject_of("empty: fewer than 5 particles and rings to 18 A only") == "empty"
    assert subject_of("crystalline ice: ring 3.1 times its neighbours") == "ice"
    assert subject_of("no Thon rings beyond 18 A") == "rings"
    assert subject_of("a device went twice round the slice") == "other"


def test_curation_counts_states_and_reasons():
    table = pd.DataFrame(
        {
            "sczState": ["accepted", "rejected", "rejected", "failed", "accepted"],
            "sczReason": ["", "drifted: 30 A", "ice", "truncated", ""],
            "rlnDefocusU": [1e4, 2e4, 2e4, None, 2e4],
            "rlnDefocusV": [1e4, 2e4, 2e4, None, 2e4],
            "rlnCtfMaxResolution": [4.0, 20.0, 20.0, None, 6.0],
        }
    )
    found = curation_of(table, 10, 5)
    assert (found.accepted, found.rejected, found.failed, found.readable) == (2, 2, 1, 4)
    assert found.rejected_for == {"drift": 1, "ice": 1}
    assert found.ctf_fit_resolution_A == 5.0
    assert found.underfocus_um == pytest.approx((1.05, 1.95))
