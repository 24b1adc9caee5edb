"""Something asynchronous for a test that is not: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

T = TypeVar("T")

#: Seconds until something that should have started or stopped has failed to.
_PATIENCE = 30.0


class Background:
    """Runs coroutines, and holds async context managers open until the end. A context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="background loop", daemon=True)
        self._held: list[tuple[asyncio.Event, Future[None]]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._held:
                self.leave()
            assert self.run(_others()) == []
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_PATIENCE)
            self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` to its end over there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE)

    def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter ``manager``; it is left at the end, or by :meth:`leave`."""
        entered: Future[T] = Future()
        event = self.run(_event())
        self._held.append((event, asyncio.run_coroutine_threadsafe(_hold(manager, entered, event), self._loop)))
        return entered.result(_PATIENCE)

    def leave(self) -> None:
        """Leave what was entered last."""
        event, done = self._held.pop()
        self._loop.call_soon_threadsafe(event.set)
        done.result(_PATIENCE)


async def _event() -> asyncio.Event:
    return asyncio.Event()


async def _others() -> list[str]:
    mine = asyncio.current_task()
    return [task.get_name() for task in asyncio.all_tasks() if task is not mine]


async def _hold(manager: AbstractAsyncContextManager[T], entered: Future[T], leave: asyncio.Event) -> None:
    """Enter and leave in one task, as some context managers need it."""
    try:
        async with manager as value:
            entered.set_result(value)
            await leave.wait()
    except BaseException as error:
        if entered.done():
            raise
        entered.set_exception(error)
