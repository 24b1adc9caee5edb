"""Opens the record of each call, and tells the observers of it when the call is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.telemetry.batch import LONGEST, Batch, Due
from sidecar.telemetry.record import CallRecord
from sidecar.telemetry.unforeseen import log_unforeseen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sidecar.core.clock import Clock
    from sidecar.telemetry.request_ids import RequestIds

# Read for each call: Python 3.11 finds a global of the module faster than a member of an enum.
_TIMER: Final = Due.TIMER
_SOON: Final = Due.SOON
_NOW: Final = Due.NOW


class CallRecorder:
    """Opens a record for each call, and tells the observers of it once the call is over.

    An observer must be cheap; the record changes no more. One that raises has a bug, which is logged.
    """

    def __init__(
        self,
        ids: RequestIds,
        clock: Clock,
        observers: Iterable[Callable[[CallRecord], None]],
        *,
        confirm: Callable[[], Awaitable[None]] | None = None,
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        """``confirm`` waits, for a moment at most, until what the observers were told so far is out of this process.

        ``later`` is an event loop's ``call_later``: observers are told of calls in batches, as
        :mod:`sidecar.telemetry.batch` says. Without it they are told of each call at once.
        """
        self._confirm = confirm
        self._new_id = ids.new
        self._now = clock.now
        self._wall = clock.wall
        self._observers = tuple(observers)
        self._batch: Final = Batch()
        self._later = later
        #: Calls that are open now.
        self.in_flight = 0

    def open(self, method: str, target: str) -> CallRecord:
        """Begin the record of a call; the query of ``target`` is dropped at once."""
        self.in_flight += 1
        if self._batch.call_begins() is _SOON and self._later is not None:
            self._later(0.0, self.flush)
        return CallRecord(self._new_id(), self._now(), method, target.partition("?")[0])

    def close(self, record: CallRecord) -> None:
        """End the record: take its times, and tell the observers when that is due."""
        self.in_flight -= 1
        record.duration = self._now() - record.started
        record.ended_at = self._wall()
        if not record.status:
            record.source = "sidecar"  # there is no response of upstream's either
        due = self._batch.add(record)
        if self._later is None or due is _NOW:
            self.flush()
        elif due is _TIMER:
            self._later(LONGEST, self._timer_ended)

    def flush(self) -> None:
        """Tell the observers of every call that has ended: whoever reads what they keep, or logs, does this before."""
        if not self._batch:
            return
        records = self._batch.take()
        failures: list[tuple[Exception, CallRecord]] = []
        # One observer after another: each of them runs with its code and its data still at hand in the processor.
        for observe in self._observers:
            for record in records:
                try:
                    observe(record)
                except Exception as error:  # noqa: BLE001 - the others are still to be told
                    failures.append((error, record))
        for bug, record in failures:
            log_unforeseen(bug, record)

    def _timer_ended(self) -> None:
        self._batch.timer_ended()
        self.flush()

    async def confirm(self) -> None:
        """Return once the records that were closed so far outlive this process, or soon after."""
        self.flush()
        if self._confirm is not None:
            await self._confirm()
