"""What runs in the SDK's thread: batches of finished calls become spans, and go to the collector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    from sidecar.core.http.trace_context import CallTrace
    from sidecar.telemetry.record import CallRecord
    from sidecar.tracing.collector import CollectorSession
    from sidecar.tracing.spans import SpanMaker

#: All that the batch processor reads of what it is given: that it is to be sent.
_SAMPLED: Final = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class FinishedCall(ReadableSpan):
    """A call on its way through the SDK's batch processor, before spans are made of it."""

    def __init__(self, record: CallRecord, trace: CallTrace) -> None:
        self.record: Final = record
        self.trace: Final = trace

    @property
    def context(self) -> SpanContext:
        """Say that it is sampled."""
        return _SAMPLED


class CallExporter(SpanExporter):
    """Makes the spans of a batch of calls and sends them."""

    def __init__(
        self,
        maker: SpanMaker,
        exporter: OTLPSpanExporter,
        session: CollectorSession,
        report: Callable[[int, str | None], None],
    ) -> None:
        """``report`` is told of each batch how many calls were in it, and why they are lost; None: they were sent."""
        self._maker: Final = maker
        self._exporter: Final = exporter
        self._session: Final = session
        self._report: Final = report
        #: Calls that the batch processor has handed over so far; only its thread counts.
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans of some FinishedCalls."""
        self.taken += len(spans)
        self._session.told = "was sent nothing: the spans could not be encoded"
        try:
            result = self._exporter.export(
                [
                    span
                    for call in cast("Sequence[FinishedCall]", spans)
                    for span in self._maker.spans(call.record, call.trace)
                ]
            )
            lost = None if result is SpanExportResult.SUCCESS else self._session.told
        except Exception as bug:  # noqa: BLE001 - it costs these spans, and nothing else
            result, lost = SpanExportResult.FAILURE, f"got nothing: {type(bug).__name__}"
        self._report(len(spans), lost)
        return result

    def shutdown(self) -> None:
        """Send nothing more, and wait for nothing more."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
