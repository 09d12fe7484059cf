"""The top of the page: the verdict in words and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scherzer.report.columns import UM, A
from scherzer.report.data import Micrograph, SessionData
from scherzer.report.words import bounds_of, method_of, number_of, plain_number, quantity, span, unknown


@dataclass(frozen=True)
class Decision:
    """How one decision is worded and coloured; ``mark`` tells it apart without colour."""

    headline: str
    tone: str
    mark: str


DECISIONS = {
    "collect": Decision("Collect", "collect", "✓"),
    "improve": Decision("Improve the grid first", "improve", "↻"),
    "stop": Decision("Stop", "stop", "✕"),
    "cannot_tell": Decision("Cannot be told from these data", "unknown", "?"),
}
NO_DECISION = Decision("No verdict yet", "unknown", "?")


@dataclass(frozen=True)
class Answer:
    """One labelled number of the verdict."""

    heading: str
    text: str
    note: str
    known: bool


@dataclass(frozen=True)
class VerdictView:
    """Everything at the top of the page, in the order of reading."""

    decision: Decision
    sentence: str
    answers: tuple[Answer, ...]
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]


@dataclass(frozen=True)
class Tile:
    """One number of the session at a glance."""

    value: str
    heading: str


def verdict_view(data: SessionData) -> VerdictView:
    """Return the verdict of a session, or why there is none."""
    verdict = data.section("verdict")
    if not verdict:
        reason = data.missing.get("study", "results.json holds no verdict")
        return VerdictView(
            NO_DECISION,
            f"The verdict is {unknown(reason)}.",
            (),
            (),
            ("Run the remaining stages: scherzer run goes on.",),
        )
    return VerdictView(
        decision=DECISIONS.get(str(verdict.get("decision")), NO_DECISION),
        sentence=without_decision(str(verdict.get("sentence") or unknown(verdict.get("reason")))),
        answers=(underfocus_answer(verdict.get("underfocus_um")), _needed_answer(verdict)),
        reasons=_texts(verdict.get("reasons")),
        next_steps=_texts(verdict.get("next")),
    )


def without_decision(sentence: str) -> str:
    """Return a sentence without the decision before its colon, which stands above it in large letters."""
    before, colon, after = sentence.partition(": ")
    words = ("collect", "stop", "improve the grid first", "cannot tell")
    return after[:1].upper() + after[1:] if colon and before.lower() in words else sentence


def underfocus_range(verdict: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the recommended underfocus in micrometres, or None."""
    return bounds_of(verdict.get("underfocus_um"))


def underfocus_answer(entry: object) -> Answer:
    """Return the recommended underfocus in words; one bound alone is a bound."""
    heading = "Underfocus to collect at"
    if not isinstance(entry, Mapping):
        return Answer(heading, "Not known", "no recommendation was made", False)
    low, high, reason = number_of(entry.get("low")), number_of(entry.get("high")), str(entry.get("reason") or "")
    if low is None and high is None:
        return Answer(heading, "Not known", reason, False)
    if low is not None and high is not None:
        text = span(low, high, 1 if high - low >= 0.2 else 2)
    else:
        text = f"above {plain_number(low, 1)}" if low is not None else f"below {plain_number(high or 0.0, 1)}"
    return Answer(heading, f"{text} {UM}", reason, True)


def _needed_answer(verdict: Mapping[str, Any]) -> Answer:
    entry = verdict.get("micrographs_needed")
    inner = entry.get("target_resolution_A") if isinstance(entry, Mapping) else None
    target = number_of(inner or verdict.get("target_resolution_A"))
    heading = "Micrographs needed" + (f" for {plain_number(target, 1)} {A}" if target else "")
    if number_of(entry) is None:
        reason = entry.get("reason") if isinstance(entry, Mapping) else verdict.get("micrographs_needed_reason")
        known = "No more" if "already" in str(reason) else "Not known"
        return Answer(heading, known, str(reason or "no reason recorded"), known == "No more")
    return Answer(heading, quantity(entry, "", None, 0), method_of(entry), True)


def tiles(data: SessionData) -> tuple[Tile, ...]:
    """Return the session at a glance; a number that is not known has no tile."""
    micrographs = data.micrographs
    shown: list[Tile] = []
    if micrographs:
        accepted = sum(m.state == "accepted" for m in micrographs)
        shown.append(Tile(f"{accepted} of {len(micrographs)}", "micrographs accepted"))
    defocus = [m.defocus_um for m in micrographs if m.state == "accepted" and m.defocus_um is not None]
    if defocus:
        shown.append(Tile(f"{span(min(defocus), max(defocus), 2)} {UM}", "underfocus of the accepted"))
    for key, heading in (("picks", "picks"), ("particles_kept", "particles in kept 2D classes")):
        count = _sum(micrographs, key)
        if count is not None:
            shown.append(Tile(plain_number(count), heading))
    best = min(
        ((number_of(m.record.get("resolution_fsc143_A")) or float("inf"), m) for m in data.maps),
        key=lambda p: p[0],
        default=None,
    )
    if best is not None and best[0] < float("inf"):
        shown.append(Tile(f"{plain_number(best[0], 2)} {A}", f"best map, FSC 0.143 ({best[1].subset})"))
    return tuple(shown)


def _sum(micrographs: Sequence[Micrograph], key: str) -> float | None:
    values = [number_of(m.record.get(key)) for m in micrographs]
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(entry) for entry in value) if isinstance(value, list | tuple) else ()
