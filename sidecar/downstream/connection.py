"""One caller's connection, from its first byte to its last (contract sections 3, 4.5, 4.6 and 7).

It has a :class:`~sidecar.downstream.request_reader.RequestReader`, which makes
requests of bytes, and a :class:`~sidecar.downstream.response_writer.ResponseWriter`,
which takes the responses. What is left to do here is to know in which phase the
connection is, to have its requests answered one after another, and to end it.

**Phases**::

    FRESH ─┬──────────► BUSY ──answered──┬─ another request has come ───► BUSY
    IDLE ──┤             ▲               ├─ a part of a head has come ──► HEAD
           └─► HEAD ─────┘               ├─ nothing has come ───────────► IDLE
                │                        ├─ the last; all was read ─────► CLOSING
                │                        └─ the last; bytes are unread ─► LINGERING
                └─ late, or no request ─────────────────────────────────► LINGERING
    REFUSED ────── first bytes ─────────────────────────────────────────► LINGERING

A connection is REFUSED rather than FRESH if it was not admitted: beyond the cap,
or a user that may not use the Unix socket. It gets the refusal after its first bytes.

**What ends it.** A response or request that says so, a request behind which
nothing can be read (*sealed*, see the reader), a refusal, a drain, a deadline,
and a caller that leaves. A caller that still sends must not be closed upon: the
system would answer its bytes with a reset, which may destroy the response on its
way (RFC 9112 section 9.6). So such a connection is half closed and LINGERING. A
response that cannot be completed is *cut* instead: a reset cannot be mistaken for
its end. A caller that leaves is told to whoever answers its request
(``on_caller_gone``, the body, a write), and what becomes of the request is decided there.

**Deadlines.** They are attributes that the server's sweeper looks at (:meth:`CallerConnection.sweep`):
no timer is set for a request or for a piece of a body. None comes early, and none later than by two ticks. The
sockets are looked at once more before any is enforced, and time in which the process stood still does not count.
How slow is too slow says :mod:`sidecar.core.pace`: what counts is the time in which the caller was waited for.

=========================  ==========================  ======================================================
while                      after                       happens
=========================  ==========================  ======================================================
FRESH                      ``header_timeout``          the connection closes
HEAD                       ``header_timeout``          408 ``request_timeout``
IDLE                       ``keepalive_timeout``       the connection closes
REFUSED, LINGERING         ``LINGER``                  it is aborted, whatever is unread
CLOSING                    ``body_timeout``            it is aborted, whatever is unsent
BUSY, body read            ``body_timeout`` a pause,   408 ``request_timeout``
                           or too slow on average
BUSY, memory waited for    ``body_timeout``            503 ``overloaded``
BUSY, response written     ``body_timeout`` a pause,   it is cut
                           or too slow on average
=========================  ==========================  ======================================================

The loop over requests is our own. aiohttp's starts a task for each, answers
errors as HTTP/1.0 with the request's bytes in them, and logs a traceback for
every caller that leaves.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol, cast

from sidecar.core.errors import SidecarError
from sidecar.core.pace import patience
from sidecar.downstream.errors import CallerGoneError
from sidecar.downstream.limits import Deadlines
from sidecar.downstream.refusals import internal_error, interrupted_by_shutdown, out_of_budget, too_slow
from sidecar.downstream.request import CallerRequest
from sidecar.downstream.request_reader import Event, RequestReader
from sidecar.downstream.response_writer import ResponseWriter
from sidecar.patience import next_pass
from sidecar.telemetry.unforeseen import log_unforeseen

if TYPE_CHECKING:
    from sidecar.downstream.response import CallerResponse
    from sidecar.telemetry.record import CallRecord
    from sidecar.turns import Turns

#: Seconds that a caller has to take an early response while what it still sends is thrown away (RFC 9112 section 9.6).
LINGER: Final = 2.0

#: Bytes of responses that a caller may leave untaken before the next one is held back, and they are counted.
UNTAKEN: Final = 8 * 1024

#: Answers one request. What it raises but SidecarError and CallerGoneError is a bug of ours, and answered as such.
Handler = Callable[[CallerRequest], Awaitable["CallerResponse"]]


class ConnectionPhase(Enum):
    """Where in its life a connection is."""

    FRESH = "no byte has come yet"
    HEAD = "a part of a request head has come"
    BUSY = "a request is being answered"
    IDLE = "between two requests"
    REFUSED = "not admitted: its first bytes get the refusal"
    LINGERING = "answered for the last time; what still comes is thrown away"
    CLOSING = "closed from here; unsent bytes may be left"


# Read for each call: Python 3.11 finds a global of the module faster than a member of an enum.
_HEAD: Final = ConnectionPhase.HEAD
_BUSY: Final = ConnectionPhase.BUSY
_IDLE: Final = ConnectionPhase.IDLE
_REQUEST: Final = Event.REQUEST


class Port(Deadlines, Protocol):
    """What a connection asks of the server that made it."""

    #: Who answers requests.
    handler: Handler
    #: Whether every connection closes after its response.
    draining: bool
    #: Turns to work through bytes that are many pieces.
    turns: Turns

    def admit(
        self, connection: CallerConnection, transport: asyncio.BaseTransport, allowed_uids: frozenset[int] | None
    ) -> SidecarError | None:
        """Make room for a connection; or return what to tell it instead."""

    def forget(self, connection: CallerConnection) -> None:
        """Strike off a connection that is gone; its request may still run."""

    def mark_busy(self, connection: CallerConnection) -> None:
        """Note that a connection has a request to answer."""

    def mark_idle(self, connection: CallerConnection, gives_way: bool) -> None:
        """Note that a connection has no request to answer, and whether it may be closed for another one."""

    def refusal(self, error: SidecarError, request_id: str | None = None) -> bytes:
        """Return the response that tells ``error``, which closes the connection.

        It is logged and counted, unless it is about a request whose line has been written: that of ``request_id``.
        """


class CallerConnection(asyncio.Protocol):
    """The protocol of one accepted connection."""

    __slots__ = (
        "_allowed_uids",
        "_body_since",
        "_body_waited",
        "_budget_wait",
        "_on_unix_socket",
        "_port",
        "_reader",
        "_transport",
        "_waiter",
        "body_deadline",
        "deadline",
        "on_caller_gone",
        "phase",
        "record",
        "task",
        "writer",
    )

    _reader: RequestReader
    #: Where responses go. Reader and writer are there from :meth:`connection_made` on.
    writer: ResponseWriter

    def __init__(self, port: Port, *, on_unix_socket: bool = False, allowed_uids: frozenset[int] | None = None) -> None:
        self._port: Final = port
        self._allowed_uids: Final = allowed_uids
        self._on_unix_socket: Final = on_unix_socket
        self.phase = ConnectionPhase.FRESH
        #: When the phase is over (of the clock that the port's ``next_deadline_base`` belongs to; so are the others).
        self.deadline = math.inf
        #: When the present pause within the request's body is too long.
        self.body_deadline = math.inf
        #: Called once if the caller leaves while its request is being answered. Set and unset by the handler.
        self.on_caller_gone: Callable[[], None] | None = None
        #: The record of the request that is being answered, once the handler has opened it.
        self.record: CallRecord | None = None
        #: The task that answers this connection's requests, from the first one on.
        self.task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        # What the task waits for between two requests.
        self._waiter: asyncio.Future[None] | None = None
        self._budget_wait: asyncio.Future[None] | None = None
        # For how long the caller was waited for within the present request's body (seconds), and since when it is.
        self._body_waited = 0.0
        self._body_since = math.inf

    def __repr__(self) -> str:
        """Say in which phase it is, and how many requests wait for their turn."""
        if self._transport is None:
            return f"<CallerConnection [{self.phase.name}, not connected]>"
        return f"<CallerConnection [{self.phase.name}, {len(self._reader.requests)} queued]>"

    # --- coming and going --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or have it told why not."""
        port = self._port
        self._transport = stream = cast("asyncio.Transport", transport)
        self._reader = RequestReader(stream, port.turns, self.data_received, port.memory.calls)
        stream.set_write_buffer_limits(high=UNTAKEN)
        self.writer = ResponseWriter(stream, port, on_unix_socket=self._on_unix_socket)
        if (refusal := port.admit(self, transport, self._allowed_uids)) is not None:
            self._reader.stop(refusal)
            self._enter(ConnectionPhase.REFUSED, LINGER, gives_way=False)
            return
        if (sock := stream.get_extra_info("socket")) is not None and not self._on_unix_socket:
            with suppress(OSError):  # the caller may have left already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._enter(ConnectionPhase.FRESH, port.limits.header_timeout)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell everybody who waits for this caller; nothing is logged."""
        self._transport = None
        gone = CallerGoneError()
        self._reader.break_body(gone)
        self._reader.close()
        self.writer.lost()
        if self._budget_wait is not None and not self._budget_wait.done():
            self._budget_wait.set_exception(gone)
        if self.phase is not _BUSY:
            self._enter(ConnectionPhase.CLOSING, math.inf, gives_way=False)
        self._port.forget(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if (hook := self.on_caller_gone) is not None:
            self.on_caller_gone = None
            hook()

    def abort(self) -> None:
        """Close the connection at once. If something is unsent, its caller sees that: it is cut."""
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size():
            self.writer.cut()
        else:
            self._transport.abort()

    def close_gracefully(self) -> None:
        """Close the connection as soon as what is unsent has left."""
        if self._transport is not None:
            self._reader.stop()
            # A caller that does not take what is left has as long as one that stops reading in the middle.
            self._enter(ConnectionPhase.CLOSING, self._port.limits.body_timeout, gives_way=False)
            self._transport.close()

    def _linger(self, transport: asyncio.Transport) -> None:
        """Close, but let the caller read its response first: to close with bytes unread would reset the connection."""
        self._reader.discard()
        self._enter(ConnectionPhase.LINGERING, LINGER)
        with suppress(OSError):  # the caller has just reset the connection, which asyncio tells in a moment
            transport.write_eof()

    def _enter(self, phase: ConnectionPhase, seconds: float, gives_way: bool = True) -> None:
        """Enter any phase but BUSY; ``gives_way``: it has no complete head, so at the cap it may be closed."""
        if self.phase is _HEAD:
            self._port.memory.release_head(self)
        self.phase = phase
        self.deadline = self._port.next_deadline_base + seconds
        self._port.mark_idle(self, gives_way)

    # --- bytes -------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Have the reader make of the bytes what it can, and act on that."""
        event = self._reader.feed(data)
        if event is _REQUEST:
            if self.phase is not _BUSY:
                if self.phase is _HEAD:
                    self._port.memory.release_head(self)
                self.phase = _BUSY
                self.deadline = math.inf
                self._port.mark_busy(self)
            if (waiter := self._waiter) is not None:
                if not waiter.done():
                    waiter.set_result(None)
            elif self.task is None:
                self.task = asyncio.get_running_loop().create_task(self._serve_requests())
        elif event is Event.HEAD:
            self._head_arrives()
        elif event is Event.REFUSED or self.phase is ConnectionPhase.REFUSED:
            self._refuse(self._reader.failure)
        elif self.phase is ConnectionPhase.LINGERING and self._reader.surplus > self._port.limits.max_body:
            self.abort()

    def _head_arrives(self) -> None:
        """Note that a part of a head has come."""
        if self.phase is _BUSY:
            self._reader.hold_head()
            return
        if self.phase is ConnectionPhase.FRESH or self.phase is _IDLE:
            self._enter(_HEAD, self._port.limits.header_timeout)
        self._hold_head()

    def _hold_head(self) -> None:
        self._port.memory.hold_head(self, len(self._reader.heads.pending), proven=self.writer.proven)

    def _refuse(self, error: SidecarError | None) -> None:
        """Answer bytes that are no request, and end the connection."""
        transport = self._transport
        if error is not None and transport is not None and not transport.is_closing():
            transport.write(self._port.refusal(error))
            self._linger(transport)

    def pause_writing(self) -> None:
        """Note that the caller reads more slowly than it is written to."""
        self.writer.paused = True

    def resume_writing(self) -> None:
        """Let the writer go on."""
        self.writer.resume()

    # --- answering ---------------------------------------------------------------------------------------------------

    async def _serve_requests(self) -> None:
        """Answer the connection's requests, one after another, as long as it lives."""
        reader = self._reader
        try:
            while self._transport is not None:  # a caller may leave before anybody looks at its request
                if not reader.requests:
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
                    self._waiter = None
                    continue
                self.record = None
                keep_alive = await self._exchange(reader)
                if not self._finish_exchange(reader.finish(), keep_alive):
                    return
                if reader.requests:
                    await next_pass()  # who sends many requests at once lets others have theirs answered in between
        finally:
            reader.finish()
            self.on_caller_gone = None
            if self.phase is _BUSY:
                self._end_of_requests()

    def _end_of_requests(self) -> None:
        """Have no request any more; a caller that does not take what is left has a deadline for it."""
        if self._transport is None:
            self._port.mark_idle(self, gives_way=False)
        else:
            self._enter(ConnectionPhase.CLOSING, self._port.limits.body_timeout, gives_way=False)

    async def _exchange(self, reader: RequestReader) -> bool:
        """Have the next request answered; return whether the connection may stay open."""
        message, content = reader.take()
        writer = self.writer
        writer.begin()
        self._body_waited = 0.0
        request = CallerRequest(message.method, message.path, message.version, message.raw_headers, content, self)
        try:
            response = await self._port.handler(request)
            response.write_to(writer)
            if writer.paused:
                await writer.drain()
        except CallerGoneError:
            if writer.unfinished:
                writer.cut()
            return False
        except SidecarError as error:
            self._send_error(error)
        except asyncio.CancelledError:
            self._send_error(interrupted_by_shutdown())
            raise
        except Exception as bug:  # noqa: BLE001 - the edge of the connection's task
            log_unforeseen(bug, self.record)
            self._send_error(internal_error(bug))
        else:
            if not writer.unfinished:
                return response.keep_alive
            writer.cut()
        return False

    def _send_error(self, error: SidecarError) -> None:
        if self.writer.started:
            self.writer.cut()
        elif self._transport is not None and not self._transport.is_closing():
            request_id = None if self.record is None else self.record.id
            self._transport.write(self._port.refusal(error, request_id))

    def _finish_exchange(self, whole: bool, keep_alive: bool) -> bool:
        """Go on to the next request, or end the connection; return whether there is a next one.

        ``whole`` says that the request's body had come to its end.
        """
        self.on_caller_gone = None
        transport, reader, port = self._transport, self._reader, self._port
        if transport is None or transport.is_closing():
            return False
        if keep_alive and whole:
            if reader.requests:
                return True
            if reader.failure is not None:
                self._refuse(reader.failure)
                return False
            if not reader.sealed and not port.draining:
                if reader.heads.pending:
                    self._enter(_HEAD, port.limits.header_timeout)
                    self._hold_head()
                else:
                    self._enter(_IDLE, port.limits.keepalive_timeout)
                return True
        if not whole or reader.has_unread:
            self._linger(transport)
        else:
            self.close_gracefully()
        return False

    @property
    def last_request(self) -> bool:
        """Whether the connection ends after the current request, whatever its response says."""
        reader = self._reader
        return self._port.draining or (reader.sealed and not reader.requests)

    # --- deadlines ---------------------------------------------------------------------------------------------------

    def start_body_timer(self, budget_wait: asyncio.Future[None] | None = None) -> None:
        """Give the caller time from now on; see :class:`~sidecar.downstream.request.Caller`."""
        base, pause = self._port.next_deadline_base, self._port.limits.body_timeout
        self._budget_wait = budget_wait
        if budget_wait is None:
            self._body_since = base
            pause = patience(pause, self._body_waited, self._reader.body_bytes)
        self.body_deadline = base + pause

    def stop_body_timer(self) -> None:
        """End what :meth:`start_body_timer` began."""
        if self._budget_wait is None:
            self._body_waited += self._port.next_deadline_base - self._body_since
        self._budget_wait = None
        self.body_deadline = math.inf

    def is_late(self, now: float) -> bool:
        """Whether a deadline has passed by ``now`` (of the clock that the port's ``next_deadline_base`` belongs to)."""
        if self.phase is _BUSY:
            return now >= self.body_deadline or now >= self.writer.deadline
        return now >= self.deadline

    def sweep(self, now: float) -> None:
        """Act on the deadlines that have passed by ``now``; see :meth:`is_late`."""
        if now >= self.deadline:
            self._overdue()
        elif self.phase is _BUSY:
            if now >= self.body_deadline:
                self._body_overdue()
            if now >= self.writer.deadline:
                self.writer.overdue()

    def _overdue(self) -> None:
        if self.phase is _HEAD:
            self._refuse(too_slow("head"))
        elif self.phase is ConnectionPhase.FRESH or self.phase is _IDLE:
            self.close_gracefully()
        else:
            self.abort()

    def _body_overdue(self) -> None:
        self.body_deadline = math.inf
        if self._budget_wait is None:
            self._reader.break_body(too_slow("body"))
        elif not self._budget_wait.done():
            self._budget_wait.set_exception(out_of_budget())
