"""The ``request`` line: one for each call (contract section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.core.errors import Outcome
from sidecar.core.text import milliseconds
from sidecar.telemetry.line_format import Line

if TYPE_CHECKING:
    from sidecar.telemetry.line_format import Entry
    from sidecar.telemetry.log import LogOutput
    from sidecar.telemetry.record import CallRecord, Recovery


# Read for each call: a global of the module is found faster than a member of an enum.
_UNKNOWN: Final = Outcome.UNKNOWN


class RequestLine(Line):
    """One call, as the log tells it; what follows ``bytes`` is only there if there is something to say."""

    id: str
    environment: str
    method: str
    path: str
    status: int | None
    duration_ms: float
    upstream_ms: float
    token_wait_ms: float
    attempts: int
    recovered: tuple[Recovery, ...]
    bytes_in: int
    bytes: int
    error: str | None = None
    outcome: str | None = None
    detail: str | None = None
    idempotency_key: str | None = None
    caller: str | None = None
    client_id_ours: bool | None = None
    mangopay_id: str | None = None
    mangopay_type: str | None = None
    cf_ray: str | None = None
    traceparent: str | None = None
    x_request_id: str | None = None
    lane: str | None = None
    held_ms: float | None = None
    deprecated: str | None = None

    def for_people(self) -> tuple[str, Entry]:
        """Return the call in one short line; with its id, and what is known of it, only if it had no success."""
        status = "unanswered" if self.status is None else str(self.status)
        words = f"{self.method} {self.path} {status} in {milliseconds(self.duration_ms)}"
        if self.status is not None and self.status < 400 and self.level == "info" and self.caller is None:
            return words, {"recovered": self.recovered}
        fields = msgspec.structs.asdict(self)
        return words, {key: fields[key] for key in ("id", *_TROUBLE)}


#: What is told of a call without success, besides its id, on a terminal.
_TROUBLE: Final = (
    *("error", "outcome", "detail", "idempotency_key", "caller", "client_id_ours", "recovered"),
    *("mangopay_type", "mangopay_id", "cf_ray"),
)


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
