"""The state of one call: its caller, its record, how often it was delivered, and what may still stop it.

**Attempts.** One that had no connection only ends, and counts nothing::

    begins ──► no byte was written ─────────────────► ended: no delivery
       └─────► a byte was written, or a head came ──► ended: deliveries + 1 ──complete token 401──► rejected

**What is known of it** (:meth:`Call.outcome`). UNKNOWN while an attempt has written a byte, and if one delivery was
not rejected. Else REJECTED if there was a delivery, and NOT_SENT if there was none.

**What stops it.** A caller that hangs up and a drain that ends come from outside the call's task, and cancel it once.
A write that is wholly sent runs on to its response's head after its caller left: only then the log can say what became
of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sidecar.core.errors import Outcome
from sidecar.core.resend import SAFE_METHODS, Sent
from sidecar.downstream.refusals import interrupted_by_shutdown

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.core.errors import SidecarError
    from sidecar.downstream.request import Caller
    from sidecar.proxy.batch_lane import Turn
    from sidecar.telemetry.record import CallRecord


class UpstreamConnection(Protocol):
    """What a call asks of the connection that it is sent on."""

    #: How much of the request was handed to the transport.
    sent: Sent


class Call:
    """The state of one call that outlives a single step of its way."""

    __slots__ = (
        "_cancelled",
        "_clock",
        "_head_arrived",
        "_last_status",
        "_rejected",
        "_upstream",
        "attempt_ended_at",
        "connection",
        "deliveries",
        "first_sent_at",
        "method",
        "record",
        "sent_at",
        "task",
        "turn",
    )

    def __init__(self, method: str, connection: Caller, record: CallRecord, clock: Clock) -> None:
        self._clock: Final = clock
        self.method: Final = method
        #: The caller's connection.
        self.connection: Final = connection
        self.record: Final = record
        self.task: Final = connection.task
        #: What let it through, if it is a batch call (contract section 10).
        self.turn: Turn | None = None
        self._upstream: UpstreamConnection | None = None
        #: Attempts on which at least one byte of the request was written.
        self.deliveries = 0
        #: When the newest attempt was about to write (``Clock.now``), whether it then wrote or not; 0: there was none.
        #: The first of the two is kept from the first delivery on.
        self.first_sent_at = self.sent_at = 0.0
        #: When the last attempt that was about to write ended: with its response's head, or without one.
        self.attempt_ended_at = 0.0
        # How many of the deliveries were answered with a complete token 401.
        self._rejected = 0
        # The status that upstream answered the last delivery with; 0 if it did not.
        self._last_status = 0
        self._cancelled = False
        # The attempt under way has its response's head. Its connection may have gone to another call since.
        self._head_arrived = False

    @property
    def gone(self) -> bool:
        """Whether the caller hung up."""
        return self.record.caller is not None

    # What the call's own steps say.

    def begins(self, connection: UpstreamConnection, now: float) -> None:
        """The request is about to be written to ``connection``, ``now`` (``Clock.now``)."""
        self._upstream = connection
        self._head_arrived = False
        self.sent_at = now
        if not self.deliveries:
            self.first_sent_at = now

    def head_arrived(self) -> None:
        """The response to the attempt under way has begun: whatever happens now, the request was delivered."""
        self._head_arrived = True

    def ended(self, status: int) -> None:
        """The attempt that began last is over: with a response's head and its ``status``, or without one (0)."""
        connection, self._upstream = self._upstream, None
        if connection is None:
            return
        self.attempt_ended_at = now = self._clock.now()
        self.record.upstream_seconds += now - self.sent_at
        # With its response whole the connection is ready for another request, and knows nothing of this one any more.
        if self._head_arrived or connection.sent is not Sent.NOTHING:
            self._last_status = status
            self.deliveries += 1
            self.record.deliveries = self.deliveries

    def rejected(self) -> None:
        """Every delivery so far was answered with a complete token 401: nothing of the call was executed."""
        self._rejected = self.deliveries

    def outcome(self) -> Outcome:
        """What is known of the request as of now."""
        upstream = self._upstream
        on_the_wire = upstream is not None and (self._head_arrived or upstream.sent is not Sent.NOTHING)
        if on_the_wire or self.deliveries > self._rejected:
            return Outcome.UNKNOWN
        return Outcome.REJECTED if self.deliveries else Outcome.NOT_SENT

    # What others say to the call.

    def caller_gone(self) -> None:
        """The caller hung up.

        A write that is wholly sent runs on to its response head, since only
        then the log can say what became of it; everything else is aborted.
        """
        self.record.caller = "gone"
        if not self._write_is_out():
            self._cancel()

    def cut_short(self) -> None:
        """The time to drain is over: stop wherever the call is."""
        self._cancel()

    def cut_error(self) -> SidecarError:
        """Return the error for a call that :meth:`cut_short` stopped."""
        return interrupted_by_shutdown(self.outcome())

    def _write_is_out(self) -> bool:
        return self.method not in SAFE_METHODS and self._upstream is not None and self._upstream.sent is Sent.ALL

    def _cancel(self) -> None:
        if self.task is not None and not self._cancelled:
            self._cancelled = True
            self.task.cancel()

    def stopped_here(self) -> bool:
        """Whether the cancellation that just arrived is this call's own; if so, it ends here."""
        if self.task is not None and self._cancelled:
            self.task.uncancel()
            if self.gone and not self.record.status:
                # Nobody gets this response, but it is what became of the call.
                self.record.status = self._last_status
        return self._cancelled
