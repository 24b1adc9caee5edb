"""Deadlines that are enforced only after a last look at the sockets (contract section 6).

When a deadline has passed, what it was waited for may have come in time all the
same, and lie in a socket: the process stood still (SIGSTOP, ``docker pause``, a
frozen machine), or was held up. The event loops call what is due by time before
they look at the sockets. So whoever is about to give up lets the loop go round first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.core.standstill import Standstill

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sidecar.core.clock import Clock

#: Passes of the event loop: one reads what waits in the sockets, the others carry it from task to task to whoever
#: waits for it. They cost microseconds, and only when a deadline has passed.
_PASSES: Final = 16
#: Parts that a time is counted in: a part in which the process stood still counts once, however long it lasted.
_STEPS: Final = 20
#: Seconds between two looks of an :class:`AttendedClock`; twice as long without one is a standstill.
_LOOK: Final = 0.5


async def next_pass() -> None:
    """Return in the next pass of the event loop."""
    await asyncio.sleep(0)  # noqa: TID251 - a pass of the loop, no time


async def look_at_sockets() -> None:
    """Return once what waits in the sockets has been read, and handed to whoever waits for it."""
    for _ in range(_PASSES):
        await next_pass()


class AttendedClock:
    """A clock that stands still while this process does: time in which nobody could look ends no wait.

    It notices a standstill by looks that come too late, so somebody has to look regularly: :meth:`watch` does.
    """

    def __init__(self, clock: Clock) -> None:
        """``clock`` is the one that goes on meanwhile."""
        self._clock: Final = clock
        self._standstill: Final = Standstill(clock.now(), 2 * _LOOK)
        #: Seconds since the Unix epoch, as ``clock`` has them.
        self.wall: Final = clock.wall

    def now(self) -> float:
        """Seconds for which this process was there to notice anything, on a scale of their own."""
        moment = self._clock.now()
        self._standstill.look(moment)
        return moment - self._standstill.total

    async def sleep_until(self, deadline: float) -> None:
        """Return once :meth:`now` has reached ``deadline``."""
        while (left := deadline - self.now()) > 0:
            await self._clock.sleep_until(self._clock.now() + left)

    async def watch(self) -> None:
        """Look regularly, for ever."""
        while True:
            await self._clock.sleep_until(self._clock.now() + _LOOK)
            self.now()


class PatientTimeout:
    """As :func:`asyncio.timeout`, but counts only seconds in which this process was there to notice a response.

    They are counted in steps of the event loop's own timer. Where the process stands still, or the loop is held up,
    as at the start on a crowded machine, it is not the other side that is slow. Before it ends anything the
    sockets are looked at once more.
    """

    __slots__ = ("_handle", "_left", "_limit", "_step")

    def __init__(self, seconds: float) -> None:
        self._step: Final = seconds / _STEPS
        self._left = _STEPS
        self._limit: Final = asyncio.timeout(None)
        self._handle: asyncio.Handle | None = None

    async def __aenter__(self) -> Self:
        """Begin to count."""
        await self._limit.__aenter__()
        self._handle = asyncio.get_running_loop().call_later(self._step, self._tick)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop counting. Raises TimeoutError if the time was over."""
        if self._handle is not None:
            self._handle.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def expired(self) -> bool:
        """Whether the time was over."""
        return self._limit.expired()

    def _tick(self) -> None:
        self._left -= 1
        if self._left:
            self._handle = asyncio.get_running_loop().call_later(self._step, self._tick)
        else:
            self._look(_PASSES)

    def _look(self, passes: int) -> None:
        loop = asyncio.get_running_loop()
        if passes:
            self._handle = loop.call_soon(self._look, passes - 1)
        else:
            self._limit.reschedule(loop.time())
