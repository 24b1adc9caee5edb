"""The gate on instructions: when it holds, what it says, and how callgrind's dumps are read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import instructions
from benchmarks.counting import baseline, parts
from benchmarks.counting.baseline import Baseline, Counts, Verdict, judge, nearest, report
from benchmarks.counting.callgrind import Callgrind, CountingError
from benchmarks.counting.parts import CLOCK, INTERPRETER, LOOP, PARTS, Part, part_of
from benchmarks.counting.workloads import WORKLOADS, Workload

ROOT = Path(__file__).parents[3]
KIND = "cpython-3.11-x86_64"
TITLES = {"get": "small GET", "post": "1 KB POST"}


def counts(get: float = 300_000, post: float = 400_000, *, reference: float = 100_000_000, build: str = "b") -> Counts:
    return Counts(reference, {"get": get, "post": post}, build)


BEFORE = Baseline(KIND, counts())


# --- the rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("get", "holds"),
    [
        (300_000, True),
        (329_999, True),
        (330_100, False),
        (270_001, True),
        (269_900, False),
    ],
)
def test_a_cost_may_differ_by_a_tenth_either_way(get: float, holds: bool) -> None:
    found = {verdict.name: verdict for verdict in judge(counts(get), BEFORE)}
    assert found["get"].holds is holds
    assert found["post"].holds, "the other workload is judged by itself"


def test_an_interpreter_that_needs_fewer_instructions_for_everything_changes_nothing() -> None:
    faster = counts(240_000, 320_000, reference=80_000_000)
    assert [verdict.change for verdict in judge(faster, BEFORE)] == [pytest.approx(0), pytest.approx(0)]


def test_a_call_that_grows_with_the_interpreter_standing_still_is_seen_on_any_build() -> None:
    faster = counts(240_000 * 1.2, 320_000, reference=80_000_000)
    assert judge(faster, BEFORE)[0].change == pytest.approx(0.2)
    assert not judge(faster, BEFORE)[0].holds


def test_what_cannot_be_compared_does_not_hold() -> None:
    assert judge(counts(), None) == [Verdict("get", None), Verdict("post", None)]
    assert not any(verdict.holds for verdict in judge(counts(), None))
    one_more = Counts(1e8, {**counts().calls, "put": 1.0}, "b")
    assert judge(one_more, BEFORE)[2] == Verdict("put", None)


def test_a_workload_that_was_not_measured_does_not_hold() -> None:
    assert judge(Counts(1e8, {"get": 300_000}, "b"), BEFORE) == [Verdict("get", 0.0), Verdict("post", None)]


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        ("cpython-3.11-x86_64", "cpython-3.11-x86_64"),
        ("cpython-3.12-x86_64", "cpython-3.11-x86_64"),
        ("cpython-3.14-x86_64", "cpython-3.13-x86_64"),
        ("cpython-3.14-aarch64", "cpython-3.13-x86_64"),
        ("cpython-3.13-ppc64le", "cpython-3.13-x86_64"),
        ("pypy-3.11-x86_64", None),
    ],
)
def test_a_kind_without_a_baseline_is_held_to_the_nearest_of_its_kin(kind: str, held: str | None) -> None:
    there = {"cpython-3.13-x86_64": counts(), "cpython-3.11-x86_64": counts(), "cpython-3.9-aarch64": counts()}
    if "aarch64" in kind:
        del there["cpython-3.9-aarch64"]
    found = nearest(there, kind)
    assert (found and found.kind) == held


def test_the_same_machine_counts_more_than_the_same_version() -> None:
    there = {"cpython-3.12-aarch64": counts(), "cpython-3.11-x86_64": counts()}
    found = nearest(there, "cpython-3.12-x86_64")
    assert found is not None
    assert found.kind == "cpython-3.11-x86_64"


# --- its words -------------------------------------------------------------------------------------------------------


def test_a_run_that_holds_says_what_was_counted_and_gives_no_advice() -> None:
    said = report(KIND, counts(315_000), BEFORE, TITLES)
    assert "ok      small GET: 315,000 instructions a call" in said
    assert (
        "        3.150 thousandths of the reference: +5.0% against the baseline's 3.000 (at most 10% either way)"
        in said
    )
    assert "FAILED" not in "".join(said)
    assert "--write" not in "".join(said)


def test_a_dearer_call_says_by_how_much_how_to_look_closer_and_how_to_accept_it() -> None:
    said = "\n".join(report(KIND, counts(345_000), BEFORE, TITLES))
    assert "FAILED  small GET: 345,000 instructions a call" in said
    assert "+15.0% against the baseline's 3.000" in said
    assert "ok      1 KB POST" in said
    assert "A call has become dearer. To see where: make instructions ARGUMENTS=--where" in said
    assert "To accept these figures: make instructions ARGUMENTS=--write" in said


def test_a_cheaper_call_asks_for_the_gain_to_be_taken_in() -> None:
    said = "\n".join(report(KIND, counts(post=300_000), BEFORE, TITLES))
    assert "-25.0%" in said
    assert "A call has become cheaper: take the gain in" in said
    assert "dearer" not in said


def test_a_missing_baseline_is_said_aloud() -> None:
    said = "\n".join(report("pypy-3.11-x86_64", counts(), None, TITLES))
    assert said.count("FAILED") == 2
    assert "no baseline to compare it with" in said
    assert "the baseline of pypy-3.11-x86_64 is missing" in said


def test_a_baseline_of_another_kind_is_named() -> None:
    said = "\n".join(report("cpython-3.12-x86_64", counts(), BEFORE, TITLES))
    assert f"baseline of  {KIND}: b" in said
    assert "since there is none of cpython-3.12-x86_64" in said


# --- the committed file ----------------------------------------------------------------------------------------------


def test_baselines_survive_being_written() -> None:
    there = {KIND: counts(), "cpython-3.12-x86_64": counts(1.0)}
    assert baseline.read(baseline.written(there)) == there


def test_the_committed_baselines_have_every_workload_and_fit_this_interpreter() -> None:
    text = instructions.BASELINES.read_text()
    there = baseline.read(text)
    assert text == baseline.written(there)
    names = {each.name for each in WORKLOADS}
    for found in there.values():
        assert set(found.calls) == names
    if sys.implementation.name == "cpython":
        assert nearest(there, instructions.kind()) is not None


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("get", "status"), [(1.0, 0), (1.09, 0), (1.11, 1), (0.89, 1)])
def test_the_exit_status_is_the_verdict(
    get: float, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instructions, "BASELINES", tmp_path / "baseline.json")
    monkeypatch.setattr(instructions, "count", lambda *_: counts())
    monkeypatch.setattr(sys, "argv", ["instructions", "--write"])
    assert instructions.main() == 0, "what has just been written holds"
    monkeypatch.setattr(instructions, "count", lambda *_: counts(300_000 * get))
    monkeypatch.setattr(sys, "argv", ["instructions"])
    assert instructions.main() == status
    assert ("FAILED" in capsys.readouterr().out) is bool(status)


def test_without_valgrind_the_command_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["instructions"])
    assert instructions.main() == 2
    assert "error: valgrind is not installed (Debian: apt-get install valgrind)" in capsys.readouterr().err


# --- counting --------------------------------------------------------------------------------------------------------


def test_a_stretch_lies_between_two_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/valgrind")
    callgrind = Callgrind(tmp_path, "accept*")
    assert "--dump-before=accept*" in callgrind.prefix
    with pytest.raises(CountingError, match=r"has not called accept\*: no log"):
        callgrind.since_last()
    (tmp_path / "callgrind.out.1").write_text("events: Ir\nsummary: 100\n\ntotals: 100\n")
    assert callgrind.since_last() == 100
    (tmp_path / "callgrind.out.2").write_text("summary: 20\n")
    (tmp_path / "callgrind.out.3").write_text("summary: 7\n")
    assert callgrind.since_last() == 27
    (tmp_path / "callgrind.out").write_text("totals: 5\n")
    assert callgrind.whole() == 132
    (tmp_path / "callgrind.out.10").write_text("summary: 9\n")
    assert callgrind.median_of_last(3) == 9, "10 comes after 3"
    with pytest.raises(CountingError, match="4 times only"):
        callgrind.median_of_last(4)


def test_what_goes_by_the_clock_is_no_cost_of_a_call() -> None:
    stretches = instructions._Stretches([(1_000 + 100 * 50 + 2_000, 2.0), (1_000 + 100 * 70 + 4_000, 4.0), (9**9, 1.0)])
    assert stretches.cost(empty=1_000, idle=1_000) == 70


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda each: each.name)
def test_a_request_is_framed_right(workload: Workload) -> None:
    head, _, body = workload.request(7).partition(b"\r\n\r\n")
    assert body == workload.body
    assert (b"\r\nContent-Length: %d" % len(body) in head) is bool(body)
    assert len(body) in {0, 1024}
    assert (workload.request(1) != workload.request(2)) is bool(body), "each POST has a key of its own"


# --- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name", "part"),
    [
        ("downstream/server.py", "ProxyServer._sweep", CLOCK),
        ("downstream/server.py", "ProxyServer.mark_busy", "the caller's connection"),
        ("core/http/headers.py", "render_response_head", "writing the answer"),
        ("core/http/headers.py", "RequestTemplate.render", "rewriting the request"),
        ("upstream/tls_transport.py", "TlsLayer.write", "TLS"),
        ("upstream/pool.py", "Pool.take_idle", "pool and upstream's connection"),
        ("runtime.py", "SystemClock.now", None),
    ],
)
def test_a_function_belongs_to_a_part_or_to_its_caller(module: str, name: str, part: str | None) -> None:
    assert part_of(f"/somewhere/sidecar/{module}", name) == part
    assert part_of(f"/somewhere/aiohttp/{module}", name) is None


def test_every_part_names_modules_that_there_are() -> None:
    modules = [str(path.relative_to(ROOT / "sidecar")) for path in (ROOT / "sidecar").rglob("*.py")]
    for begin, name, _ in PARTS:
        fitting = [module for module in modules if module.startswith(begin)]
        assert fitting, begin
        sources = "".join((ROOT / "sidecar" / module).read_text() for module in fitting)
        assert f"def {name.rpartition('.')[2]}" in sources


DUMP = """\
# callgrind format
part: 2

desc: Timerange: Basic block 1 - 2
desc: Trigger: Client Request: TLS

positions: line
events: Ir
summary: 145

ob=(1) /usr/lib/libpython3.11.so.1.0
fl=(1) ceval.c
fn=(1) _PyEval_EvalFrameDefault
10 20
+3 5
cob=(2) /tmp/frames.so
cfi=(2) frames.c
cfn=(2) evaluate
calls=3 40
-1 1000

ob=(3) /usr/lib/x86_64-linux-gnu/libcrypto.so.3
fl=(3) ???
fn=(3) aes_gcm
0 80
cfn=(4) memcpy
calls=9 0
0 500

ob=(2)
fl=(2)
fn=(2)
40 30
cob=(1)
cfn=(1)
calls=2 5
* 70
* 10
"""


def test_a_dump_is_read_as_what_was_spent_in_each_library(tmp_path: Path) -> None:
    (tmp_path / "callgrind.out.1").write_text(DUMP.replace("Request: TLS", "Request: start"))
    (tmp_path / "callgrind.out.2").write_text(DUMP)
    (tmp_path / "callgrind.out.3").write_text(DUMP)
    (tmp_path / "callgrind.out.4").write_text(DUMP.replace("desc: Trigger: Client Request: TLS", "desc: Trigger: end"))
    found = parts.read(tmp_path.glob("callgrind.out.*"))
    assert set(found) == {"TLS"}
    assert found["TLS"].by_library == {INTERPRETER: 2 * (20 + 5 + 30 + 10), "OpenSSL": 2 * 80}
    assert found["TLS"].frames == 6
    assert found["TLS"].instructions == 290


def test_what_looking_costs_is_taken_off_frame_by_frame() -> None:
    found = {
        "TLS": Part(frames=20),
        LOOP: Part(frames=80),
        CLOCK: Part(frames=1000),
    }
    found["TLS"].by_library["OpenSSL"] = 40_000
    found[LOOP].by_library[INTERPRETER] = 160_000
    found[CLOCK].by_library[INTERPRETER] = 5_000_000
    corrected = parts.corrected(found, 10, truth=15_000)
    assert corrected == {"TLS": pytest.approx(3_000), LOOP: pytest.approx(12_000)}
    assert sum(corrected.values()) == pytest.approx(15_000)
