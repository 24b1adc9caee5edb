"""Writes the ``request`` line of each call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.errors import Outcome
from sidecar.telemetry.request_line import RequestLine

if TYPE_CHECKING:
    from sidecar.telemetry.log_output import LogOutput
    from sidecar.telemetry.record import CallRecord


# Read for each call: Python 3.11 finds a global of the module faster than a member of an enum.
_UNKNOWN: Final = Outcome.UNKNOWN


class RequestLog:
    """Writes the line of each finished call, without structlog's chain but through its writer and in its format."""

    __slots__ = ("_environment", "_errors_only", "_output")

    def __init__(self, output: LogOutput, *, environment: str, errors_only: bool = False) -> None:
        """With ``errors_only`` a call that went well has no line (``log.requests``)."""
        self._output = output
        self._errors_only = errors_only
        self._environment = environment

    def write(self, record: CallRecord) -> None:
        """Write the line: level ``warning`` for the sidecar's own errors, else ``info``. Never raises.

        That of an unknown outcome is written at once: where the caller has left there is no other trace of it.
        """
        output = self._output
        if record.error is None and not output.wants_info:
            return
        if self._errors_only and _went_well(record):
            return
        line = RequestLine(
            output.timestamp(record.ended_at),
            "info" if record.error is None else "warning",
            "request",
            record.id,
            self._environment,
            record.method,
            record.shown_path,
            record.status or None,
            # Milliseconds to the microsecond; int() is cheaper than round().
            int(record.duration * 1e6) / 1e3,
            int(record.upstream_seconds * 1e6) / 1e3,
            int(record.token_wait_seconds * 1e6) / 1e3,
            record.deliveries,
            record.recovered,
            record.bytes_in,
            record.bytes_out,
            traceparent=record.traceparent,
            x_request_id=record.caller_request_id,
        )
        if record.error is not None or record.outcome is not None or record.caller is not None:
            self._add_trouble(line, record)
        if record.futile or record.foreign:
            line.client_id_ours = not record.foreign
        if record.lane is not None:
            line.lane = record.lane
            line.held_ms = int(record.held_seconds * 1e6) / 1e3
        if record.deprecation is not None:
            line.deprecated = record.deprecation.what
        if (report := record.report) is not None:
            line.mangopay_id, line.mangopay_type, line.cf_ray = report.id, report.type, report.cf_ray
        output.emit_line(line, urgent=record.outcome is _UNKNOWN)

    def _add_trouble(self, line: RequestLine, record: CallRecord) -> None:
        line.error = record.error
        line.outcome = record.outcome
        line.detail = record.detail
        if record.outcome is _UNKNOWN:
            # So that the payment can be reconciled with what Mangopay has.
            line.idempotency_key = record.idempotency_key
        line.caller = record.caller


def _went_well(record: CallRecord) -> bool:
    """Whether the caller got a response below 400, and nothing about it is open."""
    return 0 < record.status < 400 and record.error is None and record.outcome is None and record.caller is None
