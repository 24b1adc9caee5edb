"""What the sidecar has to reach, each figure a median of same-round comparisons, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.measure.statistics import Spread, ratios
from benchmarks.scenarios import gain, life, start

if TYPE_CHECKING:
    from benchmarks.measure.results import Results


@dataclass(frozen=True)
class Target:
    """The sidecar's figure divided by a peer's, or the other way round where more is better."""

    title: str
    scenario: str
    figure: str
    against: str
    target: float
    stretch: float
    #: Whether the ratio has to be at least, not at most, that.
    at_least: bool = False
    #: Whether the peer's figure is the one that is divided.
    inverted: bool = False


@dataclass(frozen=True)
class Verdict:
    """What was measured for a target; no spread if the run lacks one of the two sides."""

    target: Target
    measured: Spread | None

    @property
    def word(self) -> str:
        """How it stands."""
        if self.measured is None:
            return "not measured"
        sign = -1 if self.target.at_least else 1
        # As precise as it is printed.
        value = sign * round(self.measured.median, 2)
        if value <= sign * self.target.stretch:
            return "stretch met"
        return "met" if value <= sign * self.target.target else "**missed**"


TARGETS: Final = (
    Target("CPU a call against Envoy with an access log, small GET, 16 callers", "get-16", "cpu_us", "Envoy", 1.6, 1.2),
    Target("CPU a call against FastAPI + httpx, small GET, 4 callers", "get-4", "cpu_us", "FastAPI", 0.10, 0.06),
    Target("CPU a call against Node http-proxy-3, small GET, 16 callers", "get-16", "cpu_us", "Node", 1.1, 0.7),
    Target("p50 against Envoy, small GET, 1 caller", "get-1", "p50_us", "Envoy", 1.5, 1.0),
    Target("calls a second against mitmproxy, 16 callers", "get-16", "calls_per_s", "mitmproxy", 12, 20, at_least=True),
    Target("idle RSS against Envoy", life.NAME, "idle_rss_mib", "Envoy", 0.75, 0.6),
    Target("RSS after load of 128 callers against Envoy", life.NAME, "loaded_rss_mib", "Envoy", 1.0, 0.7),
    Target(
        "start to ready line against `python -c 'import aiohttp.web'`", start.NAME, "ready_ms", start.IMPORT, 1.8, 1.4
    ),
    Target(
        "an app with a new TLS connection a call, direct against through the sidecar, 50 ms round trip",
        gain.name(50),
        "p50_us",
        gain.DIRECT,
        2.9,
        3.0,
        at_least=True,
        inverted=True,
    ),
)


def verdicts(results: Results, sidecar: str) -> list[Verdict]:
    """Judge the sidecar of that name."""
    found = []
    for target in TARGETS:
        ours = results.figures(target.scenario, sidecar, target.figure)
        against = start.bare(sidecar, results.ours or [sidecar]) if target.against == start.IMPORT else target.against
        theirs = results.figures(target.scenario, against, target.figure)
        pairs = ratios(theirs, ours) if target.inverted else ratios(ours, theirs)
        found.append(Verdict(target, Spread.of(pairs)))
    return found


def table(found: list[Verdict]) -> list[str]:
    """Return a Markdown table."""
    lines = [
        "| figure | target | stretch | measured | quartiles | rounds | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for verdict in found:
        target, spread = verdict.target, verdict.measured
        sign = "≥" if target.at_least else "≤"
        seen = (
            "– | – | 0"
            if spread is None
            else (f"**{spread.median:.2f}** | {spread.low:.2f} to {spread.high:.2f} | {spread.count}")
        )
        lines.append(
            f"| {target.title} | {sign} {target.target:g} | {sign} {target.stretch:g} | {seen} | {verdict.word} |"
        )
    return lines
