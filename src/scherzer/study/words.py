"""The verdict's sentences: every one carries the numbers it rests on."""

from __future__ import annotations

import math

from scherzer.study.evidence import Evidence
from scherzer.study.intervals import Interval, Unknown
from scherzer.study.settings import FINER_THAN_START

REMEDIES = {
    "drift": "Let the stage settle longer and check the support film: most rejected micrographs moved too much.",
    "ice": "Make thinner, cleaner ice (longer blotting, fresh ethane, dry transfer), or choose thinner squares.",
    "empty": "Choose other squares or raise the concentration: most rejected micrographs show no particles in ice.",
    "rings": "Check beam, ice thickness and defocus: most rejected micrographs show no Thon rings to fit.",
    "other": "See the reasons in the curation table before collecting more.",
}
# A defocus ladder that spans the paper's three classes, in steps wider than the error of a stage height.
DEFOCUS_LADDER_UM = (0.6, 1.0, 1.5, 2.0, 2.6)
# Twice the micrographs that a group needs for five disjoint draws with both half-sets in each.
PER_STEP = 20


def _ends(value: float, interval: Interval) -> str:
    return f"{value:.1f} A ({interval.low:.1f} to {interval.high:.1f} A)"


def resolution_words(evidence: Evidence) -> str:
    """The headline: what was reached with what."""
    found, counts = evidence.resolution, evidence.curation
    head = f"{counts.selected} particles from {counts.accepted} micrographs reach"
    if found.value is None:
        return f"{head} no resolution"
    if found.value > evidence.start_resolution_A / FINER_THAN_START:
        return f"{head} no more than the start map held"
    if evidence.at_nyquist:
        return f"{head} {found.value:.1f} A, as fine as their pixel allows"
    if isinstance(found, Interval):
        return f"{head} {_ends(found.value, found)}"
    return f"{head} {found.value:.1f} A"


def needed_words(evidence: Evidence) -> str:
    """How many micrographs the wanted resolution takes."""
    target = f"{evidence.target_resolution_A:.1f} A"
    value = evidence.resolution.value
    if value is not None and value <= evidence.target_resolution_A:
        return f"the wanted {target} is reached already"
    need = evidence.need.estimate
    if isinstance(need, Unknown):
        return f"the micrographs for {target} cannot be told ({need.reason})"
    low, middle, high = (math.ceil(max(1.0, number)) for number in (need.low, need.value, need.high))
    return f"about {middle:,} micrographs ({low:,} to {high:,}) like these would reach {target}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def reasons(evidence: Evidence) -> tuple[str, ...]:
    """What speaks for and against, each with its numbers."""
    c = evidence.curation
    lines = [f"{c.accepted} of {c.readable} readable micrographs are accepted."]
    if c.rejected:
        lines[0] = f"{lines[0][:-1]}; {c.rejected} rejected, most often for {c.main_reason}."
    if c.failed:
        lines.append(f"{c.failed} micrographs could not be read or processed.")
    if c.picked:
        lines.append(f"{c.selected} of {c.picked} picks ({c.selected / c.picked:.0%}) are kept by 2D selection.")
    if c.ctf_fit_resolution_A is not None:
        lines.append(f"CTF fits reach {c.ctf_fit_resolution_A:.1f} A (median).")
    start = f"the start map was low-passed to {evidence.start_resolution_A:.0f} A"
    lines.append(f"{_capital(resolution_words(evidence))}; {start}.")
    if evidence.structure is not None:
        lines.append(f"{_capital(evidence.structure)}: {evidence.structure_reason}.")
    lines.append(f"{_capital(needed_words(evidence))}.")
    for label, differences in (
        ("equal particles", evidence.equal_particles),
        ("equal micrographs", evidence.equal_micrographs),
    ):
        for one in differences:
            if isinstance(one.ln_ssnr, Interval):
                told = "told apart" if one.separated else "not told apart"
                lines.append(
                    f"At {label}, {one.first} minus {one.second}: ln SSNR {one.ln_ssnr.value:+.2f} "
                    f"({one.ln_ssnr.low:+.2f} to {one.ln_ssnr.high:+.2f}), {told}."
                )
            else:
                lines.append(f"At {label}, {one.first} and {one.second} cannot be compared: {one.ln_ssnr.reason}.")
    if not evidence.equal_particles and evidence.no_comparison:
        lines.append(f"No comparison of contrast groups: {evidence.no_comparison}.")
    if evidence.control_shows_effect is not None:
        lines.append(f"With shuffled labels {'an' if evidence.control_shows_effect else 'no'} effect is seen.")
    return tuple(lines)


def _more_micrographs(evidence: Evidence) -> str:
    counts = evidence.curation
    per_micrograph = counts.selected / max(1, counts.accepted)
    if per_micrograph < 1:
        return f"Collect about {PER_STEP} more micrographs with particles before judging this grid."
    aim = max(2 * counts.accepted, counts.accepted + PER_STEP)
    more, particles = aim - counts.accepted, aim * per_micrograph
    return f"Collect {more} more micrographs ({aim} in all, about {particles:.0f} particles) and run again."


def next_steps(evidence: Evidence, rule: str, single_setting: bool) -> tuple[str, ...]:
    """What to do next, by rule and by what is still unknown."""
    counts = evidence.curation
    by_rule = {
        "nothing readable": "Check that the files are whole and that pixel size and voltage are right.",
        "mostly rejected": REMEDIES[counts.main_reason],
        "nothing classifies": "Check the specimen (negative stain) and the particle diameter before another grid.",
        "too few": _more_micrographs(evidence),
        "poor CTF fits": REMEDIES["ice"],
        "no structure": "Check the specimen and the start map; another grid of this preparation is unlikely to help.",
        "not yet": _more_micrographs(evidence),
        "not certain": "Check the point group and the start map: refine in C1, and from a map made ab initio.",
        "out of reach": "Try thinner ice, another buffer or a stricter selection; more of the same pays little.",
        "otherwise": _more_micrographs(evidence),
    }
    steps = [by_rule[rule]] if rule in by_rule else []
    if evidence.at_nyquist:
        steps.append("Extract with a finer pixel and refine again: the present one limits the map.")
    worth_more = rule not in ("mostly rejected", "nothing classifies", "no structure", "nothing readable")
    if worth_more and single_setting:
        settings = ", ".join(f"{value:g}" for value in DEFOCUS_LADDER_UM)
        steps.append(
            f"All micrographs have one defocus: take {PER_STEP} each at {settings} um to learn which serves best."
        )
    elif worth_more and evidence.equal_particles and not any(one.separated for one in evidence.equal_particles):
        steps.append(f"To tell the contrast groups apart, collect {PER_STEP} more micrographs in each.")
    elif worth_more and not evidence.equal_particles:
        steps.append(
            f"To compare contrast groups, collect {PER_STEP} or more micrographs at each of two different defoci."
        )
    return tuple(steps)
