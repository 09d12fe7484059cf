"""At which underfocus to collect: only what the comparison of groups supports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scherzer.study.comparisons import Difference
from scherzer.study.evidence import Evidence
from scherzer.study.intervals import Interval

# Two groups whose Mann-Whitney probability lies this near 0.5 differ in something other than defocus (ice, junk):
# 0.15 is the distance at which medians of the paper's classes begin to part.
SAME_DEFOCUS = 0.15
# A spread of underfocus narrower than this cannot tell one setting from another: the stage's own height changes by
# about as much over a grid square.
SINGLE_SETTING_UM = 0.3


@dataclass(frozen=True)
class Underfocus:
    """A range to collect at (um), or None with the reason."""

    low_um: float | None
    high_um: float | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The `underfocus_um` entry of the verdict."""
        return {"low": self.low_um, "high": self.high_um, "reason": self.reason}


def is_single_setting(evidence: Evidence) -> bool:
    """Whether all micrographs were taken at one defocus."""
    spread = evidence.curation.underfocus_um
    return spread is not None and spread[1] - spread[0] < SINGLE_SETTING_UM


def _better(one: Difference) -> tuple[str, str]:
    assert isinstance(one.ln_ssnr, Interval)
    return (one.first, one.second) if one.ln_ssnr.value > 0 else (one.second, one.first)


def _says_otherwise(evidence: Evidence, winner: str, loser: str) -> bool:
    """Whether equal micrographs point the other way, clearly."""
    return any(
        {one.first, one.second} == {winner, loser}
        and isinstance(one.ln_ssnr, Interval)
        and one.ln_ssnr.excludes_zero()
        and _better(one) == (loser, winner)
        for one in evidence.equal_micrographs
    )


def _same_defocus(evidence: Evidence, winner: str, loser: str) -> bool:
    pair = next((p for p in evidence.defocus_pairs if {p.first, p.second} == {winner, loser}), None)
    value = pair.probability_larger.value if pair is not None else None
    return value is None or abs(value - 0.5) < SAME_DEFOCUS


def recommend_underfocus(evidence: Evidence) -> Underfocus:
    """Range of the groups that are best and not told apart from each other.

    Per-particle evidence decides (equal counts, ln SSNR); equal micrographs may veto, since the microscope's time is
    spent on micrographs; so may the shuffled labels, and groups that differ at one and the same defocus.
    """
    if is_single_setting(evidence):
        low, high = evidence.curation.underfocus_um or (0.0, 0.0)
        return Underfocus(
            None, None, f"all micrographs lie between {low:.1f} and {high:.1f} um: one setting cannot be compared"
        )
    if not evidence.equal_particles:
        return Underfocus(None, None, evidence.no_comparison or "no two contrast groups could be compared")
    if evidence.control_shows_effect:
        return Underfocus(
            None, None, "the control with shuffled labels shows an effect too, so the comparison is not trusted"
        )
    apart = [one for one in evidence.equal_particles if one.separated]
    if not apart:
        return Underfocus(None, None, "at equal particle counts no two contrast groups are told apart by their ln SSNR")
    verdicts = [_better(one) for one in apart]
    losers = {loser for _, loser in verdicts}
    winners = {winner for winner, _ in verdicts}
    names = {name for one in evidence.equal_particles for name in (one.first, one.second)}
    for winner, loser in verdicts:
        if _says_otherwise(evidence, winner, loser):
            reason = f"per particle {winner} beats {loser}, but at equal micrographs it is the other way round"
            return Underfocus(None, None, reason)
        if winner not in losers and _same_defocus(evidence, winner, loser):
            reason = f"{winner} beats {loser} at the same underfocus: something else (ice, say) tells them apart"
            return Underfocus(None, None, reason)
    best = [name for name in evidence.defocus if name in names - losers]
    if not best or not winners - losers:
        return Underfocus(None, None, "the groups' differences do not order them")
    low, high = (
        min(evidence.defocus[name].low_um for name in best),
        max(evidence.defocus[name].high_um for name in best),
    )
    lead = next(one for one in apart if _better(one)[0] in best)
    assert isinstance(lead.ln_ssnr, Interval)
    winner, loser = _better(lead)
    size, ends = abs(lead.ln_ssnr.value), sorted((abs(lead.ln_ssnr.low), abs(lead.ln_ssnr.high)))
    reason = (
        f"at equal particle counts {winner} has {size:.2f} ({ends[0]:.2f} to {ends[1]:.2f}) more ln SSNR than {loser}; "
        f"the range is where 90 % of the {' and '.join(best)} micrographs lie"
    )
    return Underfocus(round(low, 2), round(high, 2), reason)
