"""Whether anything grows faster than what makes it grow. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.measure.statistics import log_log_slope
from benchmarks.scenarios import curve

if TYPE_CHECKING:
    from benchmarks.measure.results import Results

#: The largest exponent that counts as linear growth: the fit of a straight line through noise may miss 1 by this much.
LINEAR: Final = 1.15


@dataclass(frozen=True)
class Growth:
    """A cost over an axis."""

    axis: curve.Axis
    figure: str
    title: str
    #: Points below are left out of the fit: there the fixed cost hides the growth.
    start: int
    #: The figure is for one call; what all callers cost together is so many times as much.
    times_axis: bool = False


GROWTHS: Final = (
    Growth(curve.CALLERS, "cpu_us", "CPU for one call of every caller", 1, times_axis=True),
    Growth(curve.CALLERS, "grown_mib", "memory above idle, at most", 16),
    Growth(curve.ANSWER, "cpu_us", "CPU a call", 256 * 1024),
    Growth(curve.ANSWER, "grown_mib", "memory above idle, at most", 256 * 1024),
    Growth(curve.UPLOAD, "cpu_us", "CPU a call", 256 * 1024),
    Growth(curve.UPLOAD, "grown_mib", "memory above idle, at most", 256 * 1024),
    Growth(curve.IDLE, "grown_mib", "memory above idle", 100),
    Growth(curve.IDLE, "cpu_ms_per_s", "CPU at rest", 100),
)


def medians(results: Results, peer: str, axis: curve.Axis, figure: str) -> list[tuple[float, float]]:
    """Return a figure over an axis: values that were measured, and the median of their rounds."""
    found = ((value, results.figures(curve.Point(axis, value).name, peer, figure)) for value in axis.values)
    return [(value, statistics.median(rounds.values())) for value, rounds in found if rounds]


def exponent(results: Results, peer: str, growth: Growth) -> float | None:
    """Return the exponent with which a cost grows; None if it does not, or was not measured."""
    points = [point for point in medians(results, peer, growth.axis, growth.figure) if point[0] >= growth.start]
    if growth.times_axis:
        points = [(x, x * y) for x, y in points]
    try:
        return log_log_slope(points)
    except ValueError:
        return None
