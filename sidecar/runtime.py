"""The real clock, and tasks that cannot be lost."""

from __future__ import annotations

import asyncio
import resource
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Coroutine

_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_log = structlog.get_logger()


class SystemClock:
    """The machine's clock. On Linux :attr:`now` also counts the time that the machine slept."""

    # Both are asked several times a call: without a Python frame around the system call.
    #: Seconds since boot, suspend included where the system can tell (Linux).
    now = staticmethod(partial(time.clock_gettime, _CLOCK))
    #: Seconds since the Unix epoch.
    wall = staticmethod(time.time)

    async def sleep_until(self, deadline: float) -> None:
        """Return once :attr:`now` has reached ``deadline``.

        The event loop's own clock stands still during suspend, so this may wake
        late after one; whoever decides by time reads :attr:`now` again.
        """
        while (left := deadline - self.now()) > 0:  # noqa: ASYNC110 - time is no event
            await asyncio.sleep(left)


class Tasks:
    """The background tasks of one owner: each is kept alive, awaited at the end, and its failure logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start ``coroutine`` as a task; an exception that escapes it is logged as ``task.failed``."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task.failed", task=task.get_name(), error=type(error).__name__)

    def __len__(self) -> int:
        return len(self._tasks)

    async def close(self) -> None:
        """Cancel what still runs and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def allow_descriptors(wanted: int) -> int:
    """Raise the limit of open descriptors to ``wanted`` if it is lower and the system lets us; return what it is now.

    Only the soft limit is raised, up to the hard one (getrlimit(2)). Without a
    descriptor left, a connection cannot even be accepted to be told so.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):  # macOS has a maximum below an infinite hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
