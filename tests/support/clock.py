"""A clock that tests move by hand, and one that goes faster than time."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from sidecar.runtime import SystemClock


class FakeClock:
    """Time stands still until :meth:`advance`; sleepers wake one after another, in order."""

    def __init__(self, now: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._now = now
        self._offset = wall - now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + self._offset

    def step_wall(self, seconds: float) -> None:
        """Change the wall clock alone, as an administrator or NTP does."""
        self._offset += seconds

    async def sleep_until(self, deadline: float) -> None:
        if deadline <= self._now:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (deadline, next(self._order), waiter))
        await waiter

    async def settle(self, rounds: int = 30) -> None:
        """Let every task run until it waits again."""
        for _ in range(rounds):
            await asyncio.sleep(0)

    def stand_still(self, seconds: float) -> None:
        """Let time go on while nobody can look, as while the process is stopped; then all that is due wakes at once."""
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, waiter = heapq.heappop(self._sleepers)
            if not waiter.done():
                waiter.set_result(None)

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking each sleeper at its own moment."""
        await self.settle()
        end = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            deadline, _, waiter = heapq.heappop(self._sleepers)
            self._now = max(self._now, deadline)
            if not waiter.done():
                waiter.set_result(None)
            await self.settle()
        self._now = end
        await self.settle()


class FastClock(SystemClock):
    """A clock that goes ``speed`` times as fast as the machine's."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._start = super().now()

    def now(self) -> float:
        return self._start + (super().now() - self._start) * self._speed

    async def sleep_until(self, deadline: float) -> None:
        while (left := deadline - self.now()) > 0:
            await asyncio.sleep(left / self._speed)
