"""Which charts a run gives. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.measure.statistics import Spread
from benchmarks.report import growth, svg
from benchmarks.scenarios import curve, gain, life

if TYPE_CHECKING:
    from benchmarks.measure.results import Results

#: File name: title, scenario, figure, unit, whether the axis is logarithmic.
_BARS: Final = {
    "cpu.svg": ("CPU a call, small GET, 16 callers", "get-16", "cpu_us", "µs", True),
    "throughput.svg": ("Calls a second, small GET, 16 callers", "get-16", "calls_per_s", "calls a second", True),
    "latency.svg": ("p50, small GET, 1 caller", "get-1", "p50_us", "µs", True),
    "start.svg": ("Start to first answer", life.NAME, "first_answer_ms", "ms", False),
    "memory-idle.svg": ("Resident memory, idle", life.NAME, "idle_rss_mib", "MiB", False),
    "memory-loaded.svg": ("Resident memory after load of 128 callers", life.NAME, "loaded_rss_mib", "MiB", False),
}
#: File name: title, axis, figure, unit.
_CURVES: Final = {
    "curve-callers-cpu.svg": ("CPU a call over callers", curve.CALLERS, "cpu_us", "µs"),
    "curve-callers-memory.svg": ("Memory above idle over callers", curve.CALLERS, "grown_mib", "MiB"),
    "curve-answer-cpu.svg": ("CPU a call over the response's size", curve.ANSWER, "cpu_us", "µs"),
    "curve-answer-memory.svg": ("Memory above idle over the response's size", curve.ANSWER, "grown_mib", "MiB"),
    "curve-upload-cpu.svg": ("CPU a call over the request's size", curve.UPLOAD, "cpu_us", "µs"),
    "curve-upload-memory.svg": ("Memory above idle over the request's size", curve.UPLOAD, "grown_mib", "MiB"),
    "curve-idle-memory.svg": ("Memory above idle over idle connections", curve.IDLE, "grown_mib", "MiB"),
}
COMPARISONS: Final = tuple(_BARS)
CURVES: Final = tuple(_CURVES)
TITLES: Final = {**{name: bar[0] for name, bar in _BARS.items()}, **{name: each[0] for name, each in _CURVES.items()}}


def all_of(results: Results) -> dict[str, str]:
    """Return the charts for which there are figures, by file name."""
    found = {}
    for name, (title, scenario, figure, unit, logarithmic) in _BARS.items():
        rows = _rows(results, scenario, figure)
        if rows:
            found[name] = svg.bars(title, unit, rows, logarithmic=logarithmic)
    for name, (title, axis, figure, unit) in _CURVES.items():
        series = [svg.Series(peer, growth.medians(results, peer, axis, figure)) for peer in results.versions]
        if any(each.points for each in series):
            found[name] = svg.curves(title, axis.title, unit, [each for each in series if each.points])
    return found


def _rows(results: Results, scenario: str, figure: str) -> list[svg.Bar]:
    rows = []
    for peer in [*results.versions, gain.DIRECT]:
        spread = Spread.of(results.figures(scenario, peer, figure).values())
        if spread is not None:
            rows.append(svg.Bar(peer, spread, ours=peer in results.ours))
    return sorted(rows, key=lambda row: row.spread.median)
