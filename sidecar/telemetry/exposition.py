"""The kinds of metrics, and the Prometheus text format, version 0.0.4, written without the client library.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeAlias, TypeVar

from sidecar.telemetry.buckets import Buckets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
#: What the name of every metric begins with.
PREFIX: Final = "mangopay_sidecar_"

#: One value and the values of its metric's labels, in their order.
Sample: TypeAlias = tuple[tuple[str, ...], float]
K = TypeVar("K", bound=tuple[object, ...])


class Metric:
    """What all kinds have: a name, a sentence for people, and the names of the labels."""

    kind: ClassVar[Literal["counter", "gauge", "histogram"]]

    def __init__(self, name: str, description: str, labels: tuple[str, ...] = ()) -> None:
        """``name`` comes without the prefix."""
        self.name: Final = PREFIX + name
        self.description: Final = description
        self.labels: Final = labels

    def lines(self) -> list[str]:
        """Return the sample lines of now; a metric without any is not exposed."""
        raise NotImplementedError

    def expose(self) -> list[str]:
        """Return all lines: HELP, TYPE and the samples; none if there is no sample."""
        lines = self.lines()
        return lines and [f"# HELP {self.name} {_escape(self.description)}", f"# TYPE {self.name} {self.kind}", *lines]

    def _written(self, samples: Iterable[Sample]) -> list[str]:
        return [f"{self.name}{self._pairs(values)} {number(value)}" for values, value in samples]

    def _pairs(self, values: tuple[str, ...]) -> str:
        pairs = (f'{key}="{_escape(text, quote=True)}"' for key, text in zip(self.labels, values, strict=True))
        return f"{{{','.join(pairs)}}}" if self.labels else ""


class Counter(Metric, defaultdict[K, int]):
    """Counts by the values of the labels: ``counter["GET", 200] += 1``. A value that is 0 is exposed as ``none``."""

    kind = "counter"

    def __init__(self, name: str, description: str, labels: tuple[str, ...], zeros: Iterable[K] = ()) -> None:
        """``zeros`` are exposed from the start on: ``rate()`` does not see the step with which a series begins."""
        Metric.__init__(self, name, description, labels)
        defaultdict.__init__(self, int, dict.fromkeys(zeros, 0))

    def lines(self) -> list[str]:
        """Return a line for each count."""
        return self._written((tuple(str(value or "none") for value in key), count) for key, count in self.items())


class LabelledGauge(Metric):
    """Numbers that somebody else knows: ``read`` is asked for all samples at each scrape."""

    kind = "gauge"
    read: Callable[[], Iterable[Sample]] = staticmethod(lambda: ())

    def lines(self) -> list[str]:
        """Return a line for each sample."""
        return self._written(self.read())


class Gauge(Metric):
    """A number without labels that somebody else knows: ``read`` is asked at each scrape; None: not exposed."""

    kind = "gauge"
    read: Callable[[], float | None] = staticmethod(lambda: None)

    def lines(self) -> list[str]:
        """Return the number's line."""
        value = self.read()
        return [] if value is None else self._written([((), value)])


class Histogram(Metric):
    """Counts of observations in fixed buckets, and their sum."""

    kind = "histogram"

    def __init__(self, name: str, description: str, bounds: Sequence[float]) -> None:
        """``bounds`` are the buckets' inclusive upper ends, ascending; the one for the rest is implied."""
        super().__init__(name, description)
        self.buckets: Final = Buckets(bounds)
        #: Count a value in its bucket.
        self.observe: Final = self.buckets.observe

    def lines(self) -> list[str]:
        """Return the sample lines: cumulative buckets, sum and count."""
        lines, total, buckets = [], 0, self.buckets
        for bound, count in zip((*buckets.bounds, math.inf), buckets.counts, strict=True):
            total += count
            lines.append(f'{self.name}_bucket{{le="{number(bound)}"}} {total}')
        return [*lines, f"{self.name}_sum {number(buckets.sum)}", f"{self.name}_count {total}"]


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
