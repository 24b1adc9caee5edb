"""The report of a run: Markdown, charts and the samples themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.measure.statistics import Spread
from benchmarks.report import charts, growth, tables, targets
from benchmarks.rounds import DISTURBED
from benchmarks.scenarios import calls, curve, gain, life, start

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure.results import Results

NAME: Final = "report.md"
SAMPLES: Final = "results.json"
#: What the others are compared with, where it took part.
_BASE: Final = "Envoy"


def write(results: Results, directory: Path) -> None:
    """Write everything into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.svg"):
        old.unlink()
    (directory / SAMPLES).write_text(results.to_json())
    for name, text in charts.all_of(results).items():
        (directory / name).write_text(text)
    chapters = [f"## {title}\n\n{text}" for title, text in sections(results, ".").items()]
    (directory / NAME).write_text("# Benchmark\n\n" + "\n\n".join(chapters) + "\n")


def sections(results: Results, place: str) -> dict[str, str]:
    """Return the chapters by title; ``place`` is where the charts are, seen from the document."""
    return {
        title: "\n".join(lines).strip()
        for title, lines in (
            ("Results", _results(results, place)),
            ("The user's gain", _gain(results)),
            ("Cost curve", _curves(results, place)),
        )
    }


def _results(results: Results, place: str) -> list[str]:
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in results.about.items())]
    lines += ["", "| peer | version, and how it ran |", "| --- | --- |"]
    lines += [f"| {name} | {version} |" for name, version in results.versions.items()]
    lines += [f"| {name} | **not there**: {why} |" for name, why in results.missing.items()]
    for name in results.ours:
        lines += ["", f"### Targets{'' if name == 'sidecar' else f': {name}'}", ""]
        lines += targets.table(targets.verdicts(results, name))
    for name in results.ours[1:]:
        base = results.ours[0]
        scenarios = sorted({sample.scenario for sample in results.samples if sample.peer == base})
        lines += ["", f"### From {base} to {name}", "", *tables.between(results, scenarios, base, name)]
    lines += ["", *_charts(results, place, charts.COMPARISONS)]
    peers = [*results.versions, gain.DIRECT]
    for each in calls.ALL:
        lines += _table(results, each.name, each.title, peers, tables.CALLS)
    lines += _added_latency(results)
    lines += _table(results, life.NAME, "Start and memory", peers, tables.LIFE)
    imports = [start.bare(name, results.ours) for name in results.ours]
    lines += _table(results, start.NAME, "Start to ready line", [*peers, *imports], tables.START, start.IMPORT)
    return lines + _disturbances(results) + _failures(results)


def _table(
    results: Results, scenario: str, title: str, peers: list[str], columns: tuple[tables.Column, ...], base: str = _BASE
) -> list[str]:
    rows = tables.table(results, scenario, peers, columns, base)
    return ["", f"### {title[0].upper()}{title[1:]}", "", *rows] if len(rows) > 2 else []


def _added_latency(results: Results) -> list[str]:
    rows = tables.added_latency(results, "get-1", list(results.versions), gain.DIRECT)
    return ["", "### Latency that each adds to a call of one caller", "", *rows] if len(rows) > 2 else []


def _gain(results: Results) -> list[str]:
    lines = []
    for round_trip in gain.ROUND_TRIPS:
        title = f"{round_trip} ms round trip" if round_trip else "no distance"
        rows = tables.gain(results, gain.name(round_trip), [gain.DIRECT, *results.ours], gain.DIRECT)
        if len(rows) > 2:
            lines += ["", f"### {title[0].upper()}{title[1:]}", "", *rows]
    return lines or ["Not measured in this run."]


def _curves(results: Results, place: str) -> list[str]:
    peers = [
        name for name in results.versions if any(growth.medians(results, name, a, "grown_mib") for a in curve.AXES)
    ]
    if not peers:
        return ["Not measured in this run."]
    lines = ["| cost | over | from | " + " | ".join(f"exponent, {peer}" for peer in peers) + " | |"]
    lines.append(f"|{' --- |' * (len(peers) + 4)}")
    for each in growth.GROWTHS:
        found = [growth.exponent(results, peer, each) for peer in peers]
        judged = [value for value, peer in zip(found, peers, strict=True) if peer in results.ours and value is not None]
        word = "**superlinear**" if any(value > growth.LINEAR for value in judged) else "not superlinear"
        cells = " | ".join("does not grow" if value is None else f"{value:.2f}" for value in found)
        lines.append(f"| {each.title} | {each.axis.title} | {each.start:,} | {cells} | {word} |")
    lines += ["", *_charts(results, place, charts.CURVES)]
    for axis in curve.AXES:
        lines += ["", f"### Over {axis.title}", "", *tables.curve(results, axis, peers)]
    return lines


def _charts(results: Results, place: str, names: tuple[str, ...]) -> list[str]:
    there = charts.all_of(results)
    return [f"![{charts.TITLES[name]}]({place}/{name})" for name in names if name in there]


def _disturbances(results: Results) -> list[str]:
    others = [sample.figures["others_busy"] for sample in results.samples if "others_busy" in sample.figures]
    spread = Spread.of(others)
    if spread is None:
        return []
    beyond = sum(value > DISTURBED for value in others)
    said = f"Others used {spread.median:.2f} cores in the median measurement ({spread.low:.2f} to {spread.high:.2f}); "
    return ["", f"{said}in {beyond} of {spread.count} it was more than {DISTURBED:.2f}."]


def _failures(results: Results) -> list[str]:
    failed = results.failures()
    if not failed:
        return []
    lines = ["", "### What failed", ""]
    return lines + [f"- round {each.round}, {each.scenario}, {each.peer}: {each.failure}" for each in failed]
