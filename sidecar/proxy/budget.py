"""How much memory request bodies may take that are kept so that a call can be sent again (contract section 4.5)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

#: Calls that may wait for memory at the same time.
MOST_WAITING: Final = 64


class ReplayBudget:
    """Bytes shared by all calls of the process. Reserved as they arrive, given back when the call ends."""

    __slots__ = ("_waiters", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        #: Bytes reserved now.
        self.used = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    def reservation(self) -> Reservation:
        """Return an empty reservation for one call."""
        return Reservation(self)

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

    def queue(self, size: int) -> asyncio.Future[None]:
        """Stand in line for ``size`` bytes; they are reserved once the future is done. Cancel it to leave the line."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((size, waiter))
        return waiter

    def give_back(self, size: int) -> None:
        """Free ``size`` bytes for those who wait, first come, first served."""
        self.used -= size
        self.serve()

    def serve(self) -> None:
        """Let in those at the head of the line for whom there is room; whoever left the line is passed over."""
        while self._waiters:
            size, waiter = self._waiters[0]
            if not waiter.done():
                if self.used + size > self.limit:
                    return
                self.used += size
                waiter.set_result(None)
            self._waiters.popleft()


class Reservation:
    """What one call holds of the budget."""

    __slots__ = ("_budget", "held")

    def __init__(self, budget: ReplayBudget) -> None:
        self._budget: Final = budget
        #: Bytes reserved for this call.
        self.held = 0

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes more, now or not at all."""
        if not self._budget.take(size):
            return False
        self.held += size
        return True

    def can_ever_take(self, size: int) -> bool:
        """Whether waiting for ``size`` bytes more has any hope."""
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
        return self._budget.queue(size)

    def release(self, size: int | None = None) -> None:
        """Give back ``size`` bytes, as far as they are held; everything without a ``size``. May be repeated."""
        size = self.held if size is None else min(size, self.held)
        if size:
            self.held -= size
            self._budget.give_back(size)
