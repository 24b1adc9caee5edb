"""Medians, spreads, ratios within a round, and slopes of curves. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some values, the quartiles around it, and how many there were."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """Return the spread of ``values``; None if there are none."""
        ordered = sorted(values)
        if not ordered:
            return None
        if len(ordered) == 1:
            return cls(ordered[0], ordered[0], ordered[0], 1)
        low, median, high = statistics.quantiles(ordered, n=4, method="inclusive")
        return cls(median, low, high, len(ordered))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which that share of ``ordered`` lies; 0 if there is none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def ratios(over: Mapping[int, float], under: Mapping[int, float]) -> list[float]:
    """Divide round by round, where both have a value: what disturbed one round disturbed both."""
    return [over[each] / under[each] for each in sorted(over) if under.get(each)]


def differences(of: Mapping[int, float], less: Mapping[int, float]) -> list[float]:
    """Subtract round by round, where both have a value."""
    return [of[each] - less[each] for each in sorted(of) if each in less]


def log_log_slope(points: Iterable[tuple[float, float]]) -> float:
    """Return the exponent of the power law through ``points``, by least squares on logarithms: 1 is linear growth.

    Points with a coordinate that is not positive are left out. Raises ValueError if fewer than two remain.
    """
    logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    return statistics.linear_regression(*zip(*logs, strict=True)).slope if len(logs) > 1 else _too_few()


def _too_few() -> float:
    raise ValueError("a slope needs two points with positive coordinates")
