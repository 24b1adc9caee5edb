"""Calls that block, and may never come back: those to a file system whose server is gone.

They run in threads of their own. The event loop's default executor also resolves
host names: a few calls that hang there would hold up every call to Mangopay. And
the end of the process waits for its threads, but not for these.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeVar

from sidecar.tokens.stores.backend import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

#: At the same time. Both credentials' operations and lease renewals need fewer.
MOST: Final = 8


class Detached:
    """Runs calls in threads that nobody has to wait for."""

    def __init__(self) -> None:
        self._free: Final = threading.BoundedSemaphore(MOST)

    async def run(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns; if the caller is cancelled it goes on by itself.

        Raises StoreError, without calling, if :data:`MOST` have not come back yet.
        """
        if not self._free.acquire(blocking=False):
            raise StoreError("does not come back from what it was asked before")
        outcome: Future[T] = Future()
        outcome.set_running_or_notify_cancel()  # so that a caller who is cancelled leaves it as it is

        def work() -> None:
            try:
                outcome.set_result(call())
            except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
                outcome.set_exception(error)
            finally:
                self._free.release()

        try:
            threading.Thread(target=work, name="store", daemon=True).start()
        except RuntimeError:
            self._free.release()
            raise StoreError("cannot be asked: there is no thread left") from None
        return await asyncio.wrap_future(outcome)
