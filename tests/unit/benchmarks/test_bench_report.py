"""From samples to verdicts, tables, charts and chapters."""

from __future__ import annotations

import re
from itertools import pairwise, product
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import publish
from benchmarks.measure.results import Build, Results, Sample
from benchmarks.measure.statistics import Spread
from benchmarks.report import charts, document, growth, summary, svg, tables, targets
from benchmarks.report.targets import TARGETS, Target, Verdict
from benchmarks.scenarios import calls, curve, gain, life, start

ROOT = Path(__file__).parents[3]
SVG = "{http://www.w3.org/2000/svg}"


def call_figures(cpu: float) -> dict[str, float]:
    return {"cpu_us": cpu, "calls_per_s": 1e6 / cpu, "p50_us": 3 * cpu, "p99_us": 9 * cpu, "others_busy": 0.02}


def whole_run() -> Results:
    """Two rounds, of which the second was twice as slow for everybody."""
    speeds = {"sidecar": 50.0, "Envoy": 40.0, "Node": 80.0, "FastAPI": 2000.0, "mitmproxy": 1200.0}
    results = Results({"CPU": "one"}, dict.fromkeys(speeds, "1.0"), ours=["sidecar"])
    for number, (peer, cpu) in product((1, 2), speeds.items()):
        for each in calls.ALL:
            results.samples.append(Sample(number, each.name, peer, call_figures(cpu * number)))
        memory = {column.figure: cpu for column in tables.LIFE}
        results.samples.append(Sample(number, life.NAME, peer, memory))
    for number in (1, 2):
        results.samples.append(Sample(number, "get-1", gain.DIRECT, {"p50_us": 70.0 * number}))
        for round_trip, (peer, took) in product(gain.ROUND_TRIPS, {gain.DIRECT: 150.0, "sidecar": 50.0}.items()):
            found = {"p50_us": took * number, "p99_us": took * number, "app_cpu_us": took}
            results.samples.append(Sample(number, gain.name(round_trip), peer, found))
        for peer, took in {"sidecar": 300.0, start.IMPORT: 200.0}.items():
            results.samples.append(Sample(number, start.NAME, peer, {"ready_ms": took * number}))
        for point in curve.POINTS:
            found = {"cpu_us": 5.0 + point.value / 1000, "grown_mib": point.value / 1e6, "cpu_ms_per_s": 1.0}
            results.samples.append(Sample(number, point.name, "sidecar", found))
    return results


# --- samples ---------------------------------------------------------------------------------------------------------


def test_results_survive_being_written() -> None:
    results = whole_run()
    results.missing["nginx"] = "no package"
    results.builds["sidecar"] = Build.COMPILED_PGO
    results.samples.append(Sample(3, "get-1", "Envoy", failure="status 503"))
    assert Results.from_json(results.to_json()) == results


def test_failures_have_no_figures_and_are_not_lost() -> None:
    failed = Sample(2, "get-1", "Envoy", failure="status 503 (3)")
    results = Results(samples=[Sample(1, "get-1", "Envoy", {"cpu_us": 1.0}), failed])
    assert results.figures("get-1", "Envoy", "cpu_us") == {1: 1.0}
    assert results.failures() == [failed]
    assert "- round 2, get-1, Envoy: status 503 (3)" in document.sections(results, ".")["Results"]


def test_a_peer_that_is_not_there_is_named() -> None:
    results = whole_run()
    results.missing["HAProxy"] = "no such package"
    assert "| HAProxy | **not there**: no such package |" in document.sections(results, ".")["Results"]


# --- targets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "at_least", "word"),
    [
        (1.2, False, "met"),
        (1.6, False, "met"),
        (1.604, False, "met"),
        (1.61, False, "**missed**"),
        (2.0, True, "met"),
        (1.6, True, "met"),
        (1.596, True, "met"),
        (1.59, True, "**missed**"),
    ],
)
def test_a_verdict_is_as_precise_as_what_is_printed(measured: float, at_least: bool, word: str) -> None:
    target = Target("", "", "", "", {}, at_least=at_least)
    assert Verdict(target, 1.6, Spread.of([measured])).word == word


def test_every_target_is_judged_by_ratios_within_a_round() -> None:
    results = whole_run()
    results.builds["sidecar"] = Build.PURE_PGO
    found = {verdict.target.title: verdict.measured for verdict in targets.verdicts(results, "sidecar")}
    medians = [None if spread is None else pytest.approx(spread.median) for spread in found.values()]
    assert medians == [1.25, 1.25, 1.25, 1.25, 1.25, 1.5, 0.025, 0.625, 24.0, 3.0]
    assert len(found) == len(TARGETS) == 10


@pytest.mark.parametrize("build", Build)
def test_a_build_is_judged_by_its_own_bars(build: Build) -> None:
    results = Results(builds={"sidecar": build})
    found = targets.verdicts(results, "sidecar")
    assert [verdict.bar for verdict in found] == [each.bars[build] for each in TARGETS if build in each.bars]
    (cpu, *_) = found
    assert (
        cpu.bar
        == {"Python": {True: 1.22, False: 1.42}, "compiled": {True: 0.92, False: 1.08}}[build.split(",")[0]][
            "with PGO" in build
        ]
    )


def test_a_build_is_told_by_what_it_is() -> None:
    assert {Build.of(compiled=compiled, pgo=pgo) for compiled, pgo in product((True, False), repeat=2)} == set(Build)
    assert Build.of(compiled=True, pgo=False) is Build.COMPILED


def test_what_a_run_lacks_is_not_measured() -> None:
    found = targets.verdicts(Results(builds={"sidecar": Build.COMPILED_PGO}), "sidecar")
    assert {verdict.word for verdict in found} == {"not measured"}
    assert len(targets.table(found)) == 2 + len(TARGETS)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_a_table_has_a_row_for_each_peer_that_was_measured() -> None:
    lines = tables.table(whole_run(), "get-16", ["sidecar", "nginx", "Envoy"], tables.CALLS[:1], "Envoy")
    assert lines[2:] == [
        "| sidecar | 75 | 62 to 88 | 1.25 (1.25 to 1.25) |",
        "| Envoy | 60 | 50 to 70 | 1.00 (1.00 to 1.00) |",
    ]


def test_added_latency_is_a_difference_within_a_round() -> None:
    lines = tables.added_latency(whole_run(), "get-1", ["sidecar"], gain.DIRECT)
    assert lines[2:] == ["| sidecar | 120 | 100 to 140 |"]


def test_two_sidecars_are_compared_with_each_other() -> None:
    results = whole_run()
    results.ours.append("Node")
    text = document.sections(results, ".")["Results"]
    [row] = re.findall(r"### From sidecar to Node\n.*?(\| get-16 \|[^\n]*)", text, re.DOTALL)
    assert row == "| get-16 | 1.60 (1.60 to 1.60) | 0.62 (0.62 to 0.62) | 1.60 (1.60 to 1.60) |  |  |  |"


@pytest.mark.parametrize(
    ("exponent", "superlinear"), [(1.0, False), (1.1, False), (1.2, True), (2.0, True), (0.0, False), (-1.0, False)]
)
def test_growth_is_seen(exponent: float, superlinear: bool) -> None:
    results = Results(
        versions={"sidecar": "1"},
        ours=["sidecar"],
        samples=[Sample(1, p.name, "sidecar", {"grown_mib": 3.0 * p.value**exponent}) for p in curve.POINTS if p.value],
    )
    idle = next(each for each in growth.GROWTHS if each.axis is curve.IDLE)
    assert growth.exponent(results, "sidecar", idle) == pytest.approx(exponent, abs=1e-9)
    assert ("**superlinear**" in document.sections(results, ".")["Cost curve"]) is superlinear


def test_cost_of_all_callers_together_is_what_must_not_grow_faster_than_they() -> None:
    growths = [each for each in growth.GROWTHS if each.times_axis]
    flat = Results(samples=[Sample(1, p.name, "sidecar", {"cpu_us": 50.0}) for p in curve.POINTS])
    assert [growth.exponent(flat, "sidecar", each) for each in growths] == [pytest.approx(1.0)]


# --- charts ----------------------------------------------------------------------------------------------------------


def test_every_chart_is_well_formed_and_is_shown() -> None:
    drawn = charts.all_of(whole_run())
    assert set(drawn) == {*charts.COMPARISONS, *charts.CURVES}
    for text in drawn.values():
        assert ET.fromstring(text).tag == f"{SVG}svg"
    shown = "".join(document.sections(whole_run(), "place").values())
    assert set(re.findall(r"\]\(place/([^)]+)\)", shown)) == set(drawn)


def test_bars_are_as_long_as_their_values() -> None:
    rows = [svg.Bar("a", Spread(10, 9, 11, 3)), svg.Bar("b & c", Spread(40, 30, 50, 3), ours=True)]
    picture = ET.fromstring(svg.bars("<Title>", "µs", rows))
    short, long = (float(each.attrib["width"]) for each in picture.findall(f"{SVG}rect")[1:])
    assert long == pytest.approx(4 * short, rel=0.01)
    texts = [each.text for each in picture.findall(f"{SVG}text")]
    assert {"<Title>", "a", "b & c", "10", "40"} <= set(texts)


def test_equal_factors_are_equal_steps_on_a_curve() -> None:
    series = svg.Series("one", [(1, 2.0), (10, 20.0), (100, 200.0), (1000, 0.0)])
    [line] = ET.fromstring(svg.curves("t", "callers", "µs", [series])).findall(f"{SVG}polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(points) == 3, "a value of zero has no place on a logarithmic axis"
    (ax, ay), (bx, by), (cx, cy) = points
    assert bx - ax == pytest.approx(cx - bx, abs=0.2)
    assert by - ay == pytest.approx(cy - by, abs=0.2)
    assert by < ay, "up is more"


def test_labels_of_curves_that_end_together_do_not_overlap() -> None:
    series = [svg.Series(name, [(1, 1.0), (10, 10.0)]) for name in "abc"]
    picture = ET.fromstring(svg.curves("t", "callers", "µs", series))
    places = [float(each.attrib["y"]) for each in picture.findall(f"{SVG}text") if each.text in {"a", "b", "c"}]
    assert all(abs(one - other) >= 15 for one, other in pairwise(places))


# --- for users -------------------------------------------------------------------------------------------------------


def test_the_summary_has_a_row_a_peer_the_cheapest_first() -> None:
    lines = summary.chapters(whole_run())["What a call costs"].splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| Envoy", "| **sidecar**", "| Node", "| mitmproxy", "| FastAPI",
    ]  # fmt: skip
    # The median of 50 and 100, and of 150 − 70 and 300 − 140.
    assert lines[3] == "| **sidecar** | 75 | 120 | 50 | 50 | 50 |"


def test_the_summary_says_what_an_app_gains_at_each_distance() -> None:
    lines = summary.chapters(whole_run())["What an app gains"].splitlines()
    assert lines[2:] == [
        "| on the same machine | 0.2 | 0.1 | 3.0 |",
        "| 50 ms away | 0.2 | 0.1 | 3.0 |",
    ]


def test_a_peer_that_was_not_measured_is_not_in_the_summary() -> None:
    results = whole_run()
    results.versions["nginx"] = "1.0"
    assert "nginx" not in summary.chapters(results)["What a call costs"]


# --- the documentation -----------------------------------------------------------------------------------------------


def test_a_chapter_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for the chapter 'Results'"):
        publish.with_chapters("# A page\n", document.sections(whole_run(), "."))


def test_the_documentation_says_what_its_samples_say() -> None:
    results = Results.from_json((publish.PLACE / document.SAMPLES).read_text(encoding="utf-8"))
    for path, made in publish.chapters(results).items():
        page = path.read_text(encoding="utf-8")
        assert publish.with_chapters(page, made) == page, path
    drawn = {path.name: path.read_text(encoding="utf-8") for path in publish.PLACE.glob("*.svg")}
    assert drawn == charts.all_of(results)
