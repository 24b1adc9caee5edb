"""Log lines on their way to a file descriptor: gathered, written together, and never in anybody's way.

Lines are written 100 ms after the first of them, or once there are 32 KiB, or
at once if one is urgent. A reader that is slow or gone must not hold up a
payment: the event loop never waits for the descriptor. At most 1 MiB is kept
for it; beyond that the oldest lines are dropped whole, and counted.

How it gets there without blocking is for :mod:`sidecar.telemetry.carriers`.

Who must not go on before its line is out (an outcome that is to be told) awaits
:meth:`LineWriter.confirm`, for a quarter of a second at most.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

from sidecar.telemetry.carriers import carrier_to
from sidecar.telemetry.line_backlog import LineBacklog

#: Seconds that a line may wait for others.
_INTERVAL: Final = 0.1
#: Bytes that are written without waiting for more.
_BATCH: Final = 32 * 1024
#: Seconds that :meth:`LineWriter.close` gives a slow reader.
_PATIENCE: Final = 1.0
#: Seconds that :meth:`LineWriter.confirm` waits: two further tries, and then nobody waits for this descriptor any more.
_CONFIRMATION: Final = 0.25


class LineWriter:
    """Writes lines to ``fd``; to nowhere if that is None. Its methods are called on one thread."""

    __slots__ = ("_carrier", "_confirmation", "_loop", "_retrying", "_stuck", "_timer", "backlog")

    def __init__(self, fd: int | None, *, confirmation: float | None = _CONFIRMATION) -> None:
        """``confirmation``: seconds that :meth:`confirm` waits at most; None: as long as it takes."""
        self._confirmation: Final = confirmation
        #: What has not been written, and how much had to be dropped.
        self.backlog: Final = LineBacklog()
        self._carrier: Final = carrier_to(fd, self.backlog)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: The descriptor did not take all of the last try: only the timer tries again.
        self._retrying = False
        #: Somebody has waited for a confirmation in vain, and none has come since.
        self._stuck = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gather lines from now on, and write them from ``loop``; before, each is written at once."""
        self._loop = loop

    def write(self, line: bytes, *, urgent: bool = False, tells_of: int = 0) -> None:
        """Take a line, its end included. Never raises for what the descriptor does; on a loop, never waits for it.

        ``tells_of``: see :meth:`LineBacklog.put`.
        """
        carrier = self._carrier
        if carrier is None:
            return
        self.backlog.put(line, tells_of)
        if self._loop is None:
            carrier.finish(_PATIENCE)
        elif (urgent or self.backlog.size >= _BATCH) and not self._retrying:
            self.flush()
        elif self._timer is None:
            self._schedule()

    def flush(self) -> None:
        """Write what the descriptor takes without waiting; the rest is tried again later."""
        self._cancel_timer()
        self._retrying = self._carrier is not None and self._carrier.push()
        if self._retrying:
            self._schedule()

    async def confirm(self) -> None:
        """Return once each line that was written so far has been handed to the system, or is lost.

        A descriptor that is not read costs a quarter of a second once, and nothing from then on until it takes lines
        again.
        """
        loop, carrier = self._loop, self._carrier
        if loop is None or carrier is None:
            return
        if not self._retrying:
            self.flush()
        if self._stuck:
            return
        confirmed = loop.create_future()
        carrier.when_written(partial(self._tell, loop, confirmed))
        done, _ = await asyncio.wait((confirmed,), timeout=self._confirmation)
        if not done:
            self._stuck = True

    def _tell(self, loop: asyncio.AbstractEventLoop, confirmed: asyncio.Future[None]) -> None:
        """Note a confirmation; any thread may call this."""
        with suppress(RuntimeError):  # the loop has ended: so has whoever waited on it
            loop.call_soon_threadsafe(self._confirmed, confirmed)

    def _confirmed(self, confirmed: asyncio.Future[None]) -> None:
        self._stuck = False
        if not confirmed.done():
            confirmed.set_result(None)

    def close(self) -> None:
        """Write what is left, within a second or so, and write each further line at once."""
        self._cancel_timer()
        self._loop = None
        if self._carrier is not None:
            self._carrier.finish(_PATIENCE, end=True)

    def _schedule(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._timer = self._loop.call_later(_INTERVAL, self.flush)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
