"""The fields of a log entry by the names that a log service expects: Google's Cloud Logging, Elastic's ECS.

A function here takes an entry as the rest of the sidecar writes it (docs/observability.md, "Logs"), and returns a new
one. What the service has no name for keeps ours: at the top for Cloud Logging, which keeps it in ``jsonPayload``,
below ``mangopay_sidecar.`` for ECS, where other names belong to Elastic.

Sources: "Structured logging" and the types ``LogEntry`` and ``HttpRequest`` of the Cloud Logging API v2; the Elastic
Common Schema, ``generated/csv/fields.csv``, and the ecs-logging specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.ecs_names import ECS_NAMES, NANOSECONDS, OWN
from sidecar.version import __version__

if TYPE_CHECKING:
    from sidecar.telemetry.line_format import Entry

#: The version of ECS whose names these are; later ones have them too.
ECS_VERSION: Final = "8.11.0"
#: The event of a call's line (contract section 9).
_REQUEST: Final = "request"
_HEAD: Final = frozenset(("timestamp", "level", "event", "message"))
_FIRST_FAILURE: Final = 400


def gcp_fields(entry: Entry) -> Entry:
    """Return an entry as Cloud Logging reads it: ``severity``, ``message``, ``time``, and ``httpRequest`` of a call."""
    named: Entry = {"severity": str(entry["level"]).upper(), "message": _message(entry), "time": entry["timestamp"]}
    if entry["event"] == _REQUEST:
        named["httpRequest"] = _http_request(entry)
    named["event"] = entry["event"]
    named.update((key, value) for key, value in entry.items() if key not in _HEAD and value is not None)
    return named


def _http_request(entry: Entry) -> Entry:
    """The type HttpRequest, in protobuf's JSON: 64-bit numbers are strings, a duration is seconds with an ``s``."""
    fields: Entry = {
        "requestMethod": entry.get("method"),
        "requestUrl": entry.get("path"),
        "status": entry.get("status"),
    }
    if "duration_ms" in entry:
        fields["latency"] = f"{entry['duration_ms'] / 1e3:.6f}s"
    if "bytes" in entry:
        fields["requestSize"], fields["responseSize"] = str(entry["bytes_in"]), str(entry["bytes"])
    return {key: value for key, value in fields.items() if value is not None}


def ecs_fields(entry: Entry) -> Entry:
    """Return an entry by the names of the Elastic Common Schema, dotted; the first four in ecs-logging's order."""
    named: Entry = {
        "@timestamp": entry["timestamp"],
        "log.level": entry["level"],
        "message": _message(entry),
        "ecs.version": ECS_VERSION,
        "event.action": entry["event"],
        "event.dataset": "mangopay-sidecar.log",
        "service.name": "mangopay-sidecar",
        "service.version": __version__,
    }
    if entry["event"] == _REQUEST and "status" in entry:
        named["event.outcome"] = _ecs_outcome(entry)
    for key, value in entry.items():
        if key not in _HEAD and value is not None:
            _add_to_ecs(named, key, value, is_exception="at" in entry)
    return named


def _add_to_ecs(named: Entry, key: str, value: object, *, is_exception: bool) -> None:
    match key, value:
        case "duration_ms", int() | float():
            named["event.duration"] = round(value * NANOSECONDS)
        case "error", _ if is_exception:
            named["error.type"] = value
        case "at", list():
            named["error.stack_trace"] = "\n".join(map(str, value))
        case "traceparent", str() if trace := _trace_id(value):
            named["trace.id"] = trace
        case _:
            named[ECS_NAMES.get(key, OWN + key)] = value


def _trace_id(traceparent: str) -> str | None:
    """The trace-id of a ``traceparent`` (W3C Trace Context, section 3.2); None if it is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) > 3 and len(parts[1]) == 32 else None


def _ecs_outcome(entry: Entry) -> str:
    """One of the three values of ``event.outcome``."""
    if entry.get("outcome") == "unknown":
        return "unknown"
    status = entry["status"]
    return "success" if status and status < _FIRST_FAILURE and entry.get("error") is None else "failure"


def _message(entry: Entry) -> str:
    """What a list of log entries shows of this one."""
    event, message = entry["event"], entry.get("message")
    if event == _REQUEST and "method" in entry:
        told = f"{entry['method']} {entry['path']} {entry['status'] or '-'}"
        return f"{told} {entry['error']}" if entry.get("error") else told
    return f"{event}: {message}" if isinstance(message, str) else str(event)
