"""Numbers in words."""

from __future__ import annotations

import pytest

from scherzer.report.words import (
    bounds_of,
    brief,
    interval_decimals,
    number_of,
    plain_number,
    quantity,
    typeset,
    unknown,
)


def interval(value: float | None, low: float | None, high: float | None, reason: str = "") -> dict[str, object]:
    return {"value": value, "low": low, "high": high, "method": "bootstrap", "reason": reason}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (interval(3.8, 3.6, 4.1), "3.8 Å (3.6–4.1)"),
        (interval(3.812, 3.731, 3.884), "3.81 Å (3.73–3.88)"),
        (interval(3.75, 3.1, 5.2), "3.8 Å (3.1–5.2)"),
        (interval(-0.21, -0.52, 0.1), "−0.2 Å (−0.5 to 0.1)"),
        (interval(162.4, 101.9, 393.2), "162 Å (102–393)"),
        (interval(None, None, None, "too few particles"), "not known: too few particles"),
        ({"value": None, "reason": "one draw"}, "not known: one draw"),
        (4.0, "4 Å"),
        (4.125, "4.12 Å"),
        (None, "not known: no map"),
    ],
)
def test_an_entry_has_its_unit_and_interval_or_its_reason(entry: object, expected: str) -> None:
    assert quantity(entry, "Å", "no map").replace("\N{NO-BREAK SPACE}", " ") == expected


def test_a_value_without_interval_says_why_and_briefly_does_not() -> None:
    entry = interval(3.0, None, None, "at Nyquist")
    assert quantity(entry, "", decimals=2) == "3.00 (interval not known: at Nyquist)"
    assert brief(entry, "", decimals=2) == "3.00"


def test_whole_numbers_stay_whole_in_intervals() -> None:
    assert quantity(interval(15.3, 8.2, 28.4), decimals=0) == "15 (8–28)"


def test_zero_is_a_number_and_unknown_is_not() -> None:
    assert quantity(0, "Å") == "0\N{NO-BREAK SPACE}Å"
    assert number_of(0.0) == 0.0
    assert number_of(None) is None
    assert number_of(float("nan")) is None
    assert number_of(True) is None
    assert unknown(None).startswith("not known")


def test_bounds_need_both_ends() -> None:
    assert bounds_of(interval(1.0, 0.5, 1.5)) == (0.5, 1.5)
    assert bounds_of(interval(1.0, 0.5, None)) is None
    assert bounds_of(1.0) is None


@pytest.mark.parametrize(
    ("low", "high", "decimals"), [(3.6, 4.1, 1), (3.73, 3.88, 2), (3.0, 7.0, 1), (102.0, 393.0, 0), (1.0, 1.0, 2)]
)
def test_the_width_of_an_interval_sets_its_decimals(low: float, high: float, decimals: int) -> None:
    assert interval_decimals(low, high) == decimals


@pytest.mark.parametrize(
    ("value", "text"), [(4379, "4379"), (12345, "12\N{NARROW NO-BREAK SPACE}345"), (0.0178, "0.0178"), (-2.5, "−2.50")]
)
def test_numbers_have_no_exponent_and_group_from_five_digits(value: float, text: str) -> None:
    assert plain_number(value) == text


def test_units_in_texts_are_typeset_and_words_are_not() -> None:
    text = typeset("reach 3.7 A (3.4 to 4.0 A) at 1.1 to 2.0 um, 120 A2, 1.2 e/A2; group A wins, A 4 too")
    assert "3.7\N{NO-BREAK SPACE}Å (3.4 to 4.0\N{NO-BREAK SPACE}Å)" in text
    assert "2.0\N{NO-BREAK SPACE}µm" in text
    assert "120 Å²" in text
    assert "e/Å²" in text
    assert "group A wins, A 4 too" in text
