"""How much memory request bodies may take that are kept so that a call can be sent again (contract section 4.5).

Bodies of unknown length that find the budget used up stand in line, and hold what they have meanwhile. If in the
end all of it is held by those who stand in line, none could ever go on. Then the last to come gives way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from sidecar.downstream.refusals import out_of_budget

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Waiter:
    """One that stands in line for ``size`` bytes; they are reserved once ``granted`` is done."""

    __slots__ = ("granted", "reservation", "size")

    def __init__(self, size: int, granted: asyncio.Future[None], reservation: Reservation) -> None:
        self.size: Final = size
        self.granted: Final = granted
        self.reservation: Final = reservation


def gives_way(held: Sequence[int], used: int) -> int | None:
    """Return which of those in line is to be refused, so that the others can go on; None: none has to be.

    ``held`` says what each of them holds (bytes), in the order in which their requests came; ``used`` is what all
    calls hold. As long as calls outside the line hold some of it, they will give it back. Else it is the last in
    the line that holds any.
    """
    if sum(held) < used:
        return None
    for place in range(len(held) - 1, -1, -1):
        if held[place]:
            return place
    return None


#: Calls that may wait for memory at the same time.
MOST_WAITING: Final = 64


class ReplayBudget:
    """Bytes shared by all calls of the process. Reserved as they arrive, given back when the call ends."""

    __slots__ = ("_came", "_waiters", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        #: Bytes reserved now.
        self.used = 0
        self._waiters: deque[_Waiter] = deque()
        # Calls that came so far.
        self._came = 0

    def reservation(self) -> Reservation:
        """Return an empty reservation for one call."""
        self._came += 1
        return Reservation(self, self._came)

    @property
    def crowded(self) -> bool:
        """Whether as many wait as may: each has a piece of its body in hand, which is not part of the budget."""
        return len(self._waiters) >= MOST_WAITING

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes if they are free and nobody waits for them already."""
        if self._waiters or self.used + size > self.limit:
            return False
        self.used += size
        return True

    def queue(self, size: int, reservation: Reservation) -> asyncio.Future[None]:
        """Stand in line for ``size`` bytes; they are reserved once the future is done. Cancel it to leave the line.

        It fails with SidecarError ``overloaded`` if ``reservation`` has to give way.
        """
        granted = asyncio.get_running_loop().create_future()
        self._waiters.append(_Waiter(size, granted, reservation))
        self.serve()
        return granted

    def give_back(self, size: int) -> None:
        """Free ``size`` bytes for those who wait, first come, first served."""
        self.used -= size
        self.serve()

    def serve(self) -> None:
        """Let in those at the head of the line for whom there is room; whoever left the line is passed over."""
        while self._waiters:
            size, granted = self._waiters[0].size, self._waiters[0].granted
            if not granted.done():
                if self.used + size > self.limit:
                    self._make_one_give_way()
                    return
                self.used += size
                granted.set_result(None)
            self._waiters.popleft()

    def _make_one_give_way(self) -> None:
        """Refuse the last to come if none of those in line can go on; what it holds comes back in a moment."""
        line = sorted((each for each in self._waiters if not each.granted.done()), key=_came)
        place = gives_way([each.reservation.held for each in line], self.used)
        if place is not None:
            line[place].granted.set_exception(out_of_budget())


def _came(waiter: _Waiter) -> int:
    return waiter.reservation.came


class Reservation:
    """What one call holds of the budget."""

    __slots__ = ("_budget", "came", "held")

    def __init__(self, budget: ReplayBudget, came: int) -> None:
        self._budget: Final = budget
        #: Its place among all calls, in the order in which they came.
        self.came: Final = came
        #: Bytes reserved for this call.
        self.held = 0

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes more, now or not at all."""
        if not self._budget.take(size):
            return False
        self.held += size
        return True

    def can_ever_take(self, size: int) -> bool:
        """Whether ``size`` bytes more could ever be granted."""
        return self.held + size <= self._budget.limit and not self._budget.crowded

    async def wait(self, size: int, waiter: asyncio.Future[None]) -> None:
        """Wait until ``waiter``, got from :meth:`queue` for ``size`` bytes, is served; leave the line on any error."""
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._budget.give_back(size)  # served and cancelled in the same moment
            else:
                self._budget.serve()
            raise
        self.held += size

    def queue(self, size: int) -> asyncio.Future[None]:
        """Stand in line for ``size`` bytes more."""
        return self._budget.queue(size, self)

    def release(self, size: int | None = None) -> None:
        """Give back ``size`` bytes, as far as they are held; everything without a ``size``. May be repeated."""
        size = self.held if size is None else min(size, self.held)
        if size:
            self.held -= size
            self._budget.give_back(size)
