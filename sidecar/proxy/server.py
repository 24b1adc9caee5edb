"""All connections of a port together: the cap, the sweeper, the drain (contract sections 3, 7 and 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp.http import HttpRequestParser
from aiohttp.web_server import Server

from sidecar.proxy.connection import ProxyConnection
from sidecar.proxy.error_answer import error_response
from sidecar.proxy.intake import CallerRequest
from sidecar.proxy.peer import peer_uid, uid_allowed
from sidecar.proxy.raw_response import Answer
from sidecar.proxy.refusals import too_many_connections, wrong_user
from sidecar.telemetry.line_format import place

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

    from sidecar.core.clock import Clock
    from sidecar.core.errors import SidecarError
    from sidecar.runtime import Tasks

#: Seconds between two looks at the deadlines; none is enforced early, and none later than by two of these.
TICK: Final = 0.5
#: Refused connections that may be open at once, above the cap, to get their answer.
_MOST_REFUSED: Final = 64
#: Seconds for the last answers to leave when the server closes.
_GOODBYE: Final = 1.0

Handler = Callable[[CallerRequest], Awaitable[Answer]]
#: Logs and counts an error that no handler saw; returns the id that the log and the answer share.
Report = Callable[["SidecarError"], str]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one port allows its callers; the section ``listen`` of the configuration. Seconds and bytes."""

    header_timeout: float
    body_timeout: float
    keepalive_timeout: float
    max_connections: int
    max_body: int


class ProxyServer(Server):
    """The protocol factory of a port, for one listener or several; give it to :mod:`sidecar.proxy.listener`.

    ``busy`` connections have a request that is being answered, their caller
    being there or not. ``waiting`` ones have none, and give way to new ones at
    the cap, the oldest first.
    """

    def __init__(self, handler: Handler, *, limits: ConnectionLimits, clock: Clock, report: Report) -> None:
        """``handler`` answers requests; what it raises but SidecarError is a bug of ours, and answered as such.

        Raises RuntimeError without aiohttp's C parser: the one in Python lets conflicting lengths pass.
        """
        if HttpRequestParser.__module__ != "aiohttp._http_parser":
            raise RuntimeError(
                "aiohttp's C extensions are missing: unset AIOHTTP_NO_EXTENSIONS, or install a wheel of aiohttp"
            )
        super().__init__(handler)  # type: ignore[arg-type]  # the loop over requests is ProxyConnection's own
        self.loop: Final = self._loop
        self.handler: Final = handler
        self.limits: Final = limits
        #: From :meth:`begin_drain` on: a connection closes after its answer.
        self.draining = False
        self.busy: Final[set[ProxyConnection]] = set()
        self.waiting: Final[dict[ProxyConnection, None]] = {}
        #: A moment (``Clock.now``) up to two ticks ahead: deadlines count from here, so that none comes early.
        self.soon = clock.now() + TICK
        self._clock = clock
        self._report = report
        self._refused: dict[ProxyConnection, None] = {}
        self._quiet: asyncio.Future[bool] | None = None
        self._drain_deadline = 0.0
        self._empty: asyncio.Future[None] | None = None

    def __call__(self) -> RequestHandler:
        """Make the protocol of a new TCP connection."""
        return ProxyConnection(self)

    def unix_factory(self, allowed_uids: frozenset[int] | None) -> Callable[[], ProxyConnection]:
        """Return the protocol factory for a Unix socket; ``allowed_uids`` may be None for everybody."""
        return lambda: ProxyConnection(self, on_unix_socket=True, allowed_uids=allowed_uids)

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return len(self._connections) + len(self._refused)

    # --- for ProxyConnection -----------------------------------------------------------------------------------------

    def admit(
        self, connection: ProxyConnection, transport: asyncio.BaseTransport, allowed_uids: frozenset[int] | None
    ) -> SidecarError | None:
        """Make room for a connection; or return what to tell it instead."""
        refusal: SidecarError | None = None
        if allowed_uids is not None and not uid_allowed(peer_uid(transport.get_extra_info("socket")), allowed_uids):
            refusal = wrong_user()
        elif len(self._connections) >= self.limits.max_connections:
            oldest = next(iter(self.waiting), None)
            if oldest is None:
                refusal = too_many_connections()
            else:
                del self.waiting[oldest], self._connections[oldest]
                oldest.abort()
        if refusal is not None:
            if len(self._refused) >= _MOST_REFUSED:
                next(iter(self._refused)).abort()
            self._refused[connection] = None
        return refusal

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection; its request may still run (see ``busy``)."""
        self._connections.pop(handler, None)
        if isinstance(handler, ProxyConnection):
            self._refused.pop(handler, None)
        if self._empty is not None and not self._empty.done() and not self.open_connections:
            self._empty.set_result(None)

    def works(self, connection: ProxyConnection) -> None:
        """Note that a connection has a request to answer."""
        self.busy.add(connection)
        self.waiting.pop(connection, None)

    def rests(self, connection: ProxyConnection, *, gives_way: bool) -> None:
        """Note that a connection has no request to answer, and whether it may be closed for another one."""
        self.busy.discard(connection)
        if gives_way and connection in self._connections:
            self.waiting.setdefault(connection)
        else:
            self.waiting.pop(connection, None)
        if self._quiet is not None:
            self._look_for_quiet()

    def refusal(self, error: SidecarError) -> bytes:
        """Log and count ``error`` and return its answer, which closes the connection."""
        answer = error_response(error, request_id=self._report(error), wall=self._clock.wall())
        return answer.head + answer.body

    def log_failure(self, error: Exception) -> None:
        """Log an exception that should not have reached us: its class and place, not its words."""
        _log.error("request.failed", error=type(error).__name__, where=place(error))

    # --- deadlines ---------------------------------------------------------------------------------------------------

    def run(self, tasks: Tasks) -> None:
        """Start the sweeper, without which no deadline is enforced."""
        tasks.spawn(self._sweep(), name="proxy.sweeper")

    async def _sweep(self) -> None:
        while True:
            now = self._clock.now()
            self.soon = now + TICK
            for connection in (*self._connections, *self._refused):
                connection.sweep(now)  # type: ignore[attr-defined]  # every one is a ProxyConnection
            if self._quiet is not None and not self._quiet.done() and now >= self._drain_deadline:
                self._quiet.set_result(False)
            await self._clock.sleep_until(now + TICK)

    # --- the end -----------------------------------------------------------------------------------------------------

    def begin_drain(self) -> None:
        """Close idle connections now and every other one after its next answer; go on accepting new ones.

        That answer is up to the handler: a request that comes now gets 503.
        """
        self.draining = True
        for connection in list(self.waiting):
            connection.close_idle()

    async def drained(self, deadline: float) -> bool:
        """Wait until no request is being answered, or until ``deadline`` (``Clock.now``); return whether none is."""
        self._drain_deadline = deadline
        self._quiet = self.loop.create_future()
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
        everyone = [*self._all()]
        for connection in everyone:
            connection.leave()
        await self._emptied()
        for connection in self._all():
            connection.abort()
        await self._emptied()
        tasks = [each.task for each in everyone if each.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_GOODBYE)

    async def shutdown(self, timeout: float | None = None) -> None:
        """Do what :meth:`close` does, under the name that aiohttp's own runners call."""
        await self.close()

    async def _emptied(self) -> None:
        if self.open_connections:
            self._empty = self.loop.create_future()
            await asyncio.wait([self._empty], timeout=_GOODBYE)

    def _all(self) -> list[ProxyConnection]:
        connections: list[Any] = [*self._connections, *self._refused]
        return connections
