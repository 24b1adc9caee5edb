"""The Prometheus text format, version 0.0.4, written without the client library.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

#: One value and the values of its family's labels, in their order.
Sample: TypeAlias = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its full name, its kind, a sentence for people, and the names of its labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


class Histogram:
    """Counts of observations in fixed buckets, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds`` are the buckets' inclusive upper ends, ascending; the one for the rest is implied."""
        self._bounds: Final = tuple(bounds)
        self._counts: Final = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count ``value`` in its bucket."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def bounds(self) -> tuple[float, ...]:
        """The buckets' upper ends."""
        return self._bounds

    @property
    def counts(self) -> tuple[int, ...]:
        """How many values fell into each bucket; the last one is for the rest."""
        return tuple(self._counts)

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self._counts)

    def lines(self, name: str) -> Iterable[str]:
        """The family's sample lines: cumulative buckets, sum and count."""
        total = 0
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{number(bound)}"}} {total}'
        yield f"{name}_sum {number(self._sum)}"
        yield f"{name}_count {total}"


def header(family: Family) -> Iterable[str]:
    """The HELP and TYPE lines."""
    yield f"# HELP {family.name} {_escape(family.help)}"
    yield f"# TYPE {family.name} {family.kind}"


def sample(family: Family, labels: tuple[str, ...], value: float) -> str:
    """One sample line of a counter or gauge."""
    if not family.labels:
        return f"{family.name} {number(value)}"
    pairs = ",".join(f'{key}="{_escape(text, quote=True)}"' for key, text in zip(family.labels, labels, strict=True))
    return f"{family.name}{{{pairs}}} {number(value)}"


def number(value: float) -> str:
    """A value as Go's ParseFloat reads it; whole numbers without an exponent or a fraction."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _escape(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text
