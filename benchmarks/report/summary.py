"""What users want to know of a run, in two short tables. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.measure.statistics import Spread, differences, ratios
from benchmarks.report.tables import markdown
from benchmarks.scenarios import gain, life

if TYPE_CHECKING:
    from benchmarks.measure.results import Results


class _Figure(NamedTuple):
    title: str
    scenario: str
    figure: str


_COSTS: Final = (
    _Figure("CPU a call, µs", "get-16", "cpu_us"),
    _Figure("start, ms", life.NAME, "first_answer_ms"),
    _Figure("memory idle, MiB", life.NAME, "idle_rss_mib"),
    _Figure("after load, MiB", life.NAME, "loaded_rss_mib"),
)


def chapters(results: Results) -> dict[str, str]:
    """Return the tables by the title of their chapter."""
    return {"What a call costs": "\n".join(_costs(results)), "What an app gains": "\n".join(_gains(results))}


def _costs(results: Results) -> list[str]:
    """Return one row a peer: medians, the cheapest call first, our own in bold."""
    rows = []
    straight = results.figures("get-1", gain.DIRECT, "p50_us")
    for peer in results.versions:
        added = Spread.of(differences(results.figures("get-1", peer, "p50_us"), straight))
        spreads = [Spread.of(results.figures(each.scenario, peer, each.figure).values()) for each in _COSTS]
        if spreads[0] is not None:
            cells = [f"{spread.median:,.0f}" if spread else "" for spread in (spreads[0], added, *spreads[1:])]
            rows.append((spreads[0].median, [f"**{peer}**" if peer in results.ours else peer, *cells]))
    first, *others = (each.title for each in _COSTS)
    return markdown(["", first, "added latency, µs", *others], [cells for _, cells in sorted(rows)])


def _gains(results: Results) -> list[str]:
    """Return one row a distance: what a call takes each way. What the sidecar itself costs is lost in the distance."""
    rows = []
    for round_trip in gain.ROUND_TRIPS:
        scenario = gain.name(round_trip)
        straight = results.figures(scenario, gain.DIRECT, "p50_us")
        for ours in results.ours[:1]:
            through = results.figures(scenario, ours, "p50_us")
            spreads = [Spread.of(straight.values()), Spread.of(through.values())]
            faster = Spread.of(ratios(straight, through))
            if faster is not None:
                cells = [f"{spread.median / 1000:,.1f}" if spread else "" for spread in spreads]
                distance = f"{round_trip} ms away" if round_trip else "on the same machine"
                rows.append([distance, *cells, f"{faster.median:.1f}"])
    return markdown(["Mangopay is", "directly, ms", "through the sidecar, ms", "times as fast"], rows)
