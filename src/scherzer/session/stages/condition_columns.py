"""The condition network's opinion in the table of micrographs, beside the verdict of the rules."""

from __future__ import annotations

from functools import cache

from torch import Tensor

from scherzer.micrographs.condition import Condition
from scherzer.micrographs.contrast.condition_opinion import HOLDS, ConditionClassifier, ConditionOpinion
from scherzer.session.items import Row


def opinion_of(image: Tensor, pixel_size_A: float) -> ConditionOpinion:
    """Ask the shipped network."""
    return _classifier().judge(image, pixel_size_A)


def opinion_columns(opinion: ConditionOpinion) -> Row:
    """Return probabilities and strangeness under STAR labels, NaN where the field is too small.

    Rounded: the last digits of transforms and convolutions depend on where in memory an image lies.
    """
    found = {f"sczCondition{label.title()}": round(value, 3) for label, value in opinion.probabilities.items()}
    return {**found, "sczStrangeness": round(opinion.strangeness, 3)}


def with_opinion(verdict: Condition, opinion: ConditionOpinion) -> tuple[str, ...]:
    """Return the notes on a micrograph: those of the rules, then what the network sees where they accept it."""
    notes = list(verdict.notes)
    seen = opinion.probabilities[opinion.fault]
    if opinion.note:
        notes.append(opinion.note)
    elif verdict.state == "accepted" and not opinion.is_fine and seen >= HOLDS:
        notes.append(f"the condition network sees {opinion.fault} ({seen:.2f})")
    return tuple(notes)


@cache
def _classifier() -> ConditionClassifier:
    """Load the weights once a process."""
    return ConditionClassifier.load()
