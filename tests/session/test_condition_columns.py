"""The condition network's opinion in the table of micrographs."""

from __future__ import annotations

import math

import pytest

from scherzer.micrographs.condition import Condition
from scherzer.micrographs.contrast.condition_network import LABELS
from scherzer.micrographs.contrast.condition_opinion import ConditionOpinion
from scherzer.session.stages.condition_columns import opinion_columns, with_opinion

ACCEPTED = Condition("accepted", "", "sound", ("carbon in 12%",))
REJECTED = Condition("rejected", "no particles", "empty")


def opinion(fine: float, drift: float, strangeness: float = 0.5) -> ConditionOpinion:
    return ConditionOpinion(dict(zip(LABELS, (fine, drift, 0.1, 0.1, 0.1, 0.1), strict=True)), strangeness)


def test_every_label_has_a_column() -> None:
    assert opinion_columns(opinion(0.9, 0.2)) == {
        "sczConditionFine": 0.9,
        "sczConditionDrift": 0.2,
        "sczConditionEmpty": 0.1,
        "sczConditionContamination": 0.1,
        "sczConditionCrystalline": 0.1,
        "sczConditionCarbon": 0.1,
        "sczStrangeness": 0.5,
    }


@pytest.mark.parametrize(
    ("verdict", "seen", "added"),
    [
        (ACCEPTED, opinion(0.1, 0.93), ("the condition network sees drift (0.93)",)),
        (ACCEPTED, opinion(0.8, 0.93), ()),
        (ACCEPTED, opinion(0.1, 0.3), ()),
        (REJECTED, opinion(0.1, 0.93), ()),
        (ACCEPTED, opinion(math.nan, math.nan, math.nan), ()),
    ],
)
def test_the_network_speaks_where_the_rules_accept_and_it_does_not(
    verdict: Condition, seen: ConditionOpinion, added: tuple[str, ...]
) -> None:
    assert with_opinion(verdict, seen) == verdict.notes + added


@pytest.mark.parametrize("verdict", [ACCEPTED, REJECTED])
def test_strange_images_are_noted_and_the_network_not_believed(verdict: Condition) -> None:
    *before, last = with_opinion(verdict, opinion(0.1, 0.93, 2.5))
    assert tuple(before) == verdict.notes
    assert last.startswith("unlike the images that the classifier has seen (2.5 times")
