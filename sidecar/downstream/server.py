"""All connections of a port together: the cap, the sweeper, the drain (contract sections 3, 7 and 8)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiohttp.http import HttpRequestParser

from sidecar.core.standstill import Standstill
from sidecar.downstream.addresses import ListenError
from sidecar.downstream.connection import CallerConnection, ConnectionPhase, Handler
from sidecar.downstream.error_response import error_response
from sidecar.downstream.memory import ConnectionMemory
from sidecar.downstream.peer import peer_uid, uid_allowed
from sidecar.downstream.refusals import too_many_connections, wrong_user
from sidecar.patience import look_at_sockets
from sidecar.turns import Turns

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.core.errors import SidecarError
    from sidecar.downstream.limits import ConnectionLimits
    from sidecar.runtime import Tasks

#: Seconds between two looks at the deadlines; none is enforced early, and none later than by two of these.
TICK: Final = 0.5
#: Seconds for the last responses to leave when the server closes.
_GOODBYE: Final = 1.0

#: Logs and counts an error that no handler saw; returns the id that the log and the response share.
Report = Callable[["SidecarError"], str]


class ProxyServer:
    """The protocol factory of a port, for one listener or several; give it to :mod:`sidecar.downstream.listener`.

    ``busy`` connections have a request that is being answered, their caller
    being there or not. ``waiting`` ones have none, and give way to new ones at
    the cap, the oldest first.
    """

    def __init__(
        self, handler: Handler, *, limits: ConnectionLimits, clock: Clock, report: Report, most_refused: int = 64
    ) -> None:
        """``handler`` answers requests; what it raises but SidecarError is a bug of ours, and answered as such.

        ``most_refused`` connections may be open at once, above the cap, to get their response. Raises ListenError
        without aiohttp's C parser: the one in Python lets conflicting lengths pass.
        """
        if HttpRequestParser.__module__ != "aiohttp._http_parser":
            set_by = (
                "AIOHTTP_NO_EXTENSIONS is set" if os.environ.get("AIOHTTP_NO_EXTENSIONS") else "it was built without"
            )
            raise ListenError(
                "aiohttp",
                f"has no C extensions ({set_by}), and its parser in Python lets requests of two meanings pass",
                "unset AIOHTTP_NO_EXTENSIONS, or install it from a wheel (pip install --only-binary aiohttp aiohttp)",
            )
        self._most_refused: Final = most_refused
        self.handler = handler
        self.limits = limits
        #: What connections may hold together.
        self.memory = ConnectionMemory()
        #: From :meth:`begin_drain` on: a connection closes after its response.
        self.draining = False
        #: Turns of all connections to work through bytes that are many pieces.
        self.turns = Turns()
        #: Those that were admitted, oldest first.
        self.connections: Final[dict[CallerConnection, None]] = {}
        self.busy: Final[set[CallerConnection]] = set()
        self.waiting: Final[dict[CallerConnection, None]] = {}
        #: A moment up to two ticks ahead, of a clock that stands still when the process does: deadlines count from
        #: here, so that none comes early.
        self.next_deadline_base = clock.now() + TICK
        self._standstill: Final = Standstill(clock.now(), 2 * TICK)
        self._clock = clock
        self._report = report
        self._refused: dict[CallerConnection, None] = {}
        self._quiet: asyncio.Future[bool] | None = None
        self._drain_deadline = 0.0
        self._empty: asyncio.Future[None] | None = None

    def __call__(self) -> CallerConnection:
        """Make the protocol of a new TCP connection."""
        return CallerConnection(self)

    def unix_factory(self, allowed_uids: frozenset[int] | None) -> Callable[[], CallerConnection]:
        """Return the protocol factory for a Unix socket; ``allowed_uids`` may be None for everybody."""
        return lambda: CallerConnection(self, on_unix_socket=True, allowed_uids=allowed_uids)

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return len(self.connections) + len(self._refused)

    # --- for CallerConnection -----------------------------------------------------------------------------------------

    def admit(
        self, connection: CallerConnection, transport: asyncio.BaseTransport, allowed_uids: frozenset[int] | None
    ) -> SidecarError | None:
        """Make room for a connection; or return what to tell it instead."""
        refusal: SidecarError | None = None
        if allowed_uids is not None and not uid_allowed(peer_uid(transport.get_extra_info("socket")), allowed_uids):
            refusal = wrong_user()
        elif len(self.connections) >= self.limits.max_connections:
            oldest = self._oldest_waiting()
            if oldest is None:
                refusal = too_many_connections()
            else:
                del self.waiting[oldest], self.connections[oldest]
                oldest.abort()
        if refusal is not None:
            if len(self._refused) >= self._most_refused:
                oldest = next(iter(self._refused))
                del self._refused[oldest]  # at once: many may come before the loop tells that it is gone
                oldest.abort()
            self._refused[connection] = None
        else:
            self.connections[connection] = None
        return refusal

    def _oldest_waiting(self) -> CallerConnection | None:
        """Return the connection that gives way to a new one: an unproven caller's, if there is one."""
        for each in self.waiting:
            if not each.writer.proven:
                return each
        return next(iter(self.waiting), None)

    def forget(self, connection: CallerConnection) -> None:
        """Strike off a connection that is gone; its request may still run (see ``busy``)."""
        self.memory.release_head(connection)
        self.connections.pop(connection, None)
        self._refused.pop(connection, None)
        if self._empty is not None and not self._empty.done() and not self.open_connections:
            self._empty.set_result(None)

    def mark_busy(self, connection: CallerConnection) -> None:
        """Note that a connection has a request to answer."""
        self.busy.add(connection)
        self.waiting.pop(connection, None)

    def mark_idle(self, connection: CallerConnection, gives_way: bool) -> None:
        """Note that a connection has no request to answer, and whether it may be closed for another one."""
        self.busy.discard(connection)
        if gives_way and connection in self.connections:
            self.waiting[connection] = None  # in the place that it has, if it has one
        else:
            self.waiting.pop(connection, None)
        if self._quiet is not None:
            self._look_for_quiet()

    def refusal(self, error: SidecarError, request_id: str | None = None) -> bytes:
        """Return the response that tells ``error``, which closes the connection.

        It is logged and counted, unless it is about a request whose line has been written: that of ``request_id``.
        """
        response = error_response(error, request_id=request_id or self._report(error), wall=self._clock.wall())
        return response.head + response.body

    # --- deadlines ---------------------------------------------------------------------------------------------------

    def run(self, tasks: Tasks) -> None:
        """Start the sweeper, without which no deadline is enforced."""
        tasks.spawn(self._sweep(), name="proxy.sweeper")

    async def _sweep(self) -> None:
        while True:
            moment = self._clock.now()
            self._standstill.look(moment)
            now = moment - self._standstill.total
            self.next_deadline_base = now + TICK
            late = [connection for connection in self._all() if connection.is_late(now)]
            drain_is_over = self._quiet is not None and moment >= self._drain_deadline
            if late or drain_is_over:
                await look_at_sockets()
                for connection in late:
                    connection.sweep(now)
                if drain_is_over and self._quiet is not None and not self._quiet.done():
                    self._quiet.set_result(False)
            await self._clock.sleep_until(moment + TICK)

    # --- the end -----------------------------------------------------------------------------------------------------

    def begin_drain(self) -> None:
        """Close every connection after its next response from now on; go on accepting new ones.

        That response is up to the handler: a request that comes now gets 503.
        """
        self.draining = True

    async def drained(self, deadline: float) -> bool:
        """Close idle connections, and wait until no request is being answered; return whether none is.

        Until ``deadline`` (``Clock.now``). The sockets are looked at first: a request may lie there already, and to
        close upon it would reset the connection, without a word on whether it was sent.
        """
        await look_at_sockets()
        for connection in list(self.waiting):
            if connection.phase is ConnectionPhase.IDLE:
                connection.close_gracefully()
        self._drain_deadline = deadline
        self._quiet = asyncio.get_running_loop().create_future()
        self._look_for_quiet()
        try:
            return await self._quiet
        finally:
            self._quiet = None

    def _look_for_quiet(self) -> None:
        if self._quiet is not None and not self._quiet.done() and not self.busy:
            self._quiet.set_result(True)

    async def close(self) -> None:
        """End every connection. Requests that still run are cancelled and answered 502, or cut if that is too late.

        The listeners should be closed by then.
        """
        self.draining = True
        tasks = [connection.task for connection in self.busy if connection.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_GOODBYE)
        everyone = self._all()
        for connection in everyone:
            connection.close_gracefully()
        await self._emptied()
        for connection in self._all():
            connection.abort()
        await self._emptied()
        tasks = [each.task for each in everyone if each.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_GOODBYE)

    async def _emptied(self) -> None:
        if self.open_connections:
            self._empty = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._empty], timeout=_GOODBYE)

    def _all(self) -> list[CallerConnection]:
        return [*self.connections, *self._refused]
