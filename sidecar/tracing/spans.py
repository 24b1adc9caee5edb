"""From the record of a finished call to OpenTelemetry's spans, by its semantic conventions for HTTP.

A call is a server span, and each attempt to send it a client span below that, made
of the record's timeline::

    GET /v2.01/{client}/users/{id}     server  ├───────────────────────────────────┤
      GET /v2.01/{client}/users/{id}   client   ├─ 401 ─┤
      GET /v2.01/{client}/users/{id}   client            ├─ token.wait ──── 200 ─┤

They hold nothing that a caller wrote but the path's words, and no query, body, key or token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from sidecar.core.http.messages import KNOWN_METHODS
from sidecar.core.redact import mask_path
from sidecar.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.util.types import AttributeValue

    from sidecar.core.endpoint import Endpoint
    from sidecar.core.http.trace_context import CallTrace
    from sidecar.telemetry.attempt import Attempt
    from sidecar.telemetry.record import CallRecord

#: What conventions of OpenTelemetry have no name for.
_OWN: Final = "mangopay_sidecar."
#: The conventions' one word for methods that are no name of their own.
_OTHER_METHOD: Final = "_OTHER"
#: A read-back's, as paths are shown.
_READ_BACK_PATH: Final = mask_path("/v2.01/client/responses/key")
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)
_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED)
_SCOPE: Final = InstrumentationScope("mangopay-sidecar", __version__)


class SpanMaker:
    """Makes the spans of calls to one upstream."""

    def __init__(self, resource: Resource, endpoint: Endpoint) -> None:
        self._resource: Final = resource
        self._url: Final = endpoint.origin + endpoint.prefix
        #: What all client spans have.
        self._upstream: Final[dict[str, AttributeValue]] = {
            "server.address": endpoint.name,
            "server.port": endpoint.port,
            "network.protocol.version": "1.1",
        }

    def spans(self, record: CallRecord, trace: CallTrace) -> Iterator[ReadableSpan]:
        """Yield the spans of a call that is over, its own first."""
        began = record.ended_at - record.duration
        own = _context(trace, trace.span_id)
        yield ReadableSpan(
            _name(record.method, record.shown_path),
            own,
            None if trace.parent_id is None else _context(trace, trace.parent_id, is_remote=True),
            self._resource,
            _server_attributes(record),
            kind=SpanKind.SERVER,
            status=_server_status(record),
            start_time=_nanoseconds(began),
            end_time=_nanoseconds(record.ended_at),
            instrumentation_scope=_SCOPE,
        )
        written = iter(trace.attempts)
        resends = 0
        for attempt in record.timeline:
            # One that had no token never wrote a request, so that nobody has seen an id of its span.
            span_id = next(written) if attempt.generation else trace.chance(64) or 1
            is_call = attempt.purpose == "call"
            yield self._attempt(record, attempt, own, _context(trace, span_id), began, resends if is_call else 0)
            resends += is_call

    def _attempt(
        self,
        record: CallRecord,
        attempt: Attempt,
        parent: SpanContext,
        context: SpanContext,
        call_began: float,
        resends: int,
    ) -> ReadableSpan:
        is_call = attempt.purpose == "call"
        method, path = (record.method, record.shown_path) if is_call else ("GET", _READ_BACK_PATH)
        began = call_began + attempt.at
        attributes: dict[str, AttributeValue] = {
            "http.request.method": _method(method),
            "url.full": self._url + path,
            "url.template": path,
            **self._upstream,
            _OWN + "purpose": attempt.purpose,
        }
        if attempt.generation:
            attributes[_OWN + "token_generation"] = attempt.generation
        if resends:
            attributes["http.request.resend_count"] = resends
        if isinstance(attempt.result, int):
            attributes["http.response.status_code"] = attempt.result
        failed = isinstance(attempt.result, str) or attempt.result >= 400
        if failed:
            attributes["error.type"] = str(attempt.result)
        return ReadableSpan(
            _name(method, path),
            context,
            parent,
            self._resource,
            attributes,
            tuple(_waits(attempt, began)),
            kind=SpanKind.CLIENT,
            status=_ERROR if failed else _UNSET,
            start_time=_nanoseconds(began),
            end_time=_nanoseconds(began + attempt.connection + attempt.token + attempt.upstream),
            instrumentation_scope=_SCOPE,
        )


def _server_attributes(record: CallRecord) -> dict[str, AttributeValue]:
    path = record.shown_path
    attributes: dict[str, AttributeValue | None] = {
        "http.request.method": _method(record.method),
        "url.scheme": "http",
        "url.path": path,
        "http.route": path,
        "http.response.status_code": record.status or None,
        "http.request.body.size": record.bytes_in,
        "http.response.body.size": record.bytes_out,
        "error.type": _error_type(record),
        _OWN + "request_id": record.id,
        _OWN + "source": record.source,
        _OWN + "attempts": record.deliveries,
        _OWN + "recovered": record.recovered or None,
        _OWN + "error": None if record.error is None else record.error.value,
        _OWN + "outcome": None if record.outcome is None else record.outcome.value,
        _OWN + "caller": record.caller,
        _OWN + "lane": record.lane,
        _OWN + "held_seconds": record.held_seconds or None,
    }
    if (report := record.report) is not None:
        attributes |= {
            _OWN + "mangopay_id": report.id,
            _OWN + "mangopay_type": report.type,
            _OWN + "cf_ray": report.cf_ray,
        }
    return {name: value for name, value in attributes.items() if value is not None}


def _error_type(record: CallRecord) -> str | None:
    """What the conventions call the class of error that ended a call."""
    if record.error is not None:
        return record.error.value
    return str(record.status) if record.status >= 500 else None


def _server_status(record: CallRecord) -> Status:
    """Return whether the call failed by no fault of the caller's: with a 5xx, or cut after a good head."""
    if record.status >= 500 or (record.error is not None and record.status < 400):
        return Status(StatusCode.ERROR, record.detail)
    return _UNSET


def _waits(attempt: Attempt, began: float) -> Iterator[Event]:
    """Yield what the attempt waited for before it could write its request."""
    moment = began
    for name, seconds in (("connection.wait", attempt.connection), ("token.wait", attempt.token)):
        if seconds > 0:
            yield Event(name, {_OWN + "wait_seconds": seconds}, _nanoseconds(moment))
        moment += seconds


def _name(method: str, path: str) -> str:
    return f"{method if method in KNOWN_METHODS else 'HTTP'} {path}"


def _method(method: str) -> str:
    return method if method in KNOWN_METHODS else _OTHER_METHOD


def _context(trace: CallTrace, span_id: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace.trace_id, span_id, is_remote, _FLAGS)


def _nanoseconds(unix: float) -> int:
    return int(unix * 1e9)
