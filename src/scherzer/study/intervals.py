"""A number with its interval, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scipy import special


@dataclass(frozen=True)
class Interval:
    """A number, its interval and how the interval was made."""

    value: float
    low: float
    high: float
    method: str

    def to_json(self) -> dict[str, Any]:
        """The four entries of results.json."""
        return {"value": self.value, "low": self.low, "high": self.high, "method": self.method}

    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0.0 or self.high < 0.0

    def mapped(self, change: Callable[[float], float], method: str) -> Interval:
        """The interval of a monotonic function of the number."""
        low, high = sorted((change(self.low), change(self.high)))
        return Interval(change(self.value), low, high, method)


@dataclass(frozen=True)
class Unknown:
    """A number that cannot be told, or (with a value) a number whose interval cannot be told."""

    reason: str
    value: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Null bounds with the reason; the value where there is one."""
        if self.value is None:
            return {"value": None, "reason": self.reason}
        return {"value": self.value, "low": None, "high": None, "reason": self.reason}


Estimate = Interval | Unknown


def t_quantile(confidence: float, df: float) -> float:
    """Half-width of a two-sided interval in standard errors, by Student's t."""
    return float(special.stdtrit(df, 0.5 + confidence / 2))


@dataclass(frozen=True)
class Fitted:
    """An estimate with its variance and the degrees of freedom of that variance."""

    value: float
    variance: float
    df: float

    def minus(self, other: Fitted) -> Fitted:
        """Difference of independent estimates; degrees of freedom by Satterthwaite (Biometrics 2, 110, 1946)."""
        total = self.variance + other.variance
        parts = sum(fit.variance**2 / fit.df for fit in (self, other) if fit.variance > 0)
        return Fitted(self.value - other.value, total, total**2 / parts if parts > 0 else min(self.df, other.df))

    def interval(self, confidence: float, method: str) -> Interval:
        """Student's t interval."""
        half = t_quantile(confidence, self.df) * math.sqrt(self.variance)
        return Interval(self.value, self.value - half, self.value + half, method)

    def p_value(self) -> float:
        """Two-sided p of the value being zero."""
        if self.variance <= 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * special.stdtr(self.df, -abs(self.value) / math.sqrt(self.variance)))
