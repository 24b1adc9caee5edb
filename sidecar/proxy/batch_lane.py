"""The batch lane: its calls wait here for room in Mangopay's rate windows (contract section 10).

The rule is in :mod:`sidecar.core.steward`; here is the line of those who wait. A call
stands in it after it was admitted and before its body is read. So it holds its
caller's connection with what had come by then, and nothing else: no place in the memory for bodies, no connection to
Mangopay, no token. And only so many may wait: the other half of the connections that callers can have is left to calls
that cannot.

First come, first served. Whoever leaves (its caller hung up, the sidecar drains, the time is over) leaves nothing
behind. As everywhere, time in which the process stood still counts for nobody, and before a waiting call is refused the
sockets are looked at once: the response that makes room may lie there.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.core import steward
from sidecar.core.backoff import read_retry_after
from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.http.dates import read_http_date
from sidecar.core.rate_windows import used_up_for
from sidecar.core.standstill import Standstill
from sidecar.core.steward import Look, Permission, Ruling, Steward
from sidecar.patience import look_at_sockets
from sidecar.tokens.failures import shutting_down

if TYPE_CHECKING:
    from sidecar.core.admission.lane import LaneRules
    from sidecar.core.clock import Clock
    from sidecar.core.http.messages import ResponseHead
    from sidecar.runtime import Tasks
    from sidecar.telemetry.metrics import Metrics, RateHeld
    from sidecar.telemetry.record import CallRecord

#: Seconds for which a call waits for the responses of those before it, however short ``limits.wait`` is.
TURN_WAIT: Final = 1.0
#: Seconds between two looks at the line while somebody waits in it.
_TICK: Final = 0.5
#: Seconds between them at least.
_SHORTEST: Final = 0.01
_RATE_LIMIT: Final = b"x-ratelimit"


class LaneLimits(msgspec.Struct, frozen=True):
    """What is reserved, and who may wait for room."""

    #: ``limits.reserve``: a share, above 0 and below 1.
    reserve: float
    #: ``limits.wait``, seconds.
    wait: float = 0.0
    #: Calls that may wait at the same time; whoever comes then is refused.
    most_waiting: int = 500


class Turn:
    """A batch call that was let through. It counts as under way until :meth:`end`."""

    __slots__ = ("_lane",)

    def __init__(self, lane: BatchLane) -> None:
        self._lane: BatchLane | None = lane

    def end(self) -> None:
        """Note that its response has begun, or will never come. May be repeated."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.ended()


class _Waiter:
    """A call in the line."""

    __slots__ = ("came", "granted")

    def __init__(self, came: float) -> None:
        #: ``Clock.now``, without the time in which the process stood still since.
        self.came = came
        self.granted: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()


class BatchLane:
    """Lets batch calls through, one after another, and learns from every response when it may."""

    def __init__(
        self,
        rules: LaneRules,
        limits: LaneLimits,
        *,
        clock: Clock,
        tasks: Tasks,
        metrics: Metrics,
    ) -> None:
        self.rules: Final = rules
        self.limits: Final = limits
        self._clock: Final = clock
        self._tasks: Final = tasks
        self._metrics: Final = metrics
        self._steward = Steward(limits.reserve)
        self._waiters: Final[dict[_Waiter, None]] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._closed = False
        # The newest response's head, when it came and when its request was sent; read once somebody asks.
        self._unread: tuple[ResponseHead, float, float] | None = None
        #: When a call was last refused (``Clock.now``); None: none was.
        self.refused_at: float | None = None

    def __repr__(self) -> str:
        """Say how many calls wait, and how many are under way."""
        return f"<BatchLane [{self.waiting} waiting, {self._steward.under_way} under way]>"

    @property
    def waiting(self) -> int:
        """Calls in the line."""
        return len(self._waiters)

    def ruling(self) -> Ruling:
        """What the next batch call may do now."""
        self._read()
        return steward.ruling(self._steward, self._clock.now())

    # --- batch calls --------------------------------------------------------------------------------------------------

    async def turn(self, record: CallRecord | None = None) -> Turn:
        """Return once a batch call may go; ``record`` is that of the call, if it is a caller's.

        Raises SidecarError: ``RATE_RESERVED`` if there was no room in time, ``SHUTTING_DOWN``.
        """
        if self._closed:
            raise shutting_down()
        now = self._clock.now()
        self._read()
        if not self._waiters and steward.ruling(self._steward, now).permission is Permission.GO:
            return self._let_through(now)
        waiter = _Waiter(now)
        self._waiters[waiter] = None
        try:
            await self._granted(waiter)
        except asyncio.CancelledError:
            if not waiter.granted.cancelled() and waiter.granted.exception() is None:
                self.ended()  # let through and cancelled in the same moment
            self._count("gone" if record is not None and record.caller is not None else "drained")
            raise
        finally:
            self._waiters.pop(waiter, None)
            if record is not None:
                record.held_seconds = self._clock.now() - now
        self._count("sent")
        return Turn(self)

    async def _granted(self, waiter: _Waiter) -> None:
        self._serve()
        if not waiter.granted.done():
            ruling = self.ruling()
            if self._patience(ruling) <= 0.0 or self.waiting > self.limits.most_waiting:
                self._refuse(waiter, ruling)
            elif self._watcher is None or self._watcher.done():
                self._watcher = self._tasks.spawn(self._watch(), name="batch_lane.watch")
        await waiter.granted

    def _let_through(self, now: float) -> Turn:
        self._steward = steward.let_through(self._steward, now)
        return Turn(self)

    def ended(self) -> None:
        """Note that a call is under way no more."""
        self._steward = steward.ended(self._steward)
        self._serve()

    def close(self) -> None:
        """Send away everybody who waits, and whoever comes: the sidecar drains."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.granted.done():
                waiter.granted.set_exception(shutting_down())
                self._count("drained")

    # --- every call ---------------------------------------------------------------------------------------------------

    def look(self, head: ResponseHead, sent_at: float, at: float) -> None:
        """Note what a response tells that came ``at`` that moment, to a call that was ``sent_at`` that (``Clock.now``).

        While nobody is in the lane it is not even read: the newest that tells anything is all that the next one needs.
        """
        if self._waiters or self._steward.under_way:
            self._read()
            self._unread = head, at, sent_at
            self._serve()
            return
        if head.status == 429 and not _tells_windows(head):
            self._read()  # it tells a pause, and hides no window
        unread = self._unread
        if unread is None or (_tells_windows(head), sent_at) >= (_tells_windows(unread[0]), unread[2]):
            self._unread = head, at, sent_at

    def when_to_retry(self, head: ResponseHead) -> int | None:
        """Return the ``Retry-After`` (seconds) that a 429 of Mangopay's lacks; None: it has one, or there is none.

        It is taken from the window that is used up, as this response tells it, or else the one before.
        """
        if head.status != 429 or head.first(b"retry-after") is not None:
            return None
        limits = self._metrics.rate_limits
        seconds = used_up_for(limits.told(head.read_here) or limits.windows(), self._date(head))
        return None if seconds is None else math.ceil(seconds)

    def _read(self) -> None:
        """Understand the response that came last, if that has not been done."""
        if self._unread is None:
            return
        (head, at, sent_at), self._unread = self._unread, None
        retry_after = None
        if head.status == 429:
            value, date = head.first(b"retry-after"), head.first(b"date")
            retry_after = read_retry_after(value, date=date, wall=self._clock.wall())
        windows = self._metrics.rate_limits.told(head.read_here)
        look = Look(at, sent_at, windows, self._date(head), head.status, retry_after)
        self._steward = steward.seen(self._steward, look)

    def _date(self, head: ResponseHead) -> float:
        date = read_http_date(head.first(b"date") or "")
        return self._clock.wall() if date is None else date

    # --- the line -----------------------------------------------------------------------------------------------------

    def _serve(self) -> Ruling:
        """Let through those at the head of the line who may go; return what holds the next one."""
        ruling = self.ruling()
        while self._waiters and ruling.permission is Permission.GO:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            if not waiter.granted.done():
                waiter.granted.set_result(None)
                self._let_through(self._clock.now())
                ruling = self.ruling()
        return ruling

    def _patience(self, ruling: Ruling) -> float:
        """Return for how long (seconds) a call waits for what it waits for now."""
        wait = self.limits.wait
        return max(wait, TURN_WAIT) if ruling.permission is Permission.TURN else wait

    def _late(self, ruling: Ruling, now: float) -> list[_Waiter]:
        patience = self._patience(ruling)
        return [waiter for waiter in self._waiters if now - waiter.came >= patience]

    async def _watch(self) -> None:
        """Look at the line, and at the time, for as long as somebody waits."""
        standstill = Standstill(self._clock.now(), 2 * _TICK)
        while self._waiters:
            now = self._clock.now()
            until = steward.ruling(self._steward, now).until
            wake = min(now + _TICK, max(until, now + _SHORTEST) if until > now else now + _TICK)
            await self._clock.sleep_until(wake)
            if stood := standstill.look(self._clock.now()):
                for waiter in self._waiters:
                    if waiter.came <= wake:  # the others came after it
                        waiter.came += stood
            if self._late(self._serve(), self._clock.now()):
                await look_at_sockets()
                ruling, now = self._serve(), self._clock.now()
                for waiter in self._late(ruling, now):
                    self._refuse(waiter, ruling)

    def _refuse(self, waiter: _Waiter, ruling: Ruling) -> None:
        if waiter.granted.done():
            return
        now = self._clock.now()
        self.refused_at = now
        self._count("refused")
        waiter.granted.set_exception(_reserved(ruling, ruling.until - now))

    def _count(self, result: RateHeld) -> None:
        self._metrics.rate_held[(result,)] += 1


def _tells_windows(head: ResponseHead) -> bool:
    """Whether a response tells anything of the rate windows; one of a gateway or of another endpoint may not."""
    return any(field.key.startswith(_RATE_LIMIT) for field in head.read_here)


def _reserved(ruling: Ruling, seconds: float) -> SidecarError:
    """Return the error of a batch call for which there was no room in time."""
    if ruling.permission is Permission.ROOM:
        window = "" if ruling.window is None else f" of {ruling.window}"
        why = f"what remains of Mangopay's rate window{window} is reserved for other calls"
        when = "retry after the time in Retry-After"
    else:
        seconds, when = 1.0, "retry in a moment"
        why = "the answers of batch calls before it are waited for, to see what remains of Mangopay's rate windows"
    return SidecarError(
        ErrorCode.RATE_RESERVED,
        f"This call is in the batch lane, and {why}: {when}, raise SIDECAR_LIMITS_WAIT, or lower "
        "SIDECAR_LIMITS_RESERVE. It was not sent to Mangopay.",
        retry_after=max(1.0, seconds),
        detail=f"window {ruling.window}" if ruling.window is not None else None,
    )
