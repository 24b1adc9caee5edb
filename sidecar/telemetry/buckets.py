"""How many of the observed values fell into each of some fixed ranges."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


class Buckets:
    """Counts of values, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds`` are the buckets' inclusive upper ends, ascending; the one for the rest is implied."""
        self.bounds: Final = tuple(bounds)
        #: How many values fell into each bucket; the last one is for the rest.
        self.counts: Final = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count ``value`` in its bucket."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
