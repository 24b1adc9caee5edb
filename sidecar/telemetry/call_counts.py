"""What is counted of each call that is over: the part of :mod:`sidecar.telemetry.metrics` that every call runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.errors import Outcome
from sidecar.core.http.messages import KNOWN_METHODS

if TYPE_CHECKING:
    from sidecar.core.errors import ErrorCode
    from sidecar.telemetry.buckets import Buckets
    from sidecar.telemetry.record import CallRecord, Recovery, Source


class CallCounts:
    """Counts calls in metrics that others declare."""

    __slots__ = ("_call", "_deprecated", "_errors", "_recovered", "_requests", "_upstream")

    def __init__(
        self,
        requests: dict[tuple[str, int, Source], int],
        errors: dict[tuple[ErrorCode, Outcome], int],
        recovered: dict[tuple[Recovery], int],
        deprecated: dict[tuple[str], int],
        *,
        call: Buckets,
        upstream: Buckets,
    ) -> None:
        """``call`` and ``upstream`` take seconds: of whole calls, and of what Mangopay took of them."""
        self._requests: Final = requests
        self._errors: Final = errors
        self._recovered: Final = recovered
        self._deprecated: Final = deprecated
        self._call: Final = call
        self._upstream: Final = upstream

    def observe(self, record: CallRecord) -> None:
        """Count a call that is over."""
        method = record.method
        self._requests[method if method in KNOWN_METHODS else "other", record.status, record.source] += 1
        self._call.observe(record.duration)
        if record.deliveries:
            self._upstream.observe(record.upstream_seconds)
        for how in record.recovered:
            self._recovered[(how,)] += 1
        if record.deprecation is not None:
            self._deprecated[(record.deprecation.what,)] += 1
        if record.error is not None:
            self._errors[record.error, record.outcome or Outcome.NOT_SENT] += 1
