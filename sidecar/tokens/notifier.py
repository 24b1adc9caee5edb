"""Waiting for a change, each waiter until its own deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.runtime import Tasks


class Notifier:
    """Wakes everybody who waits; each waiter then looks whether the change was the one it waits for.

    A waiter costs one future, and all of them together one task that watches the
    clock. A waiter that is cancelled leaves nothing behind.
    """

    def __init__(self, clock: Clock, tasks: Tasks, *, name: str) -> None:
        self._clock: Final = clock
        self._tasks: Final = tasks
        self._name: Final = name
        self._deadlines: Final[dict[asyncio.Future[None], float]] = {}
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = float("inf")

    def __len__(self) -> int:
        return len(self._deadlines)

    async def wait(self, deadline: float | None) -> None:
        """Return at the next :meth:`notify_all`, or once ``deadline`` (``Clock.now``) has passed, unless it is None."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deadlines[waiter] = float("inf") if deadline is None else deadline
        if deadline is not None and deadline < self._timer_at:
            self._watch(deadline)
        try:
            await waiter
        finally:
            self._deadlines.pop(waiter, None)
            if not self._deadlines:
                self._unwatch()

    def notify_all(self) -> None:
        """Wake everybody."""
        waiters = list(self._deadlines)
        self._deadlines.clear()
        self._unwatch()
        for waiter in waiters:
            _wake(waiter)

    def _watch(self, deadline: float) -> None:
        self._unwatch()
        self._timer_at = deadline
        self._timer = self._tasks.spawn(self._expire(deadline), name=self._name)

    def _unwatch(self) -> None:
        timer, self._timer, self._timer_at = self._timer, None, float("inf")
        if timer is not None:
            timer.cancel()

    async def _expire(self, deadline: float) -> None:
        while deadline < float("inf"):
            await self._clock.sleep_until(deadline)
            now = self._clock.now()
            for waiter in [waiter for waiter, at in self._deadlines.items() if at <= now]:
                del self._deadlines[waiter]
                _wake(waiter)
            self._timer_at = deadline = min(self._deadlines.values(), default=float("inf"))
        self._timer = None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
