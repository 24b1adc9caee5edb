"""One caller's connection, from its first byte to its last (contract sections 3, 4.5, 4.6 and 7).

It is always in one phase, and each phase has a deadline::

    FRESH ──bytes──► HEAD ──whole head──► BUSY ──answered──► IDLE ──bytes──► HEAD
      │                │                   │                  │
      └─late: close    └─late: 408         ├─last: CLOSING    └─late: close
                                           └─unread: LINGERING

Deadlines are attributes that the server's sweeper looks at: no timer is set for
a request or for a piece of a body. The loop over requests is our own. aiohttp's
starts a task for each, answers errors as HTTP/1.0 with the request's bytes in
them, and logs a traceback for every caller that leaves.
"""

from __future__ import annotations

import asyncio
import math
from enum import Enum
from typing import TYPE_CHECKING, Final

from aiohttp.base_protocol import BaseProtocol

from sidecar.core.errors import SidecarError
from sidecar.proxy.outflow import CallerGoneError, Outflow
from sidecar.proxy.refusals import failed, out_of_budget, stopped, too_slow

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.proxy.intake import CallerRequest
    from sidecar.proxy.server import ProxyServer

#: Seconds that a caller has to take an early answer while what it still sends is thrown away (RFC 9112 section 9.6).
LINGER: Final = 2.0


class Phase(Enum):
    """Where in its life a connection is; ``gives_way``: it has no complete head, so at the cap it may be closed."""

    FRESH = "no byte has come yet", True
    HEAD = "a part of a request head has come", True
    BUSY = "a request is being answered", False
    IDLE = "between two requests", True
    REFUSED = "not admitted: its first bytes get the refusal", False
    LINGERING = "answered for the last time; what still comes is thrown away", True
    CLOSING = "closed from here; unsent bytes may be left", False

    def __init__(self, meaning: str, gives_way: bool) -> None:
        self.meaning = meaning
        self.gives_way = gives_way


class ProxyConnection(Outflow):
    """The protocol of one accepted connection; :class:`~sidecar.proxy.server.ProxyServer` makes them."""

    __slots__ = (
        "_allowed_uids",
        "_budget_wait",
        "_refusal",
        "body_deadline",
        "deadline",
        "on_caller_gone",
        "phase",
        "task",
    )

    def __init__(
        self, server: ProxyServer, *, on_unix_socket: bool = False, allowed_uids: frozenset[int] | None = None
    ) -> None:
        super().__init__(server, on_unix_socket=on_unix_socket)
        self._allowed_uids: Final = allowed_uids
        self.phase = Phase.FRESH
        #: When the phase is over (``Clock.now``).
        self.deadline = math.inf
        #: Called once if the caller leaves while its request is being answered. Set and unset by the handler.
        self.on_caller_gone: Callable[[], None] | None = None
        #: The task that answers this connection's requests.
        self.task: asyncio.Task[None] | None = None
        #: When the present pause within the request's body is too long (``Clock.now``).
        self.body_deadline = math.inf
        self._budget_wait: asyncio.Future[None] | None = None
        self._refusal: SidecarError | None = None

    # --- coming and going --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or have it told why not."""
        self._refusal = self._server.admit(self, transport, self._allowed_uids)
        if self._refusal is not None:
            BaseProtocol.connection_made(self, transport)
            self._stop_reading()
            self._enter(Phase.REFUSED, LINGER)
            return
        super().connection_made(transport)
        self._enter(Phase.FRESH, self._server.limits.header_timeout)
        self.task = self._task_handler

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell everybody who waits for this caller; nothing is logged."""
        self._requests.clear()
        if self.request is not None:
            gone = CallerGoneError()
            if not self.request.content.is_eof():
                self.request.content.set_exception(gone)
            if self._budget_wait is not None and not self._budget_wait.done():
                self._budget_wait.set_exception(gone)
        else:
            self._enter(Phase.CLOSING, math.inf)
        super().connection_lost(exc)
        if (hook := self.on_caller_gone) is not None:
            self.on_caller_gone = None
            hook()

    def close_idle(self) -> None:
        """Close the connection if it is between two requests."""
        if self.phase is Phase.IDLE:
            self.leave()

    def abort(self) -> None:
        """Close the connection at once, whatever is unsent."""
        if self.transport is not None:
            self.transport.abort()

    def leave(self) -> None:
        """Close the connection as soon as what is unsent has left."""
        self._stop_reading()
        # A caller that does not take what is left has as long as one that stops reading in the middle.
        self._enter(Phase.CLOSING, self._server.limits.body_timeout)
        if self.transport is not None:
            self.transport.close()

    def _linger(self) -> None:
        """Close, but let the caller read its answer first: to close with bytes unread would reset the connection."""
        transport = self.transport
        if transport is None:
            return
        self._stop_reading()
        self._requests.clear()
        self._ignored = 0
        self._enter(Phase.LINGERING, LINGER)
        self._buffer_paused = self._reading_paused = False
        self._resume_transport_reading()
        transport.write_eof()

    def _enter(self, phase: Phase, seconds: float) -> None:
        """Enter any phase but BUSY."""
        self.phase = phase
        self.deadline = self._server.soon + seconds
        self._server.rests(self, gives_way=phase.gives_way)

    # --- what the reading half asks for ------------------------------------------------------------------------------

    def _request_came(self) -> None:
        if self.phase is not Phase.BUSY:
            self.phase = Phase.BUSY
            self.deadline = math.inf
            self._server.works(self)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _head_came(self) -> None:
        if self.phase is Phase.FRESH or self.phase is Phase.IDLE:
            self._enter(Phase.HEAD, self._server.limits.header_timeout)

    def _refuse(self, error: SidecarError) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(self._server.refusal(error))
            self._linger()

    def _ignore(self, size: int) -> None:
        if self.phase is Phase.REFUSED:
            assert self._refusal is not None  # noqa: S101 - that is what the phase means
            self._refuse(self._refusal)
        elif self.phase is Phase.LINGERING:
            self._ignored += size
            if self._ignored > self._server.limits.max_body:
                self.abort()
        else:
            super()._ignore(size)

    # --- answering ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Answer the connection's requests, one after another, as long as it lives."""
        try:
            while True:
                if not self._requests:
                    self._waiter = self._loop.create_future()
                    await self._waiter  # connection_lost() cancels it
                    self._waiter = None
                if self.transport is None:
                    return  # the caller left before anybody looked at its request
                request = self._next_request()
                self.answered = self.answer_open = self._continued = False
                keep_alive = await self._answer(request)
                self.on_caller_gone = self.request = None
                if not self._settle(request, keep_alive=keep_alive):
                    return
        finally:
            self.on_caller_gone = self.request = None
            self._server.rests(self, gives_way=self.phase.gives_way)

    async def _answer(self, request: CallerRequest) -> bool:
        """Have the request answered; return whether the connection may stay open."""
        server = self._server
        try:
            answer = await server.handler(request)
            answer.write_to(self)
            if self._paused:
                await self.drain()
        except CallerGoneError:
            return False
        except SidecarError as error:
            self._last_words(error)
        except asyncio.CancelledError:
            self._last_words(stopped())
            raise
        except Exception as error:  # noqa: BLE001 - the edge of the connection's task
            server.log_failure(error)
            self._last_words(failed())
        else:
            if not self.answer_open:
                return answer.keep_alive
            self.cut()
        return False

    def _last_words(self, error: SidecarError) -> None:
        if self.answered:
            self.cut()
        elif self.transport is not None and not self.transport.is_closing():
            self.transport.write(self._server.refusal(error))

    def _settle(self, request: CallerRequest, *, keep_alive: bool) -> bool:
        """Go on to the next request, or end the connection; return whether there is a next one."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        if keep_alive and request.content.is_eof():
            if self._requests:
                return True
            if self._failure is not None:
                self._refuse(self._failure)
                return False
            server = self._server
            if not self._sealed and not server.draining:
                if self._heads.pending:
                    self._enter(Phase.HEAD, server.limits.header_timeout)
                else:
                    self._enter(Phase.IDLE, server.limits.keepalive_timeout)
                return True
        unread = self._requests or self._heads.pending or self._ignored or self._failure is not None
        if unread or not request.content.is_eof():
            self._linger()
        else:
            self.leave()
        return False

    @property
    def last_request(self) -> bool:
        """Whether the connection ends after the current request, whatever its answer says."""
        return self._server.draining or (self._sealed and not self._requests)

    # --- deadlines ---------------------------------------------------------------------------------------------------

    def wait_for_body(self, budget_wait: asyncio.Future[None] | None = None) -> None:
        """Give the caller ``listen.body_timeout`` from now.

        When it is over, reading the body fails with ``request_timeout``; or
        ``budget_wait`` fails with ``overloaded``, if that is what is waited for.
        """
        self._budget_wait = budget_wait
        self.body_deadline = self._server.soon + self._server.limits.body_timeout

    def waited(self) -> None:
        """End what :meth:`wait_for_body` began."""
        self._budget_wait = None
        self.body_deadline = math.inf

    def sweep(self, now: float) -> None:
        """Act on the deadlines that have passed by ``now`` (``Clock.now``)."""
        if now >= self.deadline:
            self._overdue()
        elif self.phase is Phase.BUSY:
            if now >= self.body_deadline:
                self._body_overdue()
            if now >= self._write_deadline:
                self._reader_overdue()

    def _overdue(self) -> None:
        if self.phase is Phase.HEAD:
            self._refuse(too_slow("head"))
        elif self.phase is Phase.FRESH or self.phase is Phase.IDLE:
            self.leave()
        else:
            self.abort()

    def _body_overdue(self) -> None:
        self.body_deadline = math.inf
        if self._budget_wait is not None:
            if not self._budget_wait.done():
                self._budget_wait.set_exception(out_of_budget())
        elif self.request is not None and not self.request.content.is_eof():
            self._stop_reading()
            self.request.content.set_exception(too_slow("body"))
