"""The ``request`` line: one for each call (contract section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.errors import Outcome

if TYPE_CHECKING:
    from sidecar.telemetry.line_format import Entry
    from sidecar.telemetry.log import LogOutput
    from sidecar.telemetry.record import CallRecord


class RequestLog:
    """Writes the line of each finished call, without structlog's chain but through its writer and in its format."""

    __slots__ = ("_client_id", "_environment", "_output")

    def __init__(self, output: LogOutput, *, environment: str, client_id: str) -> None:
        self._output = output
        self._environment = environment
        self._client_id = client_id

    def write(self, record: CallRecord) -> None:
        """Write the line: level ``warning`` for the sidecar's own errors, else ``info``. Never raises."""
        output = self._output
        if record.error is None and not output.wants_info:
            return
        entry: Entry = {
            "timestamp": output.timestamp(),
            "level": "info" if record.error is None else "warning",
            "event": "request",
            "id": record.id,
            "environment": self._environment,
            "method": record.method,
            "path": record.shown_path,
            "status": record.status or None,
            "duration_ms": _milliseconds(record.duration),
            "upstream_ms": _milliseconds(record.upstream_seconds),
            "token_wait_ms": _milliseconds(record.token_wait_seconds),
            "attempts": record.attempts,
            "recovered": record.recovered,
            "bytes_in": record.bytes_in,
            "bytes": record.bytes_out,
        }
        if record.error is not None or record.outcome is not None or record.caller is not None or record.futile:
            self._add_trouble(entry, record)
        if record.traceparent is not None:
            entry["traceparent"] = record.traceparent
        if record.caller_request_id is not None:
            entry["x_request_id"] = record.caller_request_id
        output.emit(entry)

    def _add_trouble(self, entry: Entry, record: CallRecord) -> None:
        if record.error is not None:
            entry["error"] = record.error
        if record.outcome is not None:
            entry["outcome"] = record.outcome
        if record.detail is not None:
            entry["detail"] = record.detail
        if record.outcome is Outcome.UNKNOWN and record.idempotency_key is not None:
            # So that the payment can be reconciled with what Mangopay has.
            entry["idempotency_key"] = record.idempotency_key
        if record.caller is not None:
            entry["caller"] = record.caller
        if record.futile:
            entry["client_id_ours"] = self._is_ours(record.path)

    def _is_ours(self, path: str) -> bool:
        """Whether the path's ClientId, the segment after the version, is the configured one."""
        segments = path.split("/", 3)
        return len(segments) > 2 and segments[2] == self._client_id


def _milliseconds(seconds: float) -> float:
    """Milliseconds to the microsecond; cheaper than round()."""
    return int(seconds * 1_000_000) / 1_000
