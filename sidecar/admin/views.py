"""From the records of telemetry to what the status document shows: Unix time, masked paths, microseconds at most.

``offset`` is what turns ``Clock.now()`` into Unix time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.admin.status import (
    DeprecatedCalls,
    ForeignCalls,
    HistorySample,
    LastError,
    RecentCall,
    RecoveredCall,
    UpstreamFailure,
    UpstreamStatus,
)
from sidecar.core.error_report import ErrorReport
from sidecar.core.errors import ErrorCode, Outcome
from sidecar.telemetry.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.deprecation import Deprecation
    from sidecar.telemetry import recent_facts
    from sidecar.telemetry.history import HistoryEntry
    from sidecar.telemetry.recent_facts import UpstreamHealth
    from sidecar.telemetry.record import CallRecord


_NO_REPORT: Final = ErrorReport()


def recent_call(record: CallRecord, offset: float) -> RecentCall:
    """Show a call."""
    report = record.report or _NO_REPORT
    return RecentCall(
        at=round(record.started + offset, 6),
        id=record.id,
        method=record.method,
        path=record.shown_path,
        status=record.status or None,
        source=record.source,
        duration_seconds=round(record.duration, 6),
        upstream_seconds=round(record.upstream_seconds, 6),
        token_wait_seconds=round(record.token_wait_seconds, 6),
        deliveries=record.deliveries,
        attempts=tuple(_attempt(attempt) for attempt in record.timeline),
        recovered=record.recovered,
        bytes_in=record.bytes_in,
        bytes_out=record.bytes_out,
        error=record.error or "",
        outcome=record.outcome or "",
        detail=record.detail or "",
        # As in the log: only so that a payment can be looked up.
        idempotency_key=(record.idempotency_key or "") if record.outcome is Outcome.UNKNOWN else "",
        caller_gone=record.caller is not None,
        futile=record.futile,
        foreign=record.foreign,
        lane=record.lane or "",
        held_seconds=round(record.held_seconds, 6),
        deprecated="" if record.deprecation is None else record.deprecation.what,
        mangopay_id=report.id or "",
        mangopay_type=report.type or "",
        cf_ray=report.cf_ray or "",
        traceparent=record.traceparent or "",
        x_request_id=record.caller_request_id or "",
    )


def _attempt(attempt: Attempt) -> Attempt:
    return Attempt(
        round(attempt.at, 6),
        round(attempt.connection, 6),
        round(attempt.token, 6),
        round(attempt.upstream, 6),
        attempt.result,
        attempt.purpose,
        attempt.generation,
    )


def last_error(record: CallRecord, offset: float) -> LastError:
    """Show a call that the sidecar ended itself."""
    return LastError(
        at=record.ended + offset,
        id=record.id,
        method=record.method,
        path=record.shown_path,
        status=record.status or None,
        code=record.error or "",
        outcome=record.outcome or "",
    )


def recovered_call(record: CallRecord | None, offset: float) -> RecoveredCall | None:
    """Show when a call was recovered, and how."""
    if record is None:
        return None
    return RecoveredCall(at=record.ended + offset, id=record.id, how=record.recovered)


def foreign_calls(known: recent_facts.ForeignCalls | None, offset: float) -> ForeignCalls | None:
    """Show how many calls named another ClientId, and the newest."""
    if known is None:
        return None
    record = known.newest
    return ForeignCalls(
        calls=known.calls,
        since=known.since + offset,
        at=record.ended + offset,
        id=record.id,
        method=record.method,
        path=record.shown_path,
        refused=record.error is ErrorCode.CLIENT_ID_MISMATCH,
    )


def deprecated_calls(
    known: Mapping[Deprecation, recent_facts.DeprecatedCalls], offset: float
) -> tuple[DeprecatedCalls, ...]:
    """Show which deprecated endpoints are called, the one that was called last first."""
    newest_first = sorted(known.items(), key=lambda item: item[1].at, reverse=True)
    return tuple(
        DeprecatedCalls(
            what=row.what,
            endpoint=row.endpoint,
            calls=counted.calls,
            at=counted.at + offset,
            since=row.since.isoformat(),
            announced=row.announced,
            successor=row.successor,
            source=row.source,
        )
        for row, counted in newest_first
    )


def upstream_status(health: UpstreamHealth, offset: float) -> UpstreamStatus:
    """Show how Mangopay answers."""
    failure = None
    if (last := health.last_failure) is not None:
        record = last.record
        failure = UpstreamFailure(
            at=record.ended + offset,
            kind=last.kind,
            id=record.id,
            status=record.status if record.source == "upstream" and record.status else None,
            detail=record.detail or (f"status {record.status}" if record.error is None else ""),
        )
    return UpstreamStatus(
        answered_at=None if health.answered_at is None else health.answered_at + offset,
        failures=health.failures,
        last_failure=failure,
        failures_last_minute=dict(health.last_minute),
    )


def history_sample(sample: HistoryEntry, offset: float) -> HistorySample:
    """Show a sample."""
    return HistorySample(
        at=round(sample.at + offset, 3),
        seconds=round(sample.seconds, 3),
        calls=sample.calls,
        errors=sample.errors,
        client_errors=sample.client_errors,
        server_errors=sample.server_errors,
        recovered=sample.recovered,
        p50_seconds=None if sample.p50 is None else round(sample.p50, 6),
        p95_seconds=None if sample.p95 is None else round(sample.p95, 6),
    )
