"""The verdict: a table of rules, read from the top, the first that applies decides.

| rule               | applies when                                                        | decision     |
| ------------------ | ------------------------------------------------------------------- | ------------ |
| nothing readable   | no micrograph could be judged                                       | cannot_tell  |
| mostly rejected    | at least half of 5 or more readable micrographs are rejected        | improve      |
| nothing classifies | 2,000 picks or more, under 2 % kept, CTF fits fine                  | stop         |
| too few            | fewer than 5 accepted micrographs or 200 selected particles         | cannot_tell  |
| poor CTF fits      | median CTF fit resolution worse than 10 A                           | improve      |
| no structure       | no structure or map no better than the start, of 5,000 particles    | stop         |
|                    | and 20,000 asymmetric units                                         |              |
| not yet            | the same of fewer                                                   | cannot_tell  |
| not certain        | not certain that the map shows a structure                          | cannot_tell  |
| out of reach       | surely more than 5,000 micrographs for the wanted resolution        | improve      |
| need known         | micrographs for the wanted resolution known, or it is reached       | collect      |
| helices            | map at 10 A or better, need unknown                                 | collect      |
| otherwise          |                                                                     | cannot_tell  |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scherzer.study.evidence import Evidence
from scherzer.study.intervals import Interval, Unknown
from scherzer.study.settings import FINER_THAN_START
from scherzer.study.underfocus import Underfocus, is_single_setting, recommend_underfocus
from scherzer.study.words import needed_words, next_steps, reasons, resolution_words

# Below five micrographs neither a rejected share nor a spread between micrographs means anything.
FEWEST_MICROGRAPHS = 5
# Fewer particles than this give a dozen or so per view even after 2D selection; no FSC of theirs is trusted.
FEWEST_PARTICLES = 200
# With half of the exposures lost, a full collection would pay double for every particle.
MOSTLY_REJECTED = 0.5
# A grid with protein keeps some tenths of its blob picks; of thousands, chance alone keeps a few per cent.
MANY_PICKS, HARDLY_ANY_KEPT = 2000, 0.02
# Thon rings that end before 10 A carry no secondary structure, whatever the particles are.
POOR_CTF_FIT_A = 10.0
# RELION's own gate for a first 3D map, and ten times the asymmetric units with which a well-behaved specimen passes
# 10 A: only then is a missing structure called missing. With fewer, a refinement that stalled looks the same.
ENOUGH_PARTICLES, ENOUGH_ASYMMETRIC_UNITS = 5000, 20_000
# About two days of a fast microscope; a grid that surely needs more is better improved than collected.
FULL_COLLECTION_MICROGRAPHS = 5000
# From here on helices begin to show, and alignment is no longer led by the outline alone.
HELICES_A = 10.0


@dataclass(frozen=True)
class Verdict:
    """The answer to: is this grid worth a full collection, and at which defocus?

    Attributes
    ----------
    decision : str
        collect, improve, stop or cannot_tell.
    rule : str
        Name of the rule that decided.
    sentence : str
    underfocus : Underfocus
    reasons, next : tuple of str
    micrographs_needed : dict
        Interval, or null with its reason; with the wanted resolution.
    """

    decision: str
    rule: str
    sentence: str
    underfocus: Underfocus
    reasons: tuple[str, ...]
    next: tuple[str, ...]
    micrographs_needed: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The `verdict` entry of results.json."""
        return {
            "decision": self.decision,
            "rule": self.rule,
            "sentence": self.sentence,
            "underfocus_um": self.underfocus.to_json(),
            "reasons": list(self.reasons),
            "next": list(self.next),
            "micrographs_needed": self.micrographs_needed,
        }


@dataclass(frozen=True)
class Rule:
    """One line of the table above."""

    name: str
    decision: str
    applies: Callable[[Evidence], bool]
    sentence: Callable[[Evidence], str]


def _share_rejected(e: Evidence) -> float:
    return e.curation.rejected / max(1, e.curation.readable)


def _poor_ctf(e: Evidence) -> bool:
    return e.curation.ctf_fit_resolution_A is not None and e.curation.ctf_fit_resolution_A > POOR_CTF_FIT_A


def _hardly_any_kept(e: Evidence) -> bool:
    return e.curation.picked >= MANY_PICKS and e.curation.selected < HARDLY_ANY_KEPT * e.curation.picked


def _nothing_seen(e: Evidence) -> bool:
    value = e.resolution.value
    return e.structure == "no structure" or value is None or value > e.start_resolution_A / FINER_THAN_START


def _why_nothing(e: Evidence) -> str:
    if e.structure == "no structure":
        return f"show no structure: {e.structure_reason}"
    return f"give a map no better than its {e.start_resolution_A:.0f} A start"


def _enough_to_see(e: Evidence) -> bool:
    return e.curation.selected >= ENOUGH_PARTICLES and e.asymmetric_units >= ENOUGH_ASYMMETRIC_UNITS


def _reached(e: Evidence) -> bool:
    value = e.resolution.value
    return value is not None and value <= e.target_resolution_A


RULES = (
    Rule(
        "nothing readable",
        "cannot_tell",
        lambda e: e.curation.readable == 0,
        lambda e: f"Cannot tell: none of the {e.curation.failed} micrographs could be read and processed.",
    ),
    Rule(
        "mostly rejected",
        "improve",
        lambda e: e.curation.readable >= FEWEST_MICROGRAPHS and _share_rejected(e) >= MOSTLY_REJECTED,
        lambda e: (
            f"Improve the grid first: {e.curation.rejected} of {e.curation.readable} micrographs are rejected, "
            f"most often for {e.curation.main_reason}."
        ),
    ),
    Rule(
        "nothing classifies",
        "stop",
        lambda e: e.curation.accepted >= FEWEST_MICROGRAPHS and _hardly_any_kept(e) and not _poor_ctf(e),
        lambda e: (
            f"Stop: of {e.curation.picked} picks only {e.curation.selected} fall into 2D classes with structure, "
            "although the micrographs are sound."
        ),
    ),
    Rule(
        "too few",
        "cannot_tell",
        lambda e: e.curation.accepted < FEWEST_MICROGRAPHS or e.curation.selected < FEWEST_PARTICLES,
        lambda e: (
            f"Cannot tell from {e.curation.selected} particles on {e.curation.accepted} micrographs; "
            f"at least {FEWEST_PARTICLES} particles on {FEWEST_MICROGRAPHS} micrographs are needed."
        ),
    ),
    Rule(
        "poor CTF fits",
        "improve",
        _poor_ctf,
        lambda e: (
            f"Improve the grid first: the Thon rings end at {e.curation.ctf_fit_resolution_A:.1f} A (median), "
            "and no map can go further than they do."
        ),
    ),
    Rule(
        "no structure",
        "stop",
        lambda e: _nothing_seen(e) and _enough_to_see(e),
        lambda e: (
            f"Stop: {e.curation.selected} particles ({e.asymmetric_units} asymmetric units) {_why_nothing(e)}; "
            "a sound specimen would have passed that by now."
        ),
    ),
    Rule(
        "not yet",
        "cannot_tell",
        _nothing_seen,
        lambda e: (
            f"Cannot tell: {e.curation.selected} particles {_why_nothing(e)}; they are too few to say whether more "
            "would pass that."
        ),
    ),
    Rule(
        "not certain",
        "cannot_tell",
        lambda e: e.structure == "not certain",
        lambda e: f"Cannot tell whether the map of {e.curation.selected} particles is right: {e.structure_reason}.",
    ),
    Rule(
        "out of reach",
        "improve",
        lambda e: e.need.at_least is not None and e.need.at_least > FULL_COLLECTION_MICROGRAPHS and not _reached(e),
        lambda e: (
            f"Improve the grid first: {resolution_words(e)}, and {e.target_resolution_A:.1f} A would take more than "
            f"{FULL_COLLECTION_MICROGRAPHS:,} such micrographs."
        ),
    ),
    Rule(
        "need known",
        "collect",
        lambda e: _reached(e) or isinstance(e.need.estimate, Interval),
        lambda e: f"Collect: {resolution_words(e)}, and {needed_words(e)}.",
    ),
    Rule(
        "helices",
        "collect",
        lambda e: e.resolution.value is not None and e.resolution.value <= HELICES_A,
        lambda e: (
            f"Collect: {resolution_words(e)}; how many micrographs {e.target_resolution_A:.1f} A takes "
            "cannot be told yet."
        ),
    ),
    Rule(
        "otherwise",
        "cannot_tell",
        lambda e: True,
        lambda e: f"Cannot tell: {resolution_words(e)}, and how it grows with particles cannot be told from so few.",
    ),
)


def decide(evidence: Evidence) -> Verdict:
    """Apply the table of rules."""
    rule = next(rule for rule in RULES if rule.applies(evidence))
    underfocus = recommend_underfocus(evidence)
    if rule.decision != "collect" and underfocus.low_um is not None:
        underfocus = Underfocus(None, None, f"the decision is not to collect; as far as compared, {underfocus.reason}")
    sentence = rule.sentence(evidence)
    if underfocus.low_um is not None and underfocus.high_um is not None:
        sentence = f"{sentence[:-1]}; record at {underfocus.low_um:.1f} to {underfocus.high_um:.1f} um underfocus."
    need = evidence.need.estimate
    if isinstance(need, Unknown) and _reached(evidence):
        need = Unknown(f"{evidence.target_resolution_A:.1f} A is reached with these micrographs already")
    return Verdict(
        decision=rule.decision,
        rule=rule.name,
        sentence=sentence,
        underfocus=underfocus,
        reasons=reasons(evidence),
        next=next_steps(evidence, rule.name, is_single_setting(evidence)),
        micrographs_needed={**need.to_json(), "target_resolution_A": evidence.target_resolution_A},
    )
