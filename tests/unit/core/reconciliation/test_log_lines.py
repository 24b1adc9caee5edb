"""One line of a log, in each format and in each wrapping that it is found in."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.reconciliation.log_lines import Dropped, LineKind, UncertainCall, read_line
from sidecar.core.redact import mask_path
from sidecar.telemetry.field_names import ecs_fields, gcp_fields
from sidecar.telemetry.line_format import console_line, json_line, renamed_json_line
from sidecar.telemetry.line_writer import LineWriter
from sidecar.telemetry.log_output import LogOutput
from sidecar.telemetry.request_log import RequestLog
from tests.support.call_record import call_record
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.telemetry.line_format import Entry, Line
    from sidecar.telemetry.record import CallRecord

KEY: Final = "0123456789abcdef-1"
FORMATS: Final[dict[str, Callable[[Entry | Line], bytes]]] = {
    "json": json_line,
    "gcp": lambda entry: renamed_json_line(entry, rename=gcp_fields),
    "ecs": lambda entry: renamed_json_line(entry, rename=ecs_fields),
}


def record(**changes: Any) -> CallRecord:
    """A keyed POST of which nobody knows what became, as the proxy leaves its record."""
    known = {"id": "abcdefgh-000001", "method": "POST", "path": "/v2.01/acme/wallets/123/transfers"}
    call = call_record(**{name: changes.pop(name, value) for name, value in known.items()})
    call.failed(SidecarError(ErrorCode.UPSTREAM_TIMEOUT, "late", outcome=Outcome.UNKNOWN, detail="no response in 60 s"))
    call.duration, call.ended_at = 60.5, FakeClock().wall()
    call.idempotency_key, call.caller_request_id = KEY, "order-7"
    for name, value in changes.items():
        setattr(call, name, value)
    return call


def logged(call: CallRecord, render: Callable[[Entry | Line], bytes] = json_line) -> bytes:
    """The line that the sidecar writes of a call."""
    written: list[bytes] = []
    clock = FakeClock()

    def keep(entry: Entry | Line) -> bytes:
        written.append(render(entry))
        return written[-1]

    output = LogOutput(LineWriter(None), keep, clock, "info")
    RequestLog(output, environment="sandbox").write(call)
    (line,) = written
    return line


LINE: Final = logged(record())
ENTRY: Final[dict[str, Any]] = json.loads(LINE)
CALL: Final = read_line(LINE)


def without(**changes: Any) -> bytes:
    """The line with ``changes``; None takes a field away."""
    entry = {**ENTRY, **changes}
    return json.dumps({name: value for name, value in entry.items() if value is not None}).encode()


# --- the formats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_a_call_is_the_same_in_every_format(form: str) -> None:
    wall = FakeClock().wall()
    assert read_line(logged(record(), FORMATS[form])) == UncertainCall(
        id="abcdefgh-000001",
        environment="sandbox",
        method="POST",
        path="/v2.01/{client}/wallets/{id}/transfers",
        started=wall - 60.5,
        ended=wall,
        key=KEY,
        status=504,
        error="upstream_timeout",
        foreign=False,
        caller_request_id="order-7",
    )


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "changes",
    [
        {"error": None, "outcome": None, "status": 200},
        {"outcome": Outcome.NOT_SENT},
        {"outcome": Outcome.REJECTED},
        {"method": "GET"},
        {"method": "HEAD"},
    ],
)
def test_other_calls_need_nothing(form: str, changes: dict[str, Any]) -> None:
    assert read_line(logged(record(**changes), FORMATS[form])) is LineKind.OURS


@pytest.mark.parametrize("form", FORMATS)
def test_a_caller_that_left_is_no_matter(form: str) -> None:
    call = read_line(logged(record(caller="gone", error=None, detail=None, status=0), FORMATS[form]))
    assert isinstance(call, UncertainCall)
    assert (call.status, call.error, call.key) == (None, None, KEY)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("changes", [{"method": "PUT"}, {"foreign": True}, {"idempotency_key": None}])
def test_nothing_is_stored_for_other_methods_other_accounts_or_without_a_key(
    form: str, changes: dict[str, Any]
) -> None:
    call = read_line(logged(record(**changes), FORMATS[form]))
    assert isinstance(call, UncertainCall)
    assert call.key is None
    assert call.foreign is (changes.get("foreign") is True)


@pytest.mark.parametrize("form", FORMATS)
def test_lines_that_were_lost_are_counted(form: str) -> None:
    lost = FORMATS[form]({"timestamp": ENTRY["timestamp"], "level": "warning", "event": "log.dropped", "lines": 12})
    assert read_line(lost) == Dropped(12, datetime.fromisoformat(ENTRY["timestamp"]).timestamp())


@pytest.mark.parametrize("lines", ["12", True, None, -12])
def test_a_number_that_is_none_counts_as_nothing(lines: object) -> None:
    assert read_line(json.dumps({"event": "log.dropped", "lines": lines}).encode()) == Dropped(0)


@pytest.mark.parametrize("form", FORMATS)
def test_other_events_are_ours_and_tell_nothing(form: str) -> None:
    line = FORMATS[form]({"timestamp": ENTRY["timestamp"], "level": "info", "event": "token.refreshed"})
    assert read_line(line) is LineKind.OURS


@pytest.mark.parametrize("color", [True, False])
def test_a_log_for_people_is_known(color: bool) -> None:
    line = logged(record(), lambda entry: console_line(entry, color=color))
    assert read_line(line) is LineKind.CONSOLE
    assert read_line(b"sidecar-1  | " + line) is LineKind.CONSOLE
    assert read_line(json.dumps({"log": line.decode(), "stream": "stderr"}).encode()) is LineKind.CONSOLE


def test_a_time_within_an_object_makes_no_log_for_people_of_it() -> None:
    entry = json.dumps({"msg2": "waits till 12:34:56.789Z info follows"}).encode()
    assert read_line(entry) is LineKind.OTHER
    assert read_line(b"12:34:56.789Z info     " + entry) is LineKind.CONSOLE
    assert read_line(json.dumps({"note": " 12:34:56.789Z info ", **ENTRY}).encode()) == CALL


# --- what stands around a line ---------------------------------------------------------------------------------------

TEXT: Final = LINE.decode()
WRAPPED: Final = {
    "CRI": f"2026-11-29T20:14:05.123456789Z stderr F {TEXT}",
    "kubectl logs --timestamps": f"2026-11-29T20:14:05.123456789Z {TEXT}",
    "kubectl logs --prefix": f"[pod/checkout-5d9/mangopay-sidecar] {TEXT}",
    "docker compose": f"sidecar-1  | {TEXT}",
    "docker compose, in color": f"\x1b[36msidecar-1  |\x1b[0m {TEXT}",
    "syslog": f"Nov 29 20:14:05 host mangopay-sidecar[812]: {TEXT}",
    "docker json-file": json.dumps({"log": TEXT, "stream": "stderr", "time": "2026-11-29T20:14:05.1Z"}),
    "journalctl -o json": json.dumps({"MESSAGE": TEXT, "_PID": "812"}),
    "logcli -o jsonl": json.dumps({"labels": {"app": "x"}, "line": TEXT, "timestamp": "2026-11-29T20:14:05Z"}),
    "Filebeat": json.dumps({"@timestamp": "2026-11-29T20:14:05Z", "message": TEXT, "agent": {"type": "filebeat"}}),
    "Splunk, the line as text": json.dumps({"time": 1764447245.1, "sourcetype": "_json", "event": TEXT}),
    "Splunk, behind a prefix": json.dumps({"event": f"2026-11-29T20:14:05Z stderr F {TEXT}"}),
    "Splunk, the line as an object": json.dumps({"time": 1764447245.1, "event": ENTRY}),
    "structlog, around another program's line": json.dumps({"event": "log", "level": "info", "message": TEXT}),
    "Fluent Bit": json.dumps({"log": "torn", "log_processed": ENTRY}),
    "Filebeat, with where it read": json.dumps({"log": {"offset": 5, "file": {"path": "/x"}}, "message": TEXT}),
    "Fluentd, that has read it": json.dumps({"log": ENTRY, "tag": "kube.x"}),
    "an object and a word": json.dumps({"log": "stderr", "message": ENTRY}),
    "docker around CRI": json.dumps({"log": f"2026-11-29T20:14:05Z stderr F {TEXT}"}),
    "a Windows line end": TEXT.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_line_is_found_in_what_containers_put_around_it(name: str) -> None:
    assert read_line(WRAPPED[name].encode()) == CALL


def test_an_entry_of_cloud_logging_is_read() -> None:
    payload = json.loads(logged(record(), FORMATS["gcp"]))
    moment, severity = payload.pop("time"), payload.pop("severity")
    entry = {"jsonPayload": payload, "timestamp": moment, "severity": severity, "resource": {"type": "k8s_container"}}
    assert read_line(json.dumps(entry).encode()) == CALL


def test_a_hit_of_elasticsearch_is_read_with_its_names_taken_apart() -> None:
    source: dict[str, Any] = {}
    for name, value in json.loads(logged(record(), FORMATS["ecs"])).items():
        place = source
        *above, last = name.split(".")
        for each in above:
            place = place.setdefault(each, {})
        place[last] = value
    assert read_line(json.dumps({"_index": "logs", "_source": source}).encode()) == CALL


@pytest.mark.parametrize("within", ["log", "message", "_source", "jsonPayload"])
def test_wrappings_within_wrappings_are_taken_off_and_end_somewhere(within: str) -> None:
    for number in range(7):
        inner: Any = ENTRY
        for _ in range(number):
            inner = {within: json.dumps(inner) if within in ("log", "message") else inner}
        assert read_line(json.dumps(inner).encode()) == (CALL if number <= 4 else LineKind.OTHER), number


@pytest.mark.parametrize("depth", [3, 20, 500, 5000])
def test_names_that_are_taken_apart_without_end_are_no_line(depth: int) -> None:
    line = b'{"event":' * depth + b'{"action":"request"}' + b"}" * depth
    assert read_line(line) in (LineKind.OTHER, LineKind.BROKEN)


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"GET / 200 0.1", b'{"level": "info", "msg": "started"}', b'["a", {"b": 1}]', b"42", b'{"event": 7}',
     b'{"event": {"kind": "metric"}}', b'{"event.action": 5}'],
)  # fmt: skip
def test_other_programs_lines_are_no_matter(line: bytes) -> None:
    assert read_line(line) in (LineKind.OTHER, LineKind.BROKEN if b"[" in line else LineKind.OTHER)


@pytest.mark.parametrize("form", ["json", "ecs"])
@pytest.mark.parametrize("event", ["user.created", "request", "request_finished", "log", "got {x", "tokens.x", "", "{"])
def test_other_programs_events_are_not_ours(event: str, form: str) -> None:
    entry = {"event": event} if form == "json" else {"event.action": event}
    line = json.dumps({"timestamp": ENTRY["timestamp"], "level": "info", **entry}).encode()
    assert read_line(line) is (LineKind.BROKEN if (event, form) == ("{", "json") else LineKind.OTHER)


def test_the_longest_masked_path_is_kept_whole() -> None:
    path = mask_path("/v2.01/x" + "/1" * 1000)
    call = read_line(without(path=path))
    assert isinstance(call, UncertainCall)
    assert call.path == path


# --- what is not whole -----------------------------------------------------------------------------------------------


def test_every_torn_line_is_known() -> None:
    """Wherever it is cut, at its beginning or its end: either it is broken, or nothing of it is left that tells."""
    start = LINE.index(b'"outcome"')
    end = LINE.index(KEY.encode())
    for cut in range(1, len(LINE) - 2):
        head, tail = read_line(LINE[:cut]), read_line(LINE[cut:])
        assert head in (LineKind.BROKEN, LineKind.BROKEN_UNKNOWN)
        assert tail in (LineKind.BROKEN, LineKind.BROKEN_UNKNOWN, LineKind.OTHER)
        if cut > end:
            assert head is LineKind.BROKEN_UNKNOWN
        if cut <= start:
            assert tail is LineKind.BROKEN_UNKNOWN


@pytest.mark.parametrize("name", ["docker json-file", "CRI"])
def test_a_torn_line_within_another_is_known(name: str) -> None:
    whole = WRAPPED[name]
    assert read_line(whole[: whole.index(KEY) + 4].encode()) is LineKind.BROKEN_UNKNOWN


def test_two_lines_in_one_are_not_guessed_at() -> None:
    assert read_line(LINE[:60] + LINE) is LineKind.BROKEN_UNKNOWN


@pytest.mark.parametrize("name", ["id", "environment", "method", "path", "timestamp"])
@pytest.mark.parametrize("value", [None, 5, ""])
def test_a_line_that_lacks_what_each_has_is_broken(name: str, value: object) -> None:
    assert read_line(without(**{name: value})) is LineKind.BROKEN_UNKNOWN


def test_a_moment_that_is_none_is_broken() -> None:
    assert read_line(without(timestamp="yesterday")) is LineKind.BROKEN_UNKNOWN


@pytest.mark.parametrize(("duration", "lasted"), [(0, 0.0), (0.5, 0.0005), (86_400_000, 86_400.0)])
def test_a_call_began_before_it_was_over(duration: float, lasted: float) -> None:
    call = read_line(without(duration_ms=duration))
    assert isinstance(call, UncertainCall)
    assert call.ended - call.started == pytest.approx(lasted, abs=1e-5)


@pytest.mark.parametrize("duration", [None, -1, "5", 86_400_001, 10**400, 1e300, float("nan"), float("inf")])
def test_without_a_duration_a_call_began_when_it_was_over(duration: object) -> None:
    call = read_line(without(duration_ms=duration))
    assert isinstance(call, UncertainCall) or call is LineKind.BROKEN_UNKNOWN
    if isinstance(call, UncertainCall):
        assert call.started == call.ended


@pytest.mark.parametrize("duration", ["long", -1, 10**400, -(10**300), -(10**400), 1e300])
def test_a_duration_that_is_none_in_ecs_is_no_matter(duration: object) -> None:
    entry = json.loads(logged(record(), FORMATS["ecs"]))
    entry["event.duration"] = duration
    call = read_line(json.dumps(entry).encode())
    assert isinstance(call, UncertainCall)
    assert call.started == call.ended


def test_in_ecs_a_call_may_take_a_day_as_well() -> None:
    entry = json.loads(logged(record(), FORMATS["ecs"]))
    entry["event.duration"] = 86_400 * 10**9
    call = read_line(json.dumps(entry).encode())
    assert isinstance(call, UncertainCall)
    assert call.ended - call.started == pytest.approx(86_400.0, abs=0.01)


def test_what_looks_like_a_line_for_people_far_behind_its_begin_is_somebodys_text() -> None:
    assert read_line(b"x" * 300 + b" 12:34:56.789Z info     GET /users") is LineKind.OTHER


@pytest.mark.parametrize(
    "key", ["../../users", "0123456789abcdef/x", "short", 16, "0123456789abcdef\u00e9", "\ud800" * 16]
)
def test_a_key_that_mangopay_would_not_take_is_none(key: object) -> None:
    call = read_line(without(idempotency_key=key))
    if isinstance(call, UncertainCall):
        assert call.key is None
    else:
        assert call is LineKind.BROKEN_UNKNOWN


def test_what_is_taken_from_a_line_is_printable_and_short() -> None:
    call = read_line(without(path="/v2.01/\x1b[2J" + "x" * 2000, id="a\nb", x_request_id="\x9b31m", status="ok"))
    assert isinstance(call, UncertainCall)
    assert (call.id, call.caller_request_id, call.status) == ("a?b", "?31m", None)
    assert call.path.startswith("/v2.01/?[2J")
    assert len(call.path) == 1024


#: Whatever JSON has, numbers that no float holds included.
ANYTHING: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([10**400, -(10**400)]) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_no_value_in_place_of_another_raises(data: st.DataObject) -> None:
    """One hostile line must not cost the reading of all others."""
    entry = json.loads(logged(record(), FORMATS[data.draw(st.sampled_from(sorted(FORMATS)))]))
    name = data.draw(st.sampled_from(sorted({*entry, "event.duration", "lines", "message", "jsonPayload"})))
    entry[name] = data.draw(ANYTHING)
    assert isinstance(read_line(json.dumps(entry).encode()), (UncertainCall, Dropped, LineKind))


@pytest.mark.parametrize("method", [[], {}, 5, None, True])
def test_a_method_that_is_none_is_broken(method: object) -> None:
    assert read_line(json.dumps({**ENTRY, "method": method}).encode()) is LineKind.BROKEN_UNKNOWN


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
def test_nothing_raises(line: bytes) -> None:
    read_line(line)
    read_line(b'{"log":' + line + b"}")


NAMES: Final = ["event", "action", "log", "message", "outcome", "method", "timestamp", "duration", "event.action"]
VALUES: Final = ["request", "unknown", "POST", TEXT]
SHAPES: Final = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(VALUES),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)


@given(SHAPES)
def test_no_shape_raises(entry: object) -> None:
    read_line(json.dumps(entry).encode())
