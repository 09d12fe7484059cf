"""Numbers as a reader wants them: with unit and interval, and a reason where a number is not known."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

NOT_KNOWN = "not known"


def typeset(text: str) -> str:
    """Return a text with the signs that plain text cannot hold: Å after numbers, Å², µm."""
    text = re.sub(r"(?<=[\d)/]) ?A(2|\^2)(?![\w-])", " Å²", text)
    text = re.sub(r"(?<=\d) A(?![\w-])", "\N{NO-BREAK SPACE}Å", text)
    text = re.sub(r"(?<=\d) um\b", "\N{NO-BREAK SPACE}\N{MICRO SIGN}m", text)
    return text.replace("/ Å²", "/Å²")


def unknown(reason: str | None) -> str:
    """Return "not known: reason"."""
    return f"{NOT_KNOWN}: {reason}" if reason else f"{NOT_KNOWN}: no reason recorded"


def plain_number(value: float, decimals: int | None = None) -> str:
    """Return a number with the given decimals, or with three significant figures and without an exponent."""
    if not math.isfinite(value):
        return NOT_KNOWN
    if decimals is None:
        decimals = 0 if float(value).is_integer() else max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(decimals, 6)}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    # Four digits stand together, as the journals set them.
    whole = text.split(".")[0].lstrip("-")
    if len(whole) == 5:
        text = text.replace("\N{NARROW NO-BREAK SPACE}", "")
    return text.replace("-", "\N{MINUS SIGN}")


def interval_decimals(low: float, high: float) -> int:
    """Return the decimals that an interval's width deserves; numbers below ten keep one at least."""
    width = abs(high - low)
    if not math.isfinite(width) or width == 0:
        return 2
    least = 1 if max(abs(low), abs(high)) < 10 else 0
    return max(least, min(3, -math.floor(math.log10(width / 2))))


def quantity(entry: object, unit: str = "", reason: str | None = None, decimals: int | None = None) -> str:
    """Return one entry of ``results.json`` in words.

    Parameters
    ----------
    entry : None, number, text or mapping
        A bare number; ``{"value", "low", "high", "method"}``; ``{"value": None, "reason"}``; or None.
    unit : str
        Written after the value, as in "3.8 Å (3.6–4.1)".
    reason : str, optional
        Why a bare None is unknown.
    decimals : int, optional
        Decimals of a number without an interval; an interval's width decides for one that has it, unless whole
        numbers (0) are asked for.
    """
    if isinstance(entry, Mapping):
        return _with_interval(entry, unit, reason, decimals)
    if entry is None:
        return unknown(reason)
    if isinstance(entry, bool):
        return "yes" if entry else "no"
    if isinstance(entry, int | float):
        return _joined(plain_number(float(entry), decimals), unit)
    return str(entry)


def brief(entry: object, unit: str = "", reason: str | None = None, decimals: int | None = None) -> str:
    """Return an entry as :func:`quantity` does, but without the reason why an interval is not known."""
    if isinstance(entry, Mapping) and number_of(entry) is not None and bounds_of(entry) is None:
        entry = number_of(entry)
    return quantity(entry, unit, reason, decimals)


def method_of(entry: object) -> str:
    """Return how an interval was made, or an empty text."""
    return str(entry.get("method") or "") if isinstance(entry, Mapping) else ""


def number_of(entry: object) -> float | None:
    """Return the value of an entry of ``results.json``, or None where it is unknown."""
    if isinstance(entry, Mapping):
        entry = entry.get("value")
    if isinstance(entry, bool) or not isinstance(entry, int | float) or not math.isfinite(entry):
        return None
    return float(entry)


def bounds_of(entry: object) -> tuple[float, float] | None:
    """Return the interval of an entry of ``results.json``, or None where it has none."""
    if not isinstance(entry, Mapping):
        return None
    low, high = number_of(entry.get("low")), number_of(entry.get("high"))
    return (low, high) if low is not None and high is not None else None


def span(low: float, high: float, decimals: int) -> str:
    """Return two bounds, "3.6–4.1", or with "to" where a minus sign would stand beside the dash."""
    between = " to " if low < 0 or high < 0 else "\N{EN DASH}"
    return plain_number(low, decimals) + between + plain_number(high, decimals)


def _with_interval(entry: Mapping[str, Any], unit: str, reason: str | None, decimals: int | None) -> str:
    value, bounds = number_of(entry), bounds_of(entry)
    if value is None and bounds is None:
        return unknown(entry.get("reason") or reason)
    if bounds is None:
        number = _joined(plain_number(value or 0.0, decimals), unit)
        why = entry.get("reason") or reason
        return f"{number} (interval {unknown(why)})" if "low" in entry and why else number
    places = 0 if decimals == 0 else interval_decimals(*bounds)
    if value is None:
        return _joined(span(*bounds, places), unit)
    return f"{_joined(plain_number(value, places), unit)} ({span(*bounds, places)})"


def _joined(number: str, unit: str) -> str:
    if not unit or number == NOT_KNOWN:
        return number
    return f"{number}\N{NO-BREAK SPACE}{unit}"
