"""From the first connection to the last response: signals, readiness and the drain (contract section 8).

::

    STARTING ──started──► SERVING ──SIGTERM──► DELAYING ──shutdown.delay──► DRAINING ──idle or──► STOPPED
        │                    └──────SIGINT───────────────────────────────────►│  shutdown.drain      ▲
        └──any signal──────────────────────────────────────────────────────────────────────────────►│
                                              a second signal, at any time ─────────────────────────►│

``/readyz`` says 503 in every phase but SERVING. New requests are served until
DRAINING; from then on they are answered 503 ``shutting_down``.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from sidecar.runtime import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from sidecar.core.clock import Clock

#: Exit statuses of ``run`` (contract section 2).
EXIT_DRAINED: Final = 0
EXIT_FAILED: Final = 1
EXIT_BAD_CONFIG: Final = 2

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_log = structlog.get_logger()


class StartError(Exception):
    """The sidecar cannot start or go on; ``str()`` is one line: what is wrong, where, the mend."""

    def __init__(self, message: str, status: int = EXIT_FAILED) -> None:
        super().__init__(message)
        #: The exit status of ``run``.
        self.status: Final = status


class Phase(Enum):
    """Where in its life the process is."""

    STARTING = "starting"
    SERVING = "serving"
    DELAYING = "delaying"
    DRAINING = "draining"
    STOPPED = "stopped"


class Drainable(Protocol):
    """What the life cycle asks of the proxy port."""

    def begin_drain(self) -> None:
        """Answer new requests 503 ``shutting_down`` from now on."""
        ...

    async def drained(self, deadline: float) -> bool:
        """Return True once no call is in flight, or False at ``deadline`` (``Clock.now``)."""
        ...


class Lifecycle:
    """The phase of the process, moved on by signals and by time."""

    def __init__(self, clock: Clock, *, delay: float, drain: float, leave: Callable[[int], None] | None = None) -> None:
        """``delay`` and ``drain`` are seconds (``shutdown.delay``, ``shutdown.drain``).

        ``leave`` is told the exit status once nothing is waited for any more: what remains is to close, and a process
        that cannot even do that is to be ended.
        """
        self._clock = clock
        self._delay = delay
        self._drain = drain
        self._leave = leave
        self._phase = Phase.STARTING
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self._phase

    @property
    def forced(self) -> bool:
        """Whether a second signal asked to exit at once: waiting is over."""
        return self._forced.is_set()

    def started(self) -> None:
        """All listeners are bound. Changes nothing if a signal came first."""
        if self._phase is Phase.STARTING:
            self._phase = Phase.SERVING

    def receive(self, number: signal.Signals) -> None:
        """Take a signal that ends the process: the first one starts the shutdown, a second one ends it at once.

        Besides SIGTERM and SIGINT these are SIGHUP of a terminal that was closed, and SIGCHLD under ``wrap``.
        """
        if self._stopping.is_set():
            self._phase = Phase.STOPPED
            if not self._forced.is_set():
                _log.warning("shutdown.forced", signal=number.name)
            self._forced.set()
            self._tell_to_leave(EXIT_FAILED)
            return
        delay = 0.0 if number is signal.SIGINT else self._delay
        if self._phase is Phase.STARTING:
            self._phase = Phase.STOPPED
            self._tell_to_leave(EXIT_DRAINED)  # starting may hang, on a host name to listen on
        else:
            self._phase = Phase.DELAYING if delay > 0 else Phase.DRAINING
        _log.info("shutdown.started", signal=number.name, delay_s=delay, drain_s=self._drain)
        self._stopping.set()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Have the running loop hand SIGTERM and SIGINT to :meth:`receive`.

        After the second signal the system's own handling is back, so that a
        third one ends a process whose loop hangs.
        """
        loop = asyncio.get_running_loop()

        def receive(number: signal.Signals) -> None:
            self.receive(number)
            if self.forced:
                self._restore(loop)

        for number in _SIGNALS:
            loop.add_signal_handler(number, receive, number)
        try:
            yield
        finally:
            self._restore(loop)

    @staticmethod
    def _restore(loop: asyncio.AbstractEventLoop) -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    async def run(self, server: Drainable) -> int:
        """Wait for a signal, then let the calls of ``server`` finish; return the exit status.

        0 after a drain, even if its time ran out with calls left, which are then
        to be cut short; 1 after a second signal, without waiting.
        """
        await self._stopping.wait()
        tasks = Tasks()
        try:
            if self._phase is Phase.DELAYING:
                await self._unless_forced(tasks, self._clock.sleep_until(self._clock.now() + self._delay))
            if self._phase is not Phase.STOPPED:
                self._phase = Phase.DRAINING
                await self._unless_forced(tasks, self._let_finish(server))
        finally:
            await tasks.close()
        self._phase = Phase.STOPPED
        status = EXIT_FAILED if self.forced else EXIT_DRAINED
        self._tell_to_leave(status)
        return status

    def _tell_to_leave(self, status: int) -> None:
        if self._leave is not None:
            self._leave(status)

    async def _let_finish(self, server: Drainable) -> None:
        server.begin_drain()
        complete = await server.drained(self._clock.now() + self._drain)
        _log.info("shutdown.drained", complete=complete)

    async def _unless_forced(self, tasks: Tasks, wait: Coroutine[Any, Any, None]) -> None:
        """Return when ``wait`` has, or at the second signal."""
        waits = (wait, _wait_for(self._forced))
        await asyncio.wait(
            [tasks.spawn(each, name="shutdown.wait") for each in waits], return_when=asyncio.FIRST_COMPLETED
        )


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()
