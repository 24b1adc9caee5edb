"""Calls that block, and may never come back: name resolution, and file systems whose server is gone.

They run in daemon threads, a few for each purpose. The event loop's default
executor is used for nothing: it is shared by all purposes, so that a few calls
that hang would hold up all others, and the end of the process waits for it.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")


class NoThreadError(Exception):
    """A call cannot be made: all threads of its purpose still wait for earlier calls, or the system has none left."""


class DaemonThreads:
    """Runs calls for one purpose, each in a thread that nobody has to wait for."""

    def __init__(self, name: str, most: int) -> None:
        """``name`` is that of the threads; ``most`` of them run at the same time."""
        self._name: Final = name
        self._free: Final = threading.BoundedSemaphore(most)

    async def run(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns; if the caller is cancelled, the call goes on by itself.

        Raises NoThreadError, without calling.
        """
        return await self.start(call)

    def start(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Begin ``call``; the future has its outcome. Raises NoThreadError, without calling."""
        if not self._free.acquire(blocking=False):
            raise NoThreadError("earlier calls have not come back")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                settle = partial(_set_result, outcome, call())
            except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
                settle = partial(_set_exception, outcome, error)
            finally:
                self._free.release()
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle)

        try:
            threading.Thread(target=work, name=self._name, daemon=True).start()
        except RuntimeError:
            self._free.release()
            raise NoThreadError("the system has no thread left") from None
        return outcome


def _set_result(outcome: asyncio.Future[T], result: T) -> None:
    if not outcome.done():
        outcome.set_result(result)


def _set_exception(outcome: asyncio.Future[T], error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)
        outcome.exception()  # whoever began the call may be gone: then nobody needs to know
