"""Markdown tables of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.measure.statistics import Spread, ratios

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure.results import Results


@dataclass(frozen=True)
class Column:
    """A figure of the samples, and how a table shows it."""

    figure: str
    title: str
    form: str = ".0f"


CALLS: Final = (
    Column("cpu_us", "CPU µs a call"),
    Column("calls_per_s", "calls a second", ",.0f"),
    Column("p50_us", "p50 µs", ",.0f"),
    Column("p99_us", "p99 µs", ",.0f"),
)
LIFE: Final = (
    Column("first_answer_ms", "start to first answer, ms"),
    Column("idle_rss_mib", "RSS idle, MiB"),
    Column("loaded_rss_mib", "RSS after 128 callers, MiB"),
    Column("crowded_rss_mib", "RSS with 1,000 idle callers, MiB"),
    Column("caller_kib", "KiB an idle caller", ".1f"),
)


def table(results: Results, scenario: str, peers: Sequence[str], columns: Sequence[Column], base: str) -> list[str]:
    """Return one scenario's table: medians; of the first column also quartiles and the same-round ratio to ``base``."""
    first = columns[0]
    titles = ["", *(column.title for column in columns), f"{first.title}: quartiles", f"× {base}"]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    under = results.figures(scenario, base, first.figure)
    for peer in peers:
        over = results.figures(scenario, peer, first.figure)
        spread = Spread.of(over.values())
        if spread is None:
            continue
        cells = [peer, *(_median(results, scenario, peer, column) for column in columns)]
        cells.append(f"{spread.low:{first.form}} to {spread.high:{first.form}}")
        ratio = Spread.of(ratios(over, under))
        cells.append("–" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _median(results: Results, scenario: str, peer: str, column: Column) -> str:
    spread = Spread.of(results.figures(scenario, peer, column.figure).values())
    return "–" if spread is None else f"{spread.median:{column.form}}"
