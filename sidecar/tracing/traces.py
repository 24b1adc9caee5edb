"""The traces of one sidecar: which calls are in them, and whether they reach the collector.

A call pays for two ids and a place in a queue. All else happens in the SDK's
thread, which takes a batch from that queue every few seconds, and may wait for
the collector as long as it likes: what finds the queue full is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from sidecar.core.http.trace_context import begin_trace
from sidecar.telemetry.line_format import foreign_text
from sidecar.threads import DaemonThreads, NoThreadError
from sidecar.tracing.collector import CollectorSession
from sidecar.tracing.exporting import CallExporter, FinishedCall
from sidecar.tracing.status import TracingStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.clock import Clock
    from sidecar.core.endpoint import Endpoint
    from sidecar.core.http.header_index import HeaderIndex, RawHeaders
    from sidecar.telemetry.record import CallRecord
    from sidecar.tracing.spans import SpanMaker

#: Calls that wait for the SDK's thread at most, and calls that it takes at once: some 3 MiB, and some 0.5 MiB of spans.
QUEUE: Final = 2048
BATCH: Final = 256
#: Seconds that the spans of the last calls have to get out in, from when the last call is over.
FLUSH: Final = 0.5
#: Seconds after which the SDK's thread gives way when the event loop wants to go on; Python's own are five times that.
_GIVES_WAY: Final = 0.001
#: Seconds for which a collector that fails now and then is told once.
_TOLD_ONCE_IN: Final = 60.0
#: OTLP over HTTP, "OTLP/HTTP Request": where a collector takes spans.
_PATH: Final = "/v1/traces"
#: The loggers of OpenTelemetry, and of what it sends by.
_LOGGERS: Final = ("opentelemetry", "urllib3")
#: Warnings of the SDK that are told at most.
_MOST_TOLD: Final = 20
#: What these say of spans that were not sent is told by us, once.
_TOLD_BY_US: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.common",
    "opentelemetry.sdk._shared_internal",
)

_log = structlog.get_logger()


def collector_url(endpoint: Endpoint) -> str:
    """Return where spans are posted: the usual path below ``endpoint``, unless that has it already."""
    prefix = endpoint.prefix if endpoint.prefix.endswith(_PATH) else endpoint.prefix + _PATH
    return endpoint.origin + prefix


class Traces:
    """Begins the trace of each call, and sends its spans when it is over. Belongs to the running event loop."""

    def __init__(
        self,
        collector: Endpoint,
        share: float,
        maker: SpanMaker,
        *,
        clock: Clock,
        chance: Callable[[int], int],
    ) -> None:
        """``share`` (0 to 1) of the traces that begin here are sampled.

        Raises ValueError if a setting of the SDK's is no good.
        """
        self._collector: Final = collector
        self._share: Final = share
        self._clock: Final = clock
        self._chance: Final = chance
        self._loop: Final = asyncio.get_running_loop()
        self._threads: Final = DaemonThreads("traces", 1)
        self._sdk_log: Final = _SdkLog(self._loop)
        session = CollectorSession(os.environ)
        self._exporter: Final = CallExporter(
            maker, OTLPSpanExporter(collector_url(collector), session=session), session, self._report
        )
        try:
            self._processor: Final = BatchSpanProcessor(
                self._exporter, max_queue_size=QUEUE, max_export_batch_size=BATCH
            )
        except ValueError:
            self._sdk_log.close()
            raise
        # Calls that were put in the queue, and those of which the SDK's thread has told what became of them.
        self._given = self._reported = 0
        # To encode a batch takes 30 ms of computing.
        self._usual_interval: Final = sys.getswitchinterval()
        sys.setswitchinterval(min(self._usual_interval, _GIVES_WAY))
        self._flushing = False
        self._closing: asyncio.Future[None] | None = None
        self._closes_at = 0.0
        # As in TracingStatus.
        self._up: bool | None = None
        self._since: float | None = None
        self._last_error: str | None = None
        self._sent = self._lost = 0
        self._told_at = -_TOLD_ONCE_IN
        self._told = False

    def correlate(self, record: CallRecord, raw: RawHeaders, header_index: HeaderIndex) -> None:
        """Note on a call's record what it belongs to by its raw headers: see CallRecord.correlate, and its trace."""
        record.correlate(raw, header_index)
        record.traced(begin_trace(raw, header_index, share=self._share, chance=self._chance))

    def observe(self, record: CallRecord) -> None:
        """Have the spans of a call that is over sent, if it is sampled; nothing is waited for."""
        trace = record.trace
        if trace is None or not trace.sampled:
            return
        if self._flushing or self._given - self._exporter.taken >= QUEUE:
            self._drop()
            return
        self._given += 1
        self._processor.on_end(FinishedCall(record, trace))

    def status(self) -> TracingStatus:
        """A snapshot."""
        return TracingStatus(
            self._collector.origin, self._up, self._since, self._last_error, sent=self._sent, lost=self._lost
        )

    def flush(self) -> None:
        """Begin to send what is left. Calls that end from now on are not sent."""
        if not self._flushing:
            self._flushing = True
            self._closes_at = self._loop.time() + FLUSH
            with suppress(NoThreadError):  # nothing more can be sent then; close() says how much that is
                self._closing = self._threads.start(self._processor.shutdown)

    async def close(self) -> None:
        """End, :data:`FLUSH` seconds after :meth:`flush` at the latest, whatever hangs."""
        self.flush()
        if self._closing is not None:
            left = max(0.0, self._closes_at - self._loop.time())
            done, _ = await asyncio.wait([self._closing], timeout=left)
            if not done:
                self._exporter.shutdown()
        if unsent := self._given - self._reported:
            self._lost += unsent
            _log.warning("tracing.unsent", calls=unsent, collector=self._collector.origin)
        self._sdk_log.close()
        sys.setswitchinterval(self._usual_interval)

    # --- what becomes of the spans -----------------------------------------------------------------------------------

    def _report(self, calls: int, lost: str | None) -> None:
        """Take what the SDK's thread tells of a batch over to the event loop."""
        with suppress(RuntimeError):  # the loop is closed: nobody asks any more
            self._loop.call_soon_threadsafe(self._exported, calls, lost)

    def _exported(self, calls: int, lost: str | None) -> None:
        self._reported += calls
        if lost is not None:
            self._lost += calls
            self._is_down(lost)
            return
        self._sent += calls
        if self._up is not True:
            self._up, self._since = True, self._clock.wall()
            if self._told:
                self._told = False
                _log.info("tracing.recovered", collector=self._collector.origin, calls_lost=self._lost)

    def _drop(self) -> None:
        self._lost += 1
        self._is_down("takes spans more slowly than calls end: some are dropped")

    def _is_down(self, why: str) -> None:
        """Note that spans are lost; say so once, also where the collector works now and then."""
        self._last_error = why
        if self._up is not False:
            self._up, self._since = False, self._clock.wall()
        now = self._clock.now()
        if not self._told and now - self._told_at >= _TOLD_ONCE_IN:
            self._told, self._told_at = True, now
            _log.warning(
                "tracing.failed",
                collector=self._collector.origin,
                message=f"traces are lost: the collector {why}; calls are served all the same",
            )


class _SdkLog(logging.Handler):
    """Takes what OpenTelemetry and urllib3 log: each thing once, without arguments, which may quote a header."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.WARNING)
        self._loop: Final = loop
        self._told: set[str] = set()
        self._loggers: Final = [logging.getLogger(name) for name in _LOGGERS]
        for logger in self._loggers:
            logger.addHandler(self)
            logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a warning that was not told before."""
        message = str(record.msg)
        if record.name.startswith(_TOLD_BY_US) or message in self._told or len(self._told) >= _MOST_TOLD:
            return
        self._told.add(message)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._tell, record.name, foreign_text(message))

    @staticmethod
    def _tell(logger: str, message: str) -> None:
        _log.warning("tracing.sdk_reported", logger=logger, message=message)

    def close(self) -> None:
        """Leave their loggers as they were."""
        for logger in self._loggers:
            logger.removeHandler(self)
            logger.propagate = True
        super().close()
