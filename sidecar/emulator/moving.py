"""A clock that can be put forward: hours, days and months pass at a request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sidecar.core.clock import Clock


class MovableClock:
    """``clock``, and how far it was put forward in seconds; whoever sleeps on it wakes when it moves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moved = asyncio.Event()
        self._resets = 0
        self.ahead = 0.0

    def now(self) -> float:
        """Seconds on a monotonic clock."""
        return self._clock.now() + self.ahead

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        return self._clock.wall() + self.ahead

    def advance(self, seconds: float) -> None:
        """Put the clock forward; raises ValueError for a step back."""
        if not 0 <= seconds < _LONGEST_STEP:
            raise ValueError("advance must be a number of seconds, from 0 to ten years")
        self.ahead += seconds
        self._wake()

    def reset(self) -> None:
        """Put the clock back to the one it is made of; whoever sleeps until a time that no longer counts wakes."""
        self.ahead = 0.0
        self._resets += 1
        self._wake()

    async def sleep_until(self, deadline: float) -> None:
        """Return once :meth:`now` has reached ``deadline`` (seconds), or the clock was put back."""
        resets = self._resets
        while self.now() < deadline and self._resets == resets:
            await first(self._clock.sleep_until(deadline - self.ahead), self._moved.wait())

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


#: In seconds; far enough for every period that Mangopay has, and within every date format.
_LONGEST_STEP = 10 * 366 * 24 * 3600.0


async def first(*awaitables: Awaitable[object]) -> int:
    """Wait until one is done, cancel the others, and return its place; raises what that one raised."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    done = next(place for place, task in enumerate(tasks) if not task.cancelled())
    tasks[done].result()
    return done
