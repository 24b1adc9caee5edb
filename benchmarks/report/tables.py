"""Markdown tables of a run. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.measure.statistics import Spread, differences, ratios
from benchmarks.report.growth import medians
from benchmarks.scenarios.curve import IDLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure.results import Results
    from benchmarks.scenarios.curve import Axis


@dataclass(frozen=True)
class Column:
    """A figure of the samples, and how a table shows it."""

    figure: str
    title: str
    form: str = ",.0f"


CALLS: Final = (
    Column("cpu_us", "CPU µs a call"),
    Column("calls_per_s", "calls a second"),
    Column("p50_us", "p50 µs"),
    Column("p99_us", "p99 µs"),
    Column("peer_busy", "its core was busy", ".0%"),
)
LIFE: Final = (
    Column("first_answer_ms", "start to first answer, ms"),
    Column("idle_rss_mib", "RSS idle, MiB"),
    Column("loaded_rss_mib", "RSS after 128 callers, MiB"),
    Column("crowded_rss_mib", "RSS with 1,000 idle callers, MiB"),
    Column("caller_kib", "KiB an idle caller", ".1f"),
)
START: Final = (
    Column("ready_ms", "start to ready, ms"),
    Column("ready_cpu_ms", "CPU ms until then"),
    Column("idle_rss_mib", "RSS a second later, MiB"),
)
_GAIN: Final = (
    Column("p50_us", "p50 µs a call"),
    Column("p99_us", "p99 µs"),
    Column("app_cpu_us", "CPU µs of the app a call"),
)
_CHANGES: Final = {
    "cpu_us": "× CPU",
    "calls_per_s": "× calls a second",
    "p50_us": "× p50",
    "idle_rss_mib": "× RSS idle",
    "loaded_rss_mib": "× RSS after load",
    "ready_ms": "× start to ready",
}


def table(results: Results, scenario: str, peers: Sequence[str], columns: Sequence[Column], base: str) -> list[str]:
    """Return one scenario's table: medians; of the first column also quartiles and the same-round ratio to ``base``."""
    first = columns[0]
    rows = []
    for peer in peers:
        cells = [_median(results, scenario, peer, column) for column in columns]
        if not any(cells):
            continue
        over = results.figures(scenario, peer, first.figure)
        ratio = Spread.of(ratios(over, results.figures(scenario, base, first.figure)))
        rows.append([peer, *cells, _range(Spread.of(over.values()), first.form), _ratio(ratio)])
    return markdown(["", *(column.title for column in columns), f"{first.title}: quartiles", f"× {base}"], rows)


def added_latency(results: Results, scenario: str, peers: Sequence[str], direct: str) -> list[str]:
    """Return what each peer adds to the median latency of a call that goes straight to upstream, round by round."""
    base = results.figures(scenario, direct, "p50_us")
    rows = []
    for peer in peers:
        spread = Spread.of(differences(results.figures(scenario, peer, "p50_us"), base))
        if spread is not None:
            rows.append([peer, f"{spread.median:,.0f}", _range(spread, ",.0f")])
    return markdown(["", "added p50 µs", "quartiles"], rows)


def gain(results: Results, scenario: str, ways: Sequence[str], direct: str) -> list[str]:
    """Return what the app's calls took each way, and how many times faster than directly that was."""
    base = results.figures(scenario, direct, "p50_us")
    rows = []
    for way in ways:
        cells = [_median(results, scenario, way, column) for column in _GAIN]
        if any(cells):
            faster = Spread.of(ratios(base, results.figures(scenario, way, "p50_us")))
            rows.append([way, *cells, _ratio(faster)])
    return markdown(["", *(column.title for column in _GAIN), "times as fast as directly"], rows)


def between(results: Results, scenarios: Sequence[str], base: str, other: str) -> list[str]:
    """Return what changed from one sidecar to another, scenario by scenario: ratios within a round."""
    rows = []
    for scenario in scenarios:
        cells = [
            _ratio(Spread.of(ratios(results.figures(scenario, other, figure), results.figures(scenario, base, figure))))
            for figure in _CHANGES
        ]
        if any(cells):
            rows.append([scenario, *cells])
    return markdown(["", *_CHANGES.values()], rows)


def curve(results: Results, axis: Axis, peers: Sequence[str]) -> list[str]:
    """Return the points of an axis: medians of every peer."""
    figures = {"cpu_ms_per_s": "CPU ms a second at rest"} if axis is IDLE else {"cpu_us": "CPU µs a call"}
    figures["grown_mib"] = "MiB above idle, at most" if axis is not IDLE else "MiB above idle"
    columns = [(peer, figure, f"{peer}: {title}") for peer in peers for figure, title in figures.items()]
    found = [dict(medians(results, peer, axis, figure)) for peer, figure, _ in columns]
    rows = [
        [f"{value:,}", *("–" if value not in each else f"{each[value]:,.1f}" for each in found)]
        for value in axis.values
        if any(value in each for each in found)
    ]
    return markdown([axis.title, *(title for *_, title in columns)], rows)


def _median(results: Results, scenario: str, peer: str, column: Column) -> str:
    spread = Spread.of(results.figures(scenario, peer, column.figure).values())
    return "" if spread is None else f"{spread.median:{column.form}}"


def _range(spread: Spread | None, form: str) -> str:
    return "" if spread is None else f"{spread.low:{form}} to {spread.high:{form}}"


def _ratio(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def markdown(titles: list[str], rows: list[list[str]]) -> list[str]:
    """Return a Markdown table's lines."""
    lines = [titles, ["---"] * len(titles), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]
