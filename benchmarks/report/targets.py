"""What the sidecar has to reach, each figure a median of same-round comparisons, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.measure.results import Build
from benchmarks.measure.statistics import Spread, ratios
from benchmarks.scenarios import gain, life, start

if TYPE_CHECKING:
    from benchmarks.measure.results import Results


#: The bar of each build; a build without one is not judged.
Bars = Mapping[Build, float]


def _everywhere(bar: float) -> Bars:
    return dict.fromkeys(Build, bar)


def _by_build(pure: float, compiled: float) -> Bars:
    return {build: compiled if build in {Build.COMPILED, Build.COMPILED_PGO} else pure for build in Build}


@dataclass(frozen=True)
class Target:
    """The sidecar's figure divided by a peer's, or the other way round where more is better."""

    title: str
    scenario: str
    figure: str
    against: str
    bars: Bars
    #: Whether the ratio has to be at least, not at most, that.
    at_least: bool = False
    #: Whether the peer's figure is the one that is divided.
    inverted: bool = False


@dataclass(frozen=True)
class Verdict:
    """What was measured for a target; no spread if the run lacks one of the two sides."""

    target: Target
    bar: float
    measured: Spread | None

    @property
    def word(self) -> str:
        """How it stands."""
        if self.measured is None:
            return "not measured"
        sign = -1 if self.target.at_least else 1
        # As precise as it is printed.
        return "met" if sign * round(self.measured.median, 2) <= sign * self.bar else "**missed**"


TARGETS: Final = (
    Target(
        "CPU a call against Envoy with an access log, small GET, 16 callers",
        "get-16",
        "cpu_us",
        "Envoy",
        {Build.PURE: 1.42, Build.PURE_PGO: 1.22, Build.COMPILED: 1.08, Build.COMPILED_PGO: 0.92},
    ),
    Target(
        "CPU a call against Envoy with an access log, 1 KB POST, 16 callers",
        "post-1k",
        "cpu_us",
        "Envoy",
        {Build.PURE_PGO: 1.25, Build.COMPILED_PGO: 1.0},
    ),
    Target(
        "p50 against Envoy, small GET, 1 caller",
        "get-1",
        "p50_us",
        "Envoy",
        {Build.PURE_PGO: 1.05, Build.COMPILED_PGO: 0.95},
    ),
    Target("idle RSS against Envoy", life.NAME, "idle_rss_mib", "Envoy", _by_build(pure=0.70, compiled=0.75)),
    Target("RSS after load of 128 callers against Envoy", life.NAME, "loaded_rss_mib", "Envoy", _everywhere(1.0)),
    Target(
        "start to ready line against `python -c 'import aiohttp.web'`",
        start.NAME,
        "ready_ms",
        start.IMPORT,
        _everywhere(1.25),
    ),
    Target("CPU a call against FastAPI + httpx, small GET, 4 callers", "get-4", "cpu_us", "FastAPI", _everywhere(0.06)),
    Target("CPU a call against Node http-proxy-3, small GET, 16 callers", "get-16", "cpu_us", "Node", _everywhere(0.7)),
    Target(
        "calls a second against mitmproxy, 16 callers",
        "get-16",
        "calls_per_s",
        "mitmproxy",
        _everywhere(12),
        at_least=True,
    ),
    Target(
        "an app with a new TLS connection a call, direct against through the sidecar, 50 ms round trip",
        gain.name(50),
        "p50_us",
        gain.DIRECT,
        _everywhere(2.9),
        at_least=True,
        inverted=True,
    ),
)


def verdicts(results: Results, sidecar: str) -> list[Verdict]:
    """Judge the sidecar of that name by the bars of its build."""
    found = []
    # Runs of before they were told apart had one of Python alone, without PGO.
    build = results.builds.get(sidecar, Build.PURE)
    for target in TARGETS:
        bar = target.bars.get(build)
        if bar is None:
            continue
        ours = results.figures(target.scenario, sidecar, target.figure)
        against = start.bare(sidecar, results.ours or [sidecar]) if target.against == start.IMPORT else target.against
        theirs = results.figures(target.scenario, against, target.figure)
        pairs = ratios(theirs, ours) if target.inverted else ratios(ours, theirs)
        found.append(Verdict(target, bar, Spread.of(pairs)))
    return found


def table(found: list[Verdict]) -> list[str]:
    """Return a Markdown table."""
    lines = [
        "| figure | target | measured | quartiles | rounds | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for verdict in found:
        target, spread = verdict.target, verdict.measured
        sign = "≥" if target.at_least else "≤"
        seen = (
            "– | – | 0"
            if spread is None
            else (f"**{spread.median:.2f}** | {spread.low:.2f} to {spread.high:.2f} | {spread.count}")
        )
        lines.append(f"| {target.title} | {sign} {verdict.bar:g} | {seen} | {verdict.word} |")
    return lines
