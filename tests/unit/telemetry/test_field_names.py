"""Log lines by the names of Cloud Logging and of the Elastic Common Schema, against what those publish."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.core.deprecation import DEPRECATIONS
from sidecar.core.error_report import ErrorReport
from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.telemetry.field_names import ecs_fields, gcp_fields
from sidecar.telemetry.line_format import Line, exception_fields, renamed_json_line
from sidecar.telemetry.line_writer import LineWriter
from sidecar.telemetry.log_output import LogOutput
from sidecar.telemetry.request_line import RequestLine
from sidecar.telemetry.request_log import RequestLog
from tests.support.call_record import call_record
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.telemetry.line_format import Entry

#: Elastic's github.com/elastic/ecs, generated/csv/fields.csv (9.5.0-dev): those that we use, with their types.
ECS_FIELDS: Final = {
    "@timestamp": "date",
    "message": "match_only_text",
    "ecs.version": "keyword",
    "error.code": "keyword",
    "error.message": "match_only_text",
    "error.stack_trace": "wildcard",
    "error.type": "keyword",
    "event.action": "keyword",
    "event.dataset": "keyword",
    "event.duration": "long",
    "event.outcome": "keyword",
    "http.request.body.bytes": "long",
    "http.request.id": "keyword",
    "http.request.method": "keyword",
    "http.response.body.bytes": "long",
    "http.response.status_code": "long",
    "log.level": "keyword",
    "log.logger": "keyword",
    "service.environment": "keyword",
    "service.name": "keyword",
    "service.version": "keyword",
    "trace.id": "keyword",
    "url.path": "wildcard",
}
#: cloud.google.com/logging/docs/structured-logging, "Special JSON fields in messages": those without a prefix.
GCP_SPECIAL: Final = {"severity", "message", "httpRequest", "time"}
#: Others that the agents take out of the payload when they are there, and that we must not use for something else.
GCP_OTHERS: Final = {"timestamp", "timestampSeconds", "timestampNanos", "trace", "spanId", "insertId"}
#: The enum LogSeverity, and the fields of the type HttpRequest with the JSON types of their values (Logging API v2).
GCP_SEVERITIES: Final = {"DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"}
GCP_HTTP_REQUEST: Final = {
    "requestMethod": str,
    "requestUrl": str,
    "requestSize": str,
    "status": int,
    "responseSize": str,
    "latency": str,
}
TRACEPARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def request_line(*, failed: SidecarError | None = None, **fields: Any) -> Line:
    """The line of a call, as the request log makes it."""
    call = call_record(
        id="abc-1",
        started=1000.0,
        method="POST",
        path="/v2.01/acme/payins/card/direct",
        duration=0.0123456,
        deliveries=1,
    )
    for name, value in {"status": 200, **fields}.items():
        setattr(call, name, value)
    if failed is not None:
        call.failed(failed)
    lines: list[Line] = []

    def keep(line: Entry | Line) -> bytes:
        assert isinstance(line, Line)
        lines.append(line)
        return b""

    output = LogOutput(LineWriter(None), keep, FakeClock(wall=1_733_404_277.25), "info")
    RequestLog(output, environment="sandbox").write(call)
    return lines[0]


def event(**fields: object) -> Entry:
    return {"timestamp": "2024-12-05T13:11:17.250Z", "level": "warning", "event": "token.fetch_failed", **fields}


def everything() -> Line:
    """A call's line with a value in every field that it can have."""
    line = request_line(
        status=0,
        failed=SidecarError(ErrorCode.UPSTREAM_TIMEOUT, "slow", outcome=Outcome.UNKNOWN, detail="read_timeout"),
        idempotency_key="0123456789abcdef",
        caller="gone",
        foreign=True,
        recovered=("token",),
        report=ErrorReport(id="abc", type="param_error", cf_ray="8a-CDG"),
        traceparent=TRACEPARENT,
        caller_request_id="r-1",
        lane="batch",
        held_seconds=1.5,
        deprecation=DEPRECATIONS[0],
    )
    assert isinstance(line, RequestLine)
    assert None not in {getattr(line, name) for name in RequestLine.__struct_fields__ if name != "recovered"}
    return line


def raised() -> BaseException:
    try:
        raise ValueError("secret")
    except ValueError as error:
        return error


ENTRIES: Final[dict[str, Entry | Line]] = {
    "a call": request_line(),
    "a call with everything": everything(),
    "a call whose caller left": request_line(status=0, caller="gone"),
    "an event": event(credential="api", failures=3, pause=1.5, changed=["tls.ca_file"]),
    "an event with a message": event(message="do this", error="host_not_allowed", detail="host=x"),
    "a bug": {**event(), **exception_fields(raised())},
    "a library": event(logger="asyncio", message="slow callback"),
    "what cannot be encoded": event(value="\udcff"),
}


def rendered(rename: Callable[[Entry], Entry], entry: Entry | Line) -> dict[str, Any]:
    line = renamed_json_line(entry, rename=rename)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found: dict[str, Any] = json.loads(line)
    return found


# --- Elastic Common Schema -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENTRIES)
def test_every_ecs_name_is_published_and_of_its_type_and_all_else_is_below_ours(name: str) -> None:
    for field, value in rendered(ecs_fields, ENTRIES[name]).items():
        if field.startswith("mangopay_sidecar."):
            continue
        expected = int if ECS_FIELDS[field] == "long" else str
        assert type(value) is expected, field


@pytest.mark.parametrize("name", ENTRIES)
def test_the_ecs_fields_that_ecs_logging_demands_come_first_and_in_its_order(name: str) -> None:
    line = rendered(ecs_fields, ENTRIES[name])
    assert list(line)[:4] == ["@timestamp", "log.level", "message", "ecs.version"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["@timestamp"])


def test_a_call_in_ecs() -> None:
    line = rendered(ecs_fields, request_line(traceparent=TRACEPARENT, bytes_in=20, bytes_out=600))
    assert line["message"] == "POST /v2.01/{client}/payins/card/direct 200"
    assert line["event.action"] == "request"
    assert line["event.duration"] == 12_345_000  # nanoseconds
    assert line["event.outcome"] == "success"
    assert line["http.request.method"] == "POST"
    assert line["http.response.status_code"] == 200
    assert line["url.path"] == "/v2.01/{client}/payins/card/direct"
    assert (line["http.request.body.bytes"], line["http.response.body.bytes"]) == (20, 600)
    assert line["http.request.id"] == "abc-1"
    assert line["trace.id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert line["service.environment"] == "sandbox"
    assert line["mangopay_sidecar.attempts"] == 1


def test_ecs_says_why_a_call_failed_and_what_to_reconcile_it_by() -> None:
    line = rendered(ecs_fields, everything())
    assert (line["error.code"], line["error.message"]) == ("upstream_timeout", "read_timeout")
    assert line["event.outcome"] == "unknown"
    assert line["mangopay_sidecar.outcome"] == "unknown"
    assert line["mangopay_sidecar.idempotency_key"] == "0123456789abcdef"
    assert line["message"].endswith(" 504 upstream_timeout")


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "success"), (399, "success"), (400, "failure"), (503, "failure"), (0, "failure")]
)
def test_the_outcome_of_ecs_is_one_of_its_words(status: int, outcome: str) -> None:
    assert rendered(ecs_fields, request_line(status=status))["event.outcome"] == outcome


def test_a_bug_in_ecs_has_its_type_and_its_place() -> None:
    line = rendered(ecs_fields, ENTRIES["a bug"])
    assert line["error.type"] == "builtins.ValueError"
    assert "test_field_names.py" in line["error.stack_trace"]
    assert "error.code" not in line


def test_what_is_no_traceparent_is_no_trace() -> None:
    line = rendered(ecs_fields, request_line(traceparent="00-short-00f067aa0ba902b7-01"))
    assert "trace.id" not in line
    assert line["mangopay_sidecar.traceparent"] == "00-short-00f067aa0ba902b7-01"


# --- Cloud Logging ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENTRIES)
def test_cloud_logging_s_special_fields_are_as_published_and_none_is_used_for_something_else(name: str) -> None:
    line = rendered(gcp_fields, ENTRIES[name])
    assert set(list(line)[:3]) | {"httpRequest"} == GCP_SPECIAL
    assert line["severity"] in GCP_SEVERITIES
    assert isinstance(line["message"], str)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert not GCP_OTHERS & line.keys()
    assert not [field for field in line if field.startswith("logging.googleapis.com/")]
    for field, value in line.get("httpRequest", {}).items():
        assert type(value) is GCP_HTTP_REQUEST[field], field


def test_a_call_in_cloud_logging() -> None:
    line = rendered(gcp_fields, request_line(bytes_in=20, bytes_out=600))
    assert line["severity"] == "INFO"
    assert line["message"] == "POST /v2.01/{client}/payins/card/direct 200"
    assert line["httpRequest"] == {
        "requestMethod": "POST",
        "requestUrl": "/v2.01/{client}/payins/card/direct",
        "status": 200,
        "latency": "0.012345s",
        "requestSize": "20",
        "responseSize": "600",
    }
    assert (line["event"], line["id"], line["attempts"]) == ("request", "abc-1", 1)


def test_cloud_logging_keeps_our_other_fields_by_our_names() -> None:
    line = rendered(gcp_fields, everything())
    names = set(RequestLine.__struct_fields__) - {"timestamp", "level"}
    assert names <= line.keys()
    assert line["severity"] == "WARNING"


def test_an_event_s_message_is_told_after_its_name() -> None:
    assert rendered(gcp_fields, ENTRIES["an event with a message"])["message"] == "token.fetch_failed: do this"
    assert rendered(gcp_fields, ENTRIES["an event"])["message"] == "token.fetch_failed"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_every_level_is_a_severity(level: str) -> None:
    assert gcp_fields({**event(), "level": level})["severity"] in GCP_SEVERITIES


@pytest.mark.parametrize("rename", [ecs_fields, gcp_fields])
def test_what_cannot_be_encoded_is_told_by_its_head(rename: Callable[[Entry], Entry]) -> None:
    assert "UnicodeEncodeError" in rendered(rename, ENTRIES["what cannot be encoded"]).values()
