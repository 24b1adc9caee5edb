"""From a call's record to its spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind, StatusCode

from sidecar.core.endpoint import Endpoint
from sidecar.core.errors import ErrorCode, Outcome
from sidecar.core.http.trace_context import SAMPLED, CallTrace
from sidecar.telemetry.attempt import Attempt
from sidecar.tracing.spans import SpanMaker
from tests.support.call_record import call_record

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from sidecar.telemetry.record import CallRecord

ENDPOINT: Final = Endpoint.parse("https://api.mangopay.com./prefix")
#: When the records' calls began (Unix time).
BEGAN: Final = 1_700_000_010.0


def made(record: CallRecord, *, parent: int | None = None, attempts: tuple[int, ...] = ()) -> list[ReadableSpan]:
    trace = CallTrace(0xABC, parent, 0x1, SAMPLED, lambda bits: 0x99, list(attempts))
    return list(SpanMaker(Resource({"service.name": "test"}), ENDPOINT).spans(record, trace))


def record(**fields: Any) -> CallRecord:
    defaults: dict[str, Any] = {
        "id": "id-1",
        "started": 10.0,
        "method": "GET",
        "path": "/v2.01/acme/users/42",
        "status": 200,
        "duration": 2.0,
        "ended_at": BEGAN + 2.0,
    }
    return call_record(**{**defaults, **fields})


def since(own: ReadableSpan, moment: int | None) -> float:
    """Seconds after a call's beginning, to the microsecond."""
    assert moment is not None
    assert own.start_time is not None
    return round((moment - own.start_time) / 1e9, 6)


def server(**fields: Any) -> tuple[str, dict[str, Any], StatusCode, str | None]:
    """Name, attributes and status of a call's own span."""
    (span,) = made(record(**fields))
    assert span.kind is SpanKind.SERVER
    return span.name, dict(span.attributes or {}), span.status.status_code, span.status.description


def test_a_span_below_the_callers_lasts_as_long_as_the_call() -> None:
    (span,) = made(record(), parent=0x7)
    assert (span.start_time, span.end_time) == (1_700_000_010_000_000_000, 1_700_000_012_000_000_000)
    assert span.context is not None
    assert (span.context.trace_id, span.context.span_id, span.context.is_remote) == (0xABC, 0x1, False)
    assert span.parent is not None
    assert (span.parent.span_id, span.parent.is_remote) == (0x7, True)


def test_methods_that_http_does_not_know_have_one_name() -> None:
    name, attributes, _, _ = server(method="SECRET-TOKEN")
    assert name == "HTTP /v2.01/{client}/users/{id}"
    assert attributes["http.request.method"] == "_OTHER"


@pytest.mark.parametrize(
    ("fields", "status", "error_type"),
    [
        ({}, StatusCode.UNSET, None),
        ({"status": 404}, StatusCode.UNSET, None),
        ({"status": 503}, StatusCode.ERROR, "503"),
        # Of our own: a fault of the caller's is none of the server's.
        ({"status": 403, "error": ErrorCode.POLICY_DENIED}, StatusCode.UNSET, "policy_denied"),
        ({"status": 504, "error": ErrorCode.UPSTREAM_TIMEOUT}, StatusCode.ERROR, "upstream_timeout"),
        # Cut short after a good head.
        ({"status": 200, "error": ErrorCode.UPSTREAM_UNREACHABLE}, StatusCode.ERROR, "upstream_unreachable"),
        # The caller left.
        ({"status": 0, "caller": "gone"}, StatusCode.UNSET, None),
    ],
)
def test_a_call_that_failed_by_no_fault_of_the_callers_is_an_error(
    fields: dict[str, Any], status: StatusCode, error_type: str | None
) -> None:
    _, attributes, told, _ = server(**fields)
    assert (told, attributes.get("error.type")) == (status, error_type)
    assert attributes.get("http.response.status_code") == (fields.get("status", 200) or None)


def test_what_is_known_of_a_failed_call_is_told() -> None:
    _, attributes, _, description = server(
        status=502,
        source="sidecar",
        error=ErrorCode.UPSTREAM_UNREACHABLE,
        outcome=Outcome.UNKNOWN,
        detail="connection reset",
        deliveries=2,
        recovered=("token", "connection"),
        idempotency_key="never-in-a-span-01",
        lane="batch",
        held_seconds=0.5,
        caller_request_id="never-in-a-span-02",
    )
    own = {name.partition(".")[2]: value for name, value in attributes.items() if name.startswith("mangopay_sidecar.")}
    assert own == {
        "request_id": "id-1",
        "source": "sidecar",
        "attempts": 2,
        "recovered": ("token", "connection"),
        "error": "upstream_unreachable",
        "outcome": "unknown",
        "lane": "batch",
        "held_seconds": 0.5,
    }
    assert description == "connection reset"
    assert "never-in-a-span" not in str(attributes)


def test_attempts_follow_one_another_with_the_ids_that_went_upstream() -> None:
    timeline = (
        Attempt(0.0, 0.25, 0.0, 0.0, "connect"),
        Attempt(0.25, 0.0, 0.0, 0.5, 401, generation=3),
        Attempt(0.75, 0.0, 0.5, 0.25, "lost", generation=4),
        Attempt(1.5, 0.0, 0.0, 0.125, 200, "read_back", 4),
    )
    own, *attempts = made(record(method="POST", timeline=timeline), attempts=(0xA, 0xB, 0xC))
    assert [span.context.span_id if span.context else None for span in attempts] == [0x99, 0xA, 0xB, 0xC]
    assert all(span.kind is SpanKind.CLIENT and span.parent == own.context for span in attempts)
    assert [since(own, span.start_time) for span in attempts] == [0.0, 0.25, 0.75, 1.5]
    assert [since(own, span.end_time) for span in attempts] == [0.25, 0.75, 1.5, 1.625]
    assert [dict(span.attributes or {}).get("http.request.resend_count") for span in attempts] == [None, 1, 2, None]
    assert [[(event.name, since(own, event.timestamp)) for event in span.events] for span in attempts] == [
        [("connection.wait", 0.0)],
        [],
        [("token.wait", 0.75)],
        [],
    ]


def test_an_attempt_says_where_it_went_and_nothing_of_the_path() -> None:
    _, attempt, read_back = made(
        record(
            timeline=(
                Attempt(0.0, 0.0, 0.0, 0.1, 200, generation=1),
                Attempt(0.0, 0.0, 0.0, 0.1, 404, "read_back", 1),
            )
        ),
        attempts=(2, 3),
    )
    told = dict(attempt.attributes or {})
    assert told["url.full"] == "https://api.mangopay.com/prefix/v2.01/{client}/users/{id}"
    assert (told["server.address"], told["server.port"]) == ("api.mangopay.com", 443)
    assert read_back.name == "GET /v2.01/{client}/responses/{id}"
    assert read_back.status.status_code is StatusCode.ERROR
